"""What the daemon says about itself: the line of each second, and the summary of a whole run."""

from collections.abc import Mapping
from typing import Any

from device import RESEARCH_NOTICE, __version__
from device.bundle import Bundle
from device.decide import ABSTAIN
from device.judge import Snapshot
from device.stages import STAGES, Latencies, Tally
from device.sweep import SweepSummary
from device.telemetry import Health


class HealthOfRun:
    """The machine's health over a run: mean loads, highest temperature and memory, every throttle flag seen.

    Each is None when no sample knew it.
    """

    def __init__(self) -> None:
        self._loads: dict[str, tuple[float, int]] = {}
        self._highest: dict[str, float] = {}
        self._throttled: set[str] | None = None

    def add(self, health: Health) -> None:
        """Take in one sample."""
        for name in ("cpu_percent", "process_cpu_percent"):
            value = getattr(health, name)
            if value is not None:
                total, count = self._loads.get(name, (0.0, 0))
                self._loads[name] = (total + value, count + 1)
        for name in ("temperature_c", "memory_rss_mb"):
            value = getattr(health, name)
            if value is not None:
                self._highest[name] = max(value, self._highest.get(name, value))
        if health.memory_all is not None:
            name = f"memory_all_{health.memory_all.by}_mb"
            self._highest[name] = max(health.memory_all.mb, self._highest.get(name, 0.0))
        if health.throttled is not None:
            self._throttled = (self._throttled or set()) | set(health.throttled)

    def as_dict(self) -> dict[str, Any]:
        """Keys say what each figure is: mean or highest; percent, degrees Celsius or MiB."""
        loads = {name: total / count for name, (total, count) in self._loads.items()}
        return {
            "cpu_percent_mean": loads.get("cpu_percent"),
            "process_cpu_percent_mean": loads.get("process_cpu_percent"),
            "temperature_c_highest": self._highest.get("temperature_c"),
            "memory_rss_mb_highest": self._highest.get("memory_rss_mb"),
            "memory_all_pss_mb_highest": self._highest.get("memory_all_pss_mb"),
            "memory_all_rss_mb_highest": self._highest.get("memory_all_rss_mb"),
            "throttled": None if self._throttled is None else sorted(self._throttled),
        }


def second(
    tally: Tally, frames: dict[str, int], seconds: float, health: Health, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The figures of one second's log line, unknown ones None. frames: counts of that second by name."""
    line: dict[str, Any] = {"fps": tally.judged / seconds if seconds > 0 else None, **frames}
    for stage in STAGES:
        for percent in (50, 95):
            line[f"{stage}_p{percent}_ms"] = tally.stages[stage].percentile(percent)
    line |= {
        "cpu": health.cpu_percent,
        "process_cpu": health.process_cpu_percent,
        "temp_c": health.temperature_c,
        "mem_mb": health.memory_rss_mb,
        "throttled": None if health.throttled is None else ",".join(health.throttled) or "no",
    }
    return line | verdict_counts(tally.verdicts, classes)


def shown(latest: Snapshot | None, changes: int) -> dict[str, Any]:
    """The verdict over time at the end of a second, None when no frame of it was judged, and how often it changed."""
    if latest is None:
        return {"shown": None, "shown_p_malignant": None, "scene": None, "quality": None, "changes": changes}
    belief = latest.belief
    said = {"shown": belief.verdict.label, "shown_p_malignant": belief.verdict.probabilities.get("malignant")}
    return said | {"scene": belief.scene, "quality": latest.quality.state, "changes": changes}


def summary(
    *,
    bundle: Bundle,
    backend: str,
    threads: int,
    source: str,
    source_synthetic: bool | None,
    tally: Tally,
    frames: dict[str, int],
    seconds: float,
    ended: str,
    health: HealthOfRun,
    sweep: SweepSummary,
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole run as plain data for a JSON file: latencies in milliseconds, unknown figures None.

    machine: of device.machine.Machine.summary.
    """
    meta = bundle.meta
    return {
        "notice": RESEARCH_NOTICE,
        "synthetic": {"source": source_synthetic, "model": meta.synthetic},
        "version": __version__,
        "bundle": {"name": meta.name, "id": bundle.id, "variant": meta.variant},
        "cautions": list(meta.cautions),
        "interpreter": backend,
        "threads": threads,
        "source": source,
        "ended": ended,
        "seconds": seconds,
        "fps_judged": tally.judged / seconds if seconds > 0 else None,
        "frames": frames,
        "verdicts": verdict_counts(tally.verdicts, meta.classes),
        "over_time": {
            "verdicts": verdict_counts(sweep.frames, meta.classes),
            "sustained_malignant": sweep.sustained_malignant,
        },
        "stages_ms": {stage: _latencies(tally.stages[stage]) for stage in STAGES},
        "health": health.as_dict(),
        **machine,
    }


def verdict_counts(frames: Mapping[str, int], classes: tuple[str, ...]) -> dict[str, int]:
    """Frames per verdict, every class and `abstain` named even when 0. frames: of those that were given."""
    return {label: frames.get(label, 0) for label in (*classes, ABSTAIN)}


def _latencies(latencies: Latencies) -> dict[str, Any]:
    return {
        "p50": latencies.percentile(50),
        "p95": latencies.percentile(95),
        "highest": latencies.highest_ms,
        "count": latencies.count,
    }
