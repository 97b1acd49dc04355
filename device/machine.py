"""The machine that the daemon runs on: its health and battery, what the governor makes of them, and what it costs."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from device import governor, log
from device.governor import Decision, GovernorSettings, Pacer
from device.judge import Snapshot
from device.power import PowerMeter
from device.telemetry import Health, Telemetry
from device.telemetry.battery import Battery, Gauges

DEFAULT = GovernorSettings()


@dataclass(frozen=True)
class Condition:
    """One sample of the machine, and the governor's decision on it."""

    health: Health
    battery: Battery | None
    decision: Decision

    def pairs(self) -> dict[str, Any]:
        """What the line of a second adds to the health that it names already; unknown is None."""
        memory, battery = self.health.memory_all, self.battery
        return {
            "mem_all_mb": None if memory is None else memory.mb,
            "mem_all_by": None if memory is None else memory.by,
            "battery": None if battery is None else battery.percent,
            "battery_v": None if battery is None else battery.volts,
            "charging": None if battery is None else battery.charging,
            "battery_min": None if battery is None else battery.minutes_left,
            "limit_fps": self.decision.limit_fps,
            "limited_by": ",".join(self.decision.limited_by) or None,
        }


class Machine:
    """Samples once a second, paces the judging by the governor's limit, and collects the power report.

    settings: the governor's; None leaves it out. say: takes a line for the journal.
    """

    def __init__(
        self,
        settings: GovernorSettings | None = DEFAULT,
        telemetry: Telemetry | None = None,
        gauges: Gauges | None = None,
        say: Callable[[str], None] = log.say,
    ) -> None:
        self._settings, self.say = settings, say
        self._telemetry = Telemetry() if telemetry is None else telemetry
        self._gauges = Gauges() if gauges is None else gauges
        self._pacer, self._state = Pacer(), governor.START
        self._limited_s, self._lowest_fps = 0.0, None
        self._sampled_at: float | None = None
        self.meter = PowerMeter()
        self.condition: Condition | None = None
        self.unchanged = self._unchanged_told = 0  # frames of the whole run

    def pause(self, now: float) -> float:
        """Seconds until the governor lets the next frame be taken."""
        return self._pacer.wait(now, self._state.decision.limit_fps)

    def took(self, now: float) -> None:
        """A frame was taken."""
        self._pacer.took(now, self._state.decision.limit_fps)

    def judged(self, snapshot: Snapshot) -> None:
        """A frame was judged."""
        self.unchanged += snapshot.unchanged
        self.meter.judged(snapshot.stages_ms, snapshot.unchanged)

    def sample(self, now: float | None = None) -> Condition:
        """Look at the machine and decide; what changes in the governor's decision is said once."""
        now = time.monotonic() if now is None else now
        health, battery = self._telemetry.sample(), self._gauges.sample()
        seconds = 0.0 if self._sampled_at is None else now - self._sampled_at
        before, self._sampled_at = self._state.decision, now
        self._limited_s += seconds * (before.limit_fps is not None)
        if self._settings is not None:
            self._state = governor.step(self._state, now, health, battery, self._settings)
            self._tell(before, self._state.decision)
        self.meter.sampled(seconds, health, battery)
        self.condition = Condition(health, battery, self._state.decision)
        return self.condition

    def _tell(self, before: Decision, after: Decision) -> None:
        if (before.limit_fps, before.limited_by) != (after.limit_fps, after.limited_by):
            self.say(f"governor: {before.words} -> {after.words}")
        if before.unknown != after.unknown:
            unknown = ", ".join(after.unknown)
            self.say(f"governor: unknown, so no reason for a limit: {unknown}" if unknown else "governor: all is known")
        if after.limit_fps is not None:
            self._lowest_fps = min(after.limit_fps, self._lowest_fps or after.limit_fps)

    def pairs(self) -> dict[str, Any]:
        """For the line of a second: the frames that were unchanged since the last call, and the last sample."""
        fresh, self._unchanged_told = self.unchanged - self._unchanged_told, self.unchanged
        return {"unchanged": fresh, **(self.condition.pairs() if self.condition else {})}

    def tell_costs(self) -> None:
        """Say the power report."""
        found = self.meter.report
        for line in found.lines() if found else ["power report: no frame was judged, so there is nothing to report."]:
            self.say(line)

    def status(self) -> str:
        """A sentence for systemd's status while a limit holds, else nothing."""
        decision = self._state.decision
        return "" if decision.limit_fps is None else f"Limited to {decision.words}. "

    def summary(self) -> dict[str, Any]:
        """The run as plain data; unknown is None."""
        battery = None if self.condition is None else self.condition.battery
        return {
            "unchanged": self.unchanged,
            "battery_at_end": None if battery is None else asdict(battery),
            "governor": None
            if self._settings is None
            else {"settings": asdict(self._settings), "limited_s": self._limited_s, "lowest_fps": self._lowest_fps},
            "power": None if self.meter.report is None else self.meter.report.as_dict(),
        }
