"""Prometheus text on request (`log.metrics`, `--metrics FILE.prom`), for node_exporter's textfile collector.

Format: Prometheus documentation, "Exposition formats", text/plain; version=0.0.4. Base units, counters end in _total.
What is unknown has no sample at all: a 0 would be taken for a measurement.
"""

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from device import RESEARCH_NOTICE, __version__, files
from device.bundle import Bundle
from device.decide import ABSTAIN, Verdict
from device.errors import UserError
from device.judge import Snapshot
from device.machine import Condition, Machine
from device.stages import STAGES, Tally
from device.telemetry import Health
from device.telemetry.battery import Battery

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EVERY_S = 5.0
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MIB = 1024.0 * 1024.0


@dataclass(frozen=True)
class Family:
    """One metric. kind: "counter" or "gauge". samples: (labels, value); None, and what is not finite, is left out."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[dict[str, str], float | None], ...]


def one(name: str, kind: str, help: str, value: float | None) -> Family:
    """A metric with a single sample and no labels."""
    return Family(name, kind, help, (({}, value),))


def render(families: Iterable[Family]) -> str:
    """The text of the metrics that have a sample. Raises ValueError for a name that the format does not take."""
    lines = []
    for family in families:
        known = [(labels, value) for labels, value in family.samples if value is not None and math.isfinite(value)]
        if not known:
            continue
        labels = {name for labels, _ in known for name in labels}
        if not _NAME.fullmatch(family.name) or not all(map(_LABEL.fullmatch, labels)):
            raise ValueError(f"{family.name}: its name or one of its labels is none of Prometheus's.")
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in known:
            inner = ",".join(f'{name}="{_escaped(text, quote=True)}"' for name, text in labels.items())
            lines.append(f"{family.name}{{{inner}}} {_shown(value)}" if inner else f"{family.name} {_shown(value)}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str, quote: bool = False) -> str:
    # A carriage return has no escape, and a file name need not be UTF-8.
    text = text.replace("\r", " ").encode("utf-8", "backslashreplace").decode()
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _shown(value: float) -> str:
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def of_frames(frames: dict[str, int], unchanged: int, total: Tally, second: Tally) -> list[Family]:
    """Counters of the whole run, and the latencies of the second that is over. frames: counts by name."""
    what = {
        "captured": "Frames that came from the source.",
        "judged": "Frames with a verdict.",
        "skipped": "Frames that gave way to newer ones.",
        "bad": "Frames of a shape that cannot be judged.",
        "undecodable": "Pictures that do not decode.",
    }
    counted = [one(f"busi_kd_frames_{name}_total", "counter", text, frames.get(name)) for name, text in what.items()]
    text = "Judged frames that were the same as before and needed no inference."
    counted.append(one("busi_kd_frames_unchanged_total", "counter", text, unchanged))
    verdicts = tuple(({"verdict": label}, count) for label, count in sorted(total.verdicts.items()))
    text = f"Judged frames by their own verdict. {RESEARCH_NOTICE}"
    counted.append(Family("busi_kd_verdicts_total", "counter", text, verdicts))
    late = tuple(
        ({"stage": stage, "percentile": str(percent)}, _seconds(second.stages[stage].percentile(percent)))
        for stage in STAGES
        for percent in (50, 95)
    )
    counted.append(Family("busi_kd_stage_seconds", "gauge", "Latency of a stage in the last second.", late))
    return counted


def of_run(
    *,
    bundle: Bundle,
    source: str,
    synthetic: bool | None,
    signal: str,
    frames: dict[str, int],
    total: Tally,
    second: Tally,
    latest: Snapshot | None,
    machine: Machine,
) -> list[Family]:
    """All there is to tell of a run of the daemon.

    signal: the source's state. total, second: of the whole run and of the second that is over. latest: the last frame
    judged in that second, None when there was none.
    """
    meta = bundle.meta
    about = {"version": __version__, "bundle": meta.name, "id": bundle.id, "variant": meta.variant, "source": source}
    about |= {"synthetic": "unknown" if synthetic is None else str(synthetic).lower(), "use": "research-only"}
    return [
        Family("busi_kd_info", "gauge", RESEARCH_NOTICE, ((about, 1),)),
        Family("busi_kd_signal", "gauge", "1 for the state that the source is in.", (({"state": signal}, 1),)),
        *of_frames(frames, machine.unchanged, total, second),
        *_verdict(None if latest is None else latest.belief.verdict, meta.classes),
        *(of_machine(machine.condition) if machine.condition else ()),
    ]


def _verdict(shown: Verdict | None, classes: tuple[str, ...]) -> list[Family]:
    """The verdict over time that is shown; no sample while there is none."""
    labels = () if shown is None else (*classes, ABSTAIN)
    states = tuple(({"verdict": label}, int(label == shown.label)) for label in labels)
    malignant = None if shown is None else shown.probabilities.get("malignant")
    text = f"1 for the verdict over time that is shown. {RESEARCH_NOTICE}"
    return [
        Family("busi_kd_shown", "gauge", text, states),
        one("busi_kd_shown_malignant_probability", "gauge", f"Of the verdict shown. {RESEARCH_NOTICE}", malignant),
    ]


def of_machine(condition: Condition) -> list[Family]:
    """Health, battery and the governor's decision."""
    return [*_health(condition.health), *_battery(condition.battery), *_governor(condition)]


def _health(health: Health) -> list[Family]:
    memory, flags = health.memory_all, health.throttled
    set_flags = () if flags is None else tuple(({"flag": flag}, 1) for flag in flags)
    by = {} if memory is None else {"by": memory.by}
    return [
        one("busi_kd_temperature_celsius", "gauge", "Of the processor.", health.temperature_c),
        one("busi_kd_clock_hertz", "gauge", "Of the processor.", _times(health.clock_mhz, 1e6)),
        one("busi_kd_machine_cpu_ratio", "gauge", "Of all cores, 0 to 1.", _times(health.cpu_percent, 0.01)),
        one("busi_kd_cpu_cores", "gauge", "Cores kept busy, with children.", _times(health.process_cpu_percent, 0.01)),
        one("busi_kd_resident_memory_bytes", "gauge", "Of the main process.", _times(health.memory_rss_mb, _MIB)),
        Family(
            "busi_kd_memory_bytes",
            "gauge",
            "Of the main process and its children.",
            ((by, None if memory is None else memory.mb * _MIB),),
        ),
        one("busi_kd_available_memory_bytes", "gauge", "Of the machine.", _times(health.memory_available_mb, _MIB)),
        one(
            "busi_kd_throttle_flags",
            "gauge",
            "How many of the firmware's flags are set.",
            None if flags is None else len(flags),
        ),
        Family("busi_kd_throttled", "gauge", "1 for each flag of the firmware that is set.", set_flags),
    ]


def _battery(battery: Battery | None) -> list[Family]:
    if battery is None:
        return []
    charging = None if battery.charging is None else int(battery.charging)
    return [
        one("busi_kd_battery_ratio", "gauge", "Charge, 0 to 1.", _times(battery.percent, 0.01)),
        one("busi_kd_battery_volts", "gauge", "At its poles.", battery.volts),
        one("busi_kd_battery_charging", "gauge", "1 while it charges or is full at the mains.", charging),
        one("busi_kd_battery_left_seconds", "gauge", "Until it is empty.", _times(battery.minutes_left, 60.0)),
        one("busi_kd_battery_watts", "gauge", "Drawn from it.", battery.watts),
    ]


def _governor(condition: Condition) -> list[Family]:
    decision = condition.decision
    causes = tuple(({"cause": cause}, 1) for cause in decision.limited_by)
    text = "Frames per second that may be judged; absent without a limit."
    return [
        one("busi_kd_limited", "gauge", "1 while the governor limits.", int(decision.limit_fps is not None)),
        one("busi_kd_limit_frames_per_second", "gauge", text, decision.limit_fps),
        Family("busi_kd_limited_by", "gauge", "1 for each cause of the limit.", causes),
    ]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


class MetricsFile:
    """A text file that is replaced as a whole, at most every EVERY_S seconds, and taken away at the end.

    A file that stayed would go on telling of a healthy run. One that cannot be written is said once, and again only
    after it could be: a daemon must go on judging without it.
    """

    def __init__(self, path: Path, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        """Raises UserError for a name that node_exporter would pass over, and for a folder that does not exist."""
        if path.suffix != ".prom":
            raise UserError(f"{path}: node_exporter reads only files that end in .prom; name it so.")
        if not path.absolute().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; make it or give another file.")
        self.path, self._say, self._every_s = path, say, every_s
        self._written_at, self._failed = -math.inf, False

    def write(self, families: Callable[[], Iterable[Family]], now: float | None = None) -> None:
        """Write, if it is time."""
        now = time.monotonic() if now is None else now
        if now - self._written_at < self._every_s:
            return
        self._written_at = now
        try:
            files.write_text(self.path, render(families()))  # its passing name does not end in .prom
        except OSError as error:
            if not self._failed:
                self._say(f"{self.path}: metrics cannot be written ({error.strerror}).")
            self._failed = True
        else:
            if self._failed:
                self._say(f"{self.path}: metrics are written again.")
            self._failed = False

    def close(self) -> None:
        """Take the file away."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._say(f"{self.path}: cannot be removed ({error.strerror}).")
