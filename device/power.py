"""What a judged frame costs: CPU seconds, the judging thread's duty cycle, and energy where a gauge tells it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from device.telemetry import Health, processes
from device.telemetry.battery import Battery

STAGES = ("prepare", "infer", "decide")  # those of device.stages that are work; the others are waiting


@dataclass(frozen=True)
class PowerReport:
    """Of the time between the first judged frame and the end, so without what starting costs; None: unknown.

    seconds: that time. judged, unchanged: frames in it, and those of them that needed no inference. main_cpu_s,
    children_cpu_s: CPU seconds of the daemon's process, and of the source's (with the few calls of `vcgencmd`). duty:
    share of the time that the judging thread did not wait, 0..1. stages: the same of each of STAGES. temperature_c:
    mean. energy_j: drawn from the battery by the whole machine, when a gauge told the power all the time.
    """

    seconds: float
    judged: int
    unchanged: int
    main_cpu_s: float
    children_cpu_s: float | None
    duty: float
    stages: dict[str, float]
    temperature_c: float | None
    energy_j: float | None

    def per_frame(self, value: float | None) -> float | None:
        """`value` per judged frame; None when it is unknown or no frame was judged."""
        return None if value is None or not self.judged else value / self.judged

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds of all processes together."""
        return None if self.children_cpu_s is None else self.main_cpu_s + self.children_cpu_s

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the summary."""
        derived = {
            "fps_judged": self.judged / self.seconds if self.seconds > 0 else None,
            "main_cpu_s_per_frame": self.per_frame(self.main_cpu_s),
            "children_cpu_s_per_frame": self.per_frame(self.children_cpu_s),
            "cpu_s_per_frame": self.per_frame(self.cpu_s),
            "energy_j_per_frame": self.per_frame(self.energy_j),
        }
        return asdict(self) | derived

    def lines(self) -> list[str]:
        """What `--power-report` prints."""
        fps = self.judged / self.seconds if self.seconds > 0 else 0.0
        rest = self.duty - sum(self.stages.values())
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in (*self.stages.items(), ("other", rest)))
        heat = "unknown" if self.temperature_c is None else f"{self.temperature_c:.1f} C"
        energy = "unknown, no gauge tells the power"
        if self.energy_j is not None:
            energy = f"{self.energy_j:.1f} J, {_five(self.per_frame(self.energy_j))} J per judged frame"
        return [
            f"power report: {self.seconds:.1f} s, {self.judged} frames judged, {fps:.1f} per second; "
            f"{self.unchanged} of them were unchanged and needed no inference.",
            f"power report: CPU-seconds per judged frame: {_five(self.per_frame(self.main_cpu_s))} main process, "
            f"{_five(self.per_frame(self.children_cpu_s))} source's process, "
            f"{_five(self.per_frame(self.cpu_s))} together.",
            f"power report: duty cycle of the judging thread: {100 * self.duty:.1f} % ({shares}).",
            f"power report: mean temperature: {heat}; energy from the battery: {energy}.",
        ]


def _five(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.5f}"


class PowerMeter:
    """Collects a run's PowerReport. It begins with the first judged frame, which it leaves out."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], tuple[float, float | None]] = processes.cpu_seconds,
    ) -> None:
        self._clock, self._cpu = clock, cpu
        self._began: float | None = None
        self._cpu_began: tuple[float, float | None] = (0.0, None)
        self._waited = self._heat = self._joules = 0.0
        self._judged = self._unchanged = self._heats = 0
        self._stages_ms: Counter[str] = Counter()
        self._power_known: bool | None = None  # all the time so far
        self.report: PowerReport | None = None

    def judged(self, stages_ms: dict[str, float], unchanged: bool) -> None:
        """Count one judged frame, with the milliseconds of its stages."""
        if self._began is None:
            self._began, self._cpu_began = self._clock(), self._cpu()
            return
        self._judged += 1
        self._unchanged += unchanged
        for stage in STAGES:
            self._stages_ms[stage] += stages_ms.get(stage, 0.0)

    def waited(self, seconds: float) -> None:
        """The judging thread did nothing for so long."""
        if self._began is not None:
            self._waited += seconds

    def sampled(self, seconds: float, health: Health, battery: Battery | None) -> None:
        """A sample of the last `seconds` seconds."""
        if self._began is None:
            return
        if health.temperature_c is not None:
            self._heat, self._heats = self._heat + health.temperature_c, self._heats + 1
        watts = None if battery is None else battery.watts
        self._power_known = watts is not None and self._power_known is not False
        self._joules += (watts or 0.0) * seconds

    def finish(self) -> None:
        """The run is over: make the report; none when not even one frame was judged."""
        if self._began is None:
            return
        seconds = self._clock() - self._began
        (own, below), (own_began, below_began) = self._cpu(), self._cpu_began
        wall = max(seconds, 1e-9)
        self.report = PowerReport(
            seconds,
            self._judged,
            self._unchanged,
            own - own_began,
            None if below is None or below_began is None else below - below_began,
            min(1.0, max(0.0, 1.0 - self._waited / wall)),
            {stage: self._stages_ms[stage] / 1e3 / wall for stage in STAGES},
            self._heat / self._heats if self._heats else None,
            self._joules if self._power_known else None,
        )
