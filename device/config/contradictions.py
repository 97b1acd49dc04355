"""What is right key by key and wrong together."""

import itertools
from collections.abc import Iterator

from device.config.fleet import FleetSettings
from device.config.settings import Settings


def contradictions(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """(the keys at odds, the one to look at first in front; a sentence that names them) for each contradiction."""
    yield from _source(settings)
    judgement, region, governor = settings.judgement, settings.region, settings.governor
    if not judgement.scene_still_levels < judgement.scene_new_levels:
        yield (
            ("judgement.scene_still_levels", "judgement.scene_new_levels"),
            f"judgement.scene_still_levels ({judgement.scene_still_levels:g}) must be below "
            f"judgement.scene_new_levels ({judgement.scene_new_levels:g}).",
        )
    if region.mode == "fixed" and region.fixed is None:
        yield ("region.mode", "region.fixed"), "region.mode fixed needs region.fixed: give the rectangle."
    if region.mode != "fixed" and region.fixed is not None:
        yield (
            ("region.fixed", "region.mode"),
            f"region.fixed goes with region.mode fixed; with {region.mode}, leave it out.",
        )
    if not governor.floor_fps <= governor.full_fps:
        yield (
            ("governor.floor", "governor.full"),
            f"governor.floor ({governor.floor_fps:g} fps) must not be above governor.full ({governor.full_fps:g} fps).",
        )
    if not governor.battery_very_low_percent <= governor.battery_low_percent:
        yield (
            ("governor.battery_very_low", "governor.battery_low"),
            f"governor.battery_very_low ({governor.battery_very_low_percent:g} %) must not be above "
            f"governor.battery_low ({governor.battery_low_percent:g} %).",
        )
    yield from _log(settings)
    metrics = settings.log.metrics
    if settings.fleet.enabled and metrics is not None and not metrics.is_absolute():
        sentence = (
            f"log.metrics {metrics} must be a whole path with fleet.enabled: two services read it from two folders."
        )
        yield ("log.metrics", "fleet.enabled"), sentence
    yield from _fleet(settings.fleet)


def _log(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    files = {"verdicts": settings.log.verdicts, "summary": settings.log.summary, "metrics": settings.log.metrics}
    for first, second in itertools.combinations(files, 2):
        if files[first] is not None and files[first] == files[second]:
            keys = (f"log.{second}", f"log.{first}")
            yield keys, f"{keys[0]} and {keys[1]} name the same file; give two."
    if files["metrics"] is not None and files["metrics"].suffix != ".prom":
        yield ("log.metrics",), f"log.metrics {files['metrics']}: node_exporter reads only files that end in .prom."


def _fleet(fleet: FleetSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    if fleet.enabled and fleet.broker is None and fleet.metrics_listen is None:
        yield (
            ("fleet.enabled", "fleet.broker", "fleet.metrics_listen"),
            "fleet.enabled needs somebody to tell: give fleet.broker or fleet.metrics_listen.",
        )
    for first, second in (("certificate", "certificate_key"), ("user", "password_file")):
        for name, other in ((first, second), (second, first)):
            if getattr(fleet, name) is not None and getattr(fleet, other) is None:
                yield (
                    (f"fleet.{name}", f"fleet.{other}"),
                    f"fleet.{name} goes with fleet.{other}; give both or neither.",
                )
    if not fleet.tls:
        for name in ("ca", "certificate"):
            if getattr(fleet, name) is not None:
                yield (f"fleet.{name}", "fleet.tls"), f"fleet.{name} goes with fleet.tls true; leave it out."
        if fleet.password_file is not None and not fleet.at_home():
            sentence = "fleet.password_file needs fleet.tls true: else everybody on the way reads the password."
            yield ("fleet.tls", "fleet.password_file"), sentence


_V4L2 = ("v4l2",)
_OF_KINDS = (
    ("device", None, _V4L2),
    ("size", None, ("v4l2", "picamera2")),
    ("pixel_format", "auto", _V4L2),
    ("range", "auto", _V4L2),
    ("camera", 0, ("picamera2",)),
)


def _source(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    source = settings.source
    if source.kind in ("folder", "video", "session") and source.path is None:
        yield (
            ("source.kind", "source.path"),
            f"source.kind {source.kind} needs source.path: give the {source.kind} to read.",
        )
    if source.kind in ("phantom", "v4l2", "picamera2") and source.path is not None:
        yield (
            ("source.path", "source.kind"),
            f"source.path {source.path} goes with source.kind folder, video or session; the {source.kind} takes none.",
        )
    if source.kind in ("v4l2", "picamera2") and source.fps == 0:
        sentence = f"source.fps 0 fps is for files; a {source.kind} device has a pace of its own."
        yield ("source.fps", "source.kind"), sentence
    for name, default, kinds in _OF_KINDS:
        if source.kind not in kinds and getattr(source, name) != default:
            yield (
                (f"source.{name}", "source.kind"),
                f"source.{name} goes with source.kind {' or '.join(kinds)}; with {source.kind}, leave it out.",
            )
