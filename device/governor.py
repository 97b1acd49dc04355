"""The governor: how many frames per second may be judged, so that the Pi stays cool and the battery lasts.

A pure state machine, one step per second: the same samples at the same times give the same decisions. It goes down at
once and as far as the worst of its causes asks, and comes up one rung at a time, each after `recovery_s` of calm.
"""

from dataclasses import dataclass

from device.telemetry import Health
from device.telemetry.battery import Battery

# Shares of full_fps, from no limit down; the last rung is floor_fps itself.
RUNGS = (1.0, 2 / 3, 1 / 2, 1 / 3, 1 / 4, 0.0)
HALF, QUARTER, FLOOR = 2, 4, 5
TEMPERATURE, BATTERY = "temperature", "battery"
# What the firmware's flags of now ask for at once. The soft limit (60 C on a 3B+, elsewhere where config.txt sets it)
# only slows the clock a little, so that one is followed down rung by rung.
_FLAGS = {"under-voltage": QUARTER, "frequency-capped": HALF, "throttled": FLOOR, "soft-temperature-limit": 1}
_SOFT = "soft-temperature-limit"


@dataclass(frozen=True)
class GovernorSettings:
    """When the governor acts; the section `governor` of the configuration file has a key for each.

    full_fps: frames per second that the rungs are shares of. floor_fps: never fewer than this. soft_limit_c: where the
    Pi throttles; the temperatures between soft_limit_c - margin_c and soft_limit_c are divided evenly among the rungs
    below full. hysteresis_c: how much cooler it must be before the rate goes up again. battery_low_percent: below it
    half the rate, and below battery_very_low_percent a quarter. battery_hysteresis_percent: what the battery must gain
    before the rate goes up again. settle_s: the time given to a rung while the firmware reports its soft limit.
    recovery_s: of calm, before the rate goes up by one rung. Raises ValueError for what makes no sense.
    """

    full_fps: float = 30.0
    floor_fps: float = 2.0
    soft_limit_c: float = 80.0
    margin_c: float = 5.0
    hysteresis_c: float = 2.0
    battery_low_percent: float = 20.0
    battery_very_low_percent: float = 10.0
    battery_hysteresis_percent: float = 3.0
    settle_s: float = 10.0
    recovery_s: float = 30.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.floor_fps <= self.full_fps <= 1000.0:  # device.over_time forgets all after 2 s of nothing
            raise ValueError("1 <= floor_fps <= full_fps <= 1000 frames per second must hold")
        if not (0.1 <= self.margin_c <= 60.0 and 40.0 <= self.soft_limit_c <= 110.0):
            raise ValueError("soft_limit_c must be 40 to 110 and margin_c 0.1 to 60")
        if not 0.0 <= self.battery_very_low_percent <= self.battery_low_percent <= 100.0:
            raise ValueError("0 <= battery_very_low_percent <= battery_low_percent <= 100 must hold")
        if not (0.0 <= self.hysteresis_c <= 60.0 and 0.0 <= self.battery_hysteresis_percent <= 100.0):
            raise ValueError("hysteresis_c must be 0 to 60 and battery_hysteresis_percent 0 to 100")
        if not (1.0 <= self.settle_s <= 3600.0 and 1.0 <= self.recovery_s <= 3600.0):
            raise ValueError("settle_s and recovery_s must be 1 to 3600 seconds")

    def fps(self, rung: int) -> float | None:
        """The limit of a rung in frames per second; None for no limit."""
        return None if rung == 0 else max(self.floor_fps, self.full_fps * RUNGS[rung])


@dataclass(frozen=True)
class Decision:
    """limit_fps: frames per second that may be judged, None: as many as come. limited_by: the causes, TEMPERATURE,
    BATTERY or a flag of the firmware; a limit stays named after its causes while it is lifted step by step.
    unknown: what no sensor told of, and which therefore limits nothing."""

    limit_fps: float | None = None
    limited_by: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`15 frames per second (temperature)`, or `no limit`."""
        if self.limit_fps is None:
            return "no limit"
        return f"{self.limit_fps:g} frames per second ({', '.join(self.limited_by)})"


@dataclass(frozen=True)
class State:
    """What is held from one step to the next. rung: of RUNGS. lowered_at: when it last went down. calm_since: since
    when a higher rung would have done, None while it would not. Times in seconds of one clock."""

    decision: Decision
    rung: int = 0
    lowered_at: float = 0.0
    calm_since: float | None = None


START = State(Decision())


def step(before: State, at: float, health: Health, battery: Battery | None, settings: GovernorSettings) -> State:
    """The state after one more sample; at: seconds of a clock, about one step a second."""
    lowered_at = min(before.lowered_at, at)  # a clock that went back must not hold a rung for ever
    asked = _asked(health, battery, settings, before.rung, at - lowered_at)
    # The same once more as if everything were a little worse: what still asks then has not eased yet.
    eased = _asked(health, battery, settings, before.rung, at - lowered_at, worse=True)
    needed = max(asked.values(), default=0)
    would_do = max(eased.values(), default=0)
    rung, calm_since = before.rung, None
    if needed > rung:
        rung, lowered_at = needed, at
    elif would_do < rung:
        calm_since = at if before.calm_since is None else min(before.calm_since, at)
        if at - calm_since >= settings.recovery_s:
            rung, calm_since = rung - 1, at
    # A cause is one that asks now, or did before and has not eased; the last one's name stays until the limit goes.
    held = before.decision.limited_by
    causes = tuple(name for name in eased if name in asked or name in held)
    limited_by = (causes or held) if rung else ()
    return State(Decision(settings.fps(rung), limited_by, _unknown(health, battery)), rung, lowered_at, calm_since)


def _asked(
    health: Health,
    battery: Battery | None,
    settings: GovernorSettings,
    rung: int,
    since_lowered_s: float,
    worse: bool = False,
) -> dict[str, int]:
    """The rung that each cause asks for, causes that ask for none left out. worse: by the hystereses."""
    asked = {}
    if health.temperature_c is not None:
        over = health.temperature_c - (settings.soft_limit_c - settings.margin_c) + worse * settings.hysteresis_c
        if over >= 0:
            asked[TEMPERATURE] = min(FLOOR, 1 + int(over / settings.margin_c * FLOOR))
    for flag in health.throttled or ():
        if flag in _FLAGS:
            asked[flag] = _FLAGS[flag]
    if _SOFT in asked and rung > 0:
        asked[_SOFT] = min(FLOOR, rung + (since_lowered_s >= settings.settle_s))
    if battery is not None and battery.percent is not None and battery.charging is not True:
        percent = battery.percent - worse * settings.battery_hysteresis_percent
        if percent < settings.battery_low_percent:
            asked[BATTERY] = QUARTER if percent < settings.battery_very_low_percent else HALF
    return asked


def _unknown(health: Health, battery: Battery | None) -> tuple[str, ...]:
    known = {
        TEMPERATURE: health.temperature_c is not None,
        "throttling": health.throttled is not None,
        BATTERY: battery is not None and battery.percent is not None,
    }
    return tuple(name for name, is_known in known.items() if not is_known)


class Pacer:
    """Says when the next frame may be taken, so that a limit is kept: in any W seconds at most W * limit + 2 frames."""

    def __init__(self) -> None:
        self._due = self._took = float("-inf")

    def wait(self, now: float, limit_fps: float | None) -> float:
        """Seconds until a frame may be taken, 0 when it may now; never more than one period of the limit."""
        if limit_fps is None:
            return 0.0
        # Of the limit that holds now: one that was just raised does not wait for the longer period before it.
        return max(0.0, min(self._due, self._took + 1.0 / limit_fps) - now)

    def took(self, now: float, limit_fps: float | None) -> None:
        """A frame was taken. One that came late by less than a period does not shift those behind it, or a source's
        own rhythm would make the rate lower than its limit."""
        period = 0.0 if limit_fps is None else 1.0 / limit_fps
        self._due = min(max(self._due, now - period), now) + period
        self._took = now
