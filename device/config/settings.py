# ruff: noqa: RUF009 - `key` returns dataclasses.field(...), whose default is immutable
"""The settings of the daemon: one frozen dataclass per section of the configuration file.

A field's name ends in the unit in which it is held (`half_life_s`); its key in the file goes without (`half_life`), for
there the unit is written with the value (`"500 ms"`). Defaults are what the daemon does without a file.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device import governor, installed, trust
from device.capture.pace import MAX_FPS, MIN_FPS
from device.config.field import Spec, key
from device.config.fleet import FleetSettings
from device.config.page_settings import PageSettings
from device.config.quantity import DURATION, RATE, SHARE, SIZE, TEMPERATURE, Kind
from device.judge import MAX_UNCHANGED_S, UNCHANGED_S
from device.over_time import OverTime
from device.region import stored
from device.scene import SceneLimits

_HOW, _RULES, _DAY = OverTime(), governor.GovernorSettings(), 86400.0


@dataclass(frozen=True)
class ModelSettings:
    """Which model judges, and whose."""

    bundle: Path | None = key(
        None,
        "path",
        "Folder of a model bundle; `installed`: the installed model, else the one that ships.",
        unset="installed",
    )
    models: Path = key(installed.FOLDER, "path", "Folder of the installed models.")
    trusted_keys: Path | None = key(
        None,
        "path",
        f"Trust only the keys (*.pub) of this folder; `default`: busi-kd's own and those in {trust.MACHINE_KEYS}.",
        unset="default",
    )
    allow_unsigned: bool = key(False, "flag", "Take a model that no trusted key signed, too.")
    threads: int = key(1, "count", "CPU threads.", low=1, high=64)

    def whom(self) -> trust.Trust:
        """Which bundles are believed."""
        own = (trust.SHIPPED_KEYS, trust.MACHINE_KEYS)
        return trust.Trust(own if self.trusted_keys is None else (self.trusted_keys,), self.allow_unsigned)


@dataclass(frozen=True)
class SourceSettings:
    """Where frames come from."""

    kind: str = key(
        "phantom",
        "word",
        "phantom is a self-test that shows nobody; v4l2 is an HDMI grabber; picamera2 the Pi's camera.",
        choices=("phantom", "folder", "video", "session", "v4l2", "picamera2"),
    )
    path: Path | None = key(
        None, "path", "The folder of pictures, the video file or the recorded session.", unset="none"
    )
    fps: float | None = key(
        None,
        RATE,
        "Frames per second; `auto`: what the source itself has, else 30.",
        low=MIN_FPS,
        high=MAX_FPS,
        zero="every frame, as fast as it is judged",
        unset="auto",
    )
    loop: bool = key(False, "flag", "Begin again after the last picture of a folder, video or session.")
    device: Path | None = key(
        None, "path", "v4l2: the device, such as '/dev/video0'; `auto`: the first that captures.", unset="auto"
    )
    size: tuple[int, int] | None = key(
        None, "frame size", "v4l2, picamera2: of the frames asked for; `auto`: what suits.", unset="auto"
    )
    camera: int = key(0, "count", "picamera2: the camera's number.", low=0, high=9)
    pixel_format: str = key(
        "auto",
        "word",
        "v4l2: how pixels cross the bus.",
        choices=("auto", "YUYV", "UYVY", "NV12", "NV21", "GREY", "MJPG", "JPEG", "RGB3", "BGR3"),
    )
    range: str = key(
        "auto",
        "word",
        "v4l2: grey levels, full (0 to 255) or limited (16 to 235, as HDMI for television).",
        choices=("auto", "full", "limited"),
    )


@dataclass(frozen=True)
class JudgementSettings:
    """How frames are joined over time; see docs/judgement.md."""

    half_life_s: float = key(
        _HOW.half_life_s,
        DURATION,
        "After so long a frame counts half; 0 s: each frame by itself.",
        low=0.0,
        high=60.0,
    )
    gap_s: float = key(
        _HOW.gap_s, DURATION, "After a pause as long, what was seen before is forgotten.", low=0.0, high=60.0
    )
    hysteresis_logits: float = key(
        _HOW.hysteresis,
        "number",
        "How far a probability falls behind its limit before the verdict goes back.",
        low=0.0,
        high=10.0,
    )
    scene_new_levels: float = key(
        _HOW.scene.new, "number", "Grey levels: a frame that differs as much is a new scene.", low=0.0, high=255.0
    )
    scene_still_levels: float = key(
        _HOW.scene.still, "number", "Grey levels: up to here it is the same picture.", low=0.0, high=255.0
    )
    scene_still_after_s: float = key(
        _HOW.scene.still_s, DURATION, "A picture that is the same for so long is frozen.", low=0.0, high=60.0
    )

    unchanged_s: float = key(
        UNCHANGED_S,
        DURATION,
        "For so long at most a picture that does not change by a bit is not inferred again; 0 s: it always is.",
        low=0.0,
        high=MAX_UNCHANGED_S,
    )

    def over_time(self) -> OverTime:
        """What device.over_time takes."""
        scene = SceneLimits(self.scene_new_levels, self.scene_still_levels, self.scene_still_after_s)
        return OverTime(self.half_life_s, self.gap_s, self.hysteresis_logits, scene)


@dataclass(frozen=True)
class QualitySettings:
    """When the quality of a picture is looked at."""

    assess_every_s: float = key(
        0.2, DURATION, "Of a live picture; it costs half an inference. 0 s: of every frame.", low=0.0, high=10.0
    )


@dataclass(frozen=True)
class RegionSettings:
    """Which part of the frame is the ultrasound picture."""

    mode: str = key(
        "usual",
        "word",
        "whole: the frame as it comes. auto: found, or set by hand. fixed: as below. usual: auto for v4l2, picamera2.",
        choices=("usual", "whole", "auto", "fixed"),
    )
    fixed: str | None = key(None, "region", "The rectangle, and the size of the frames it holds for.", unset="none")
    regions: Path = key(stored.FILE, "path", "auto: the file in which regions are kept.")

    def looked_for(self, source: SourceSettings) -> bool:
        """Whether the frames of the source are whole screens."""
        return self.mode in ("auto", "fixed") or (self.mode == "usual" and source.kind in ("v4l2", "picamera2"))


@dataclass(frozen=True)
class RecorderSettings:
    """What is kept of an examination."""

    enabled: bool = key(False, "flag", "Keep what a person saves.")
    folder: Path = key(Path("/var/lib/busi-kd/studies"), "path", "Where studies go.")
    max_size_bytes: int = key(4_000_000_000, SIZE, "Of all studies together.", low=10_000_000, high=10**15)
    max_age_s: float | None = key(
        90 * _DAY, DURATION, "Older studies are deleted.", low=60.0, high=36600 * _DAY, unset="unlimited"
    )
    reserve_bytes: int = key(500_000_000, SIZE, "Free space that the card keeps.", low=0, high=10**15)
    when_full: str = key(
        "refuse", "word", "At max_size or the reserve: refuse, or delete the oldest.", choices=("refuse", "oldest")
    )


@dataclass(frozen=True)
class GovernorSettings:
    """Judge fewer frames when the machine is hot or the battery low; see docs/power.md."""

    enabled: bool = key(True, "flag", "Without it every frame is judged, however hot or low in charge.")
    full_fps: float = key(_RULES.full_fps, RATE, "The limits are shares of it: 2/3 to 1/4.", low=1.0, high=1000.0)
    floor_fps: float = key(_RULES.floor_fps, RATE, "Never fewer than these.", low=1.0, high=1000.0)
    soft_limit_c: float = key(
        _RULES.soft_limit_c,
        TEMPERATURE,
        "Where the firmware throttles; near it the fewest.",
        low=40.0,
        high=110.0,
    )
    margin_c: float = key(_RULES.margin_c, TEMPERATURE, "So far below it the first step down.", low=0.1, high=60.0)
    hysteresis_c: float = key(
        _RULES.hysteresis_c, TEMPERATURE, "So much cooler it must be before a step up.", low=0.0, high=60.0
    )
    battery_low_percent: float = key(
        _RULES.battery_low_percent, SHARE, "Below it half the rate, unless it charges.", low=0.0, high=100.0
    )
    battery_very_low_percent: float = key(
        _RULES.battery_very_low_percent, SHARE, "Below it a quarter.", low=0.0, high=100.0
    )
    battery_hysteresis_percent: float = key(
        _RULES.battery_hysteresis_percent, SHARE, "So much fuller it must be before a step up.", low=0.0, high=100.0
    )
    settle_s: float = key(
        _RULES.settle_s, DURATION, "Between two steps down at the firmware's soft limit.", low=1.0, high=3600.0
    )
    recovery_s: float = key(_RULES.recovery_s, DURATION, "Of calm, before each step up.", low=1.0, high=3600.0)

    def rules(self) -> governor.GovernorSettings | None:
        """What device.governor takes; None: without a governor."""
        names = [part.name for part in dataclasses.fields(governor.GovernorSettings)]
        return governor.GovernorSettings(**{name: getattr(self, name) for name in names}) if self.enabled else None


@dataclass(frozen=True)
class LogSettings:
    """Files that a run leaves; relative names of a service go to /var/lib/busi-kd."""

    verdicts: Path | None = key(None, "path", "Add one row per judged frame to this CSV file.", unset="none")
    summary: Path | None = key(None, "path", "Write the run's totals to this JSON file at its end.", unset="none")
    metrics: Path | None = key(
        None, "path", "Keep Prometheus text in this file, such as '/run/busi-kd/busi-kd.prom'.", unset="none"
    )
    power_report: bool = key(False, "flag", "Say at the end what a judged frame costs: CPU, duty cycle, energy.")


@dataclass(frozen=True)
class Settings:
    """All of them."""

    model: ModelSettings = field(default_factory=ModelSettings)
    source: SourceSettings = field(default_factory=SourceSettings)
    judgement: JudgementSettings = field(default_factory=JudgementSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    region: RegionSettings = field(default_factory=RegionSettings)
    recorder: RecorderSettings = field(default_factory=RecorderSettings)
    governor: GovernorSettings = field(default_factory=GovernorSettings)
    log: LogSettings = field(default_factory=LogSettings)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    page: PageSettings = field(default_factory=PageSettings)


@dataclass(frozen=True)
class Key:
    """One key of the file: `section.name`, the field that holds it, its default and its rule."""

    section: str
    name: str
    field: str
    default: Any
    spec: Spec

    @property
    def dotted(self) -> str:
        """As people name it."""
        return f"{self.section}.{self.name}"


def _keys() -> Iterator[Key]:
    for section in dataclasses.fields(Settings):
        for part in dataclasses.fields(section.default_factory):
            spec = part.metadata["spec"]
            name = part.name.removesuffix(spec.kind.suffix) if isinstance(spec.kind, Kind) else part.name
            yield Key(section.name, name, part.name, part.default, spec)


KEYS = {one.dotted: one for one in _keys()}
SECTIONS = {section.name: section.default_factory.__doc__ for section in dataclasses.fields(Settings)}


def build(values: dict[str, Any]) -> Settings:
    """Settings of `values` by dotted key; what is not named stays at its default."""
    parts: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for dotted, value in values.items():
        parts[KEYS[dotted].section][KEYS[dotted].field] = value
    return Settings(**{part.name: part.default_factory(**parts[part.name]) for part in dataclasses.fields(Settings)})


def flat(settings: Settings) -> dict[str, Any]:
    """The inverse of `build`: every value by its dotted key."""
    return {dotted: getattr(getattr(settings, one.section), one.field) for dotted, one in KEYS.items()}
