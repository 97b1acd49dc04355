"""What the daemon shows now, as plain data for the page; unknown is None, never zero."""

import math
import time
from typing import TYPE_CHECKING, Any

from device.capture import Frame
from device.capture.pump import OK
from device.decide import Verdict
from device.errors import UserError
from device.judge import Snapshot
from device.outline import plain
from device.over_time import Belief
from device.region.region import parse

if TYPE_CHECKING:
    from device.daemon import Daemon

STALE_S = 2.0  # as device.over_time forgets: an older verdict must not stand beside a picture that is gone

Seen = tuple[Frame, Snapshot]


def of(daemon: "Daemon") -> tuple[dict[str, Any], Seen | None]:
    """The snapshot of docs/page.md, and the picture that it speaks of: an outline must go with its own. May be called
    from another thread: all that it reads is replaced whole, and read once.

    While a person holds the picture, picture and verdict are those that are held, however old; else verdicts are None
    as soon as the source has no signal or none came for STALE_S.
    """
    now, signal, held, newest = time.monotonic(), daemon.source_state(), daemon.held, daemon.seen
    seen = held or newest
    fresh = newest is not None and now - newest[1].captured <= STALE_S
    said = seen if held is not None or (fresh and signal.state == OK) else None
    snapshot = {
        "at": time.time(),
        "age_s": None if newest is None else now - newest[1].captured,
        "sequence": None if seen is None else seen[1].sequence,
        "signal": {"state": signal.state, "detail": signal.detail},
        "quality": None if said is None else _quality(said[1]),
        "verdict": None if said is None else _belief(said[1].belief),
        "frame": None if said is None else _verdict(said[1].verdict, said[1].belief.scene == "still"),
        "synthetic": daemon.synthetic,
        "outline": None if said is None or said[1].outline is None else plain(said[1].outline),
        "region": _region(None if seen is None else seen[0]),
        "sweep": None if daemon.keep is None else daemon.keep.sweep_state(),
        "recorder": {"on": False, "saved": 0, "not_saved": 0, "last": None, "study": None}
        if daemon.keep is None
        else daemon.keep.state(),
        "held": held is not None,
        **daemon.second,
        "machine": _machine(daemon),
        "model": _model(daemon),
        "cautions": [*daemon.notes, *daemon.bundle.meta.cautions],
        "source": daemon.source.description,
    }
    return snapshot, seen


def _verdict(verdict: Verdict, frozen: bool) -> dict[str, Any]:
    return {
        "label": verdict.label,
        "reason": verdict.reason,
        "probabilities": {name: p for name, p in verdict.probabilities.items() if math.isfinite(p)},
        "frozen": frozen,
    }


def _belief(belief: Belief) -> dict[str, Any]:
    return _verdict(belief.verdict, belief.scene == "still")


def _quality(snapshot: Snapshot) -> dict[str, Any]:
    quality = snapshot.quality
    unusual = quality.unusual
    known = unusual is not None and math.isfinite(unusual)
    return {"state": quality.state, "detail": f"unlike the training pictures by {unusual:.2f}" if known else None}


def _region(frame: Frame | None) -> dict[str, Any]:
    """region: the text of device.region.region; None: the frame is judged as it comes. The numbers are of it."""
    if frame is None or frame.region is None:
        return {"region": None, "by_hand": None}
    said: dict[str, Any] = {"region": frame.region, "by_hand": frame.region_by_hand}
    try:
        found = parse(frame.region)
    except UserError:
        return said
    names = ("x", "y", "width", "height", "frame_width", "frame_height")
    return said | {name: getattr(found, name) for name in names}


def _machine(daemon: "Daemon") -> dict[str, Any]:
    names = ("temperature_c", "cpu_percent", "memory_mb", "battery_percent", "battery_minutes", "charging")
    said: dict[str, Any] = dict.fromkeys((*names, "throttled", "governor_fps"))
    said["limited_by"] = []
    condition = daemon.machine.condition
    if condition is None:
        return said
    health, battery, decision = condition.health, condition.battery, condition.decision
    memory = health.memory_rss_mb if health.memory_all is None else health.memory_all.mb
    said |= {"temperature_c": health.temperature_c, "cpu_percent": health.cpu_percent, "memory_mb": memory}
    said |= {"throttled": None if health.throttled is None else list(health.throttled)}
    said |= {"governor_fps": decision.limit_fps, "limited_by": list(decision.limited_by)}
    if battery is not None:
        said |= {"battery_percent": battery.percent, "battery_minutes": battery.minutes_left}
        said |= {"charging": battery.charging}
    return said


def _model(daemon: "Daemon") -> dict[str, Any]:
    meta = daemon.bundle.meta
    about = {"name": meta.name, "id": daemon.bundle.id, "variant": meta.variant}
    return (
        about
        | {"signed_by": daemon.bundle.signed_by, "from": daemon.origin, "classes": list(meta.classes)}
        | {"malignant_threshold": meta.operating_point.malignant_threshold, "outlines": meta.mask is not None}
    )
