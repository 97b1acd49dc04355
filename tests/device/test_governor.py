"""The governor's rules one by one, and what holds for any history of temperatures, flags and batteries."""

import itertools
import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.governor import RUNGS, START, Decision, GovernorSettings, Pacer, State, step
from device.telemetry import Health
from device.telemetry.battery import Battery

RULES = GovernorSettings()
LADDER = [30.0, 20.0, 15.0, 10.0, 7.5, 2.0]


def health(temperature: float | None = 50.0, throttled: tuple[str, ...] | None = ()) -> Health:
    return Health(None, None, temperature, None, None, None, None, throttled)


def battery(percent: float | None = 80.0, charging: bool | None = False) -> Battery:
    return Battery(percent, None, charging, None, None, "test")


def after(*samples: tuple[Health, Battery | None], state: State = START, at: float = 0.0) -> State:
    """The state after one sample a second."""
    for n, (found, source) in enumerate(samples):
        state = step(state, at + n, found, source, RULES)
    return state


def decided(found: Health, source: Battery | None = None) -> Decision:
    return after((found, source or battery())).decision


@pytest.mark.parametrize(
    ("temperature", "fps"),
    [(74.9, None), (75.0, 20.0), (75.9, 20.0), (76.0, 15.0), (77.5, 10.0), (78.9, 7.5), (79.0, 2.0), (95.0, 2.0)],
)
def test_the_rate_goes_down_before_the_soft_limit(temperature: float, fps: float | None) -> None:
    wanted = Decision() if fps is None else Decision(fps, ("temperature",))
    assert decided(health(temperature)) == wanted


@pytest.mark.parametrize(
    ("flag", "fps"),
    [("under-voltage", 7.5), ("frequency-capped", 15.0), ("throttled", 2.0), ("soft-temperature-limit", 20.0)],
)
def test_a_flag_of_now_limits_at_once_and_one_of_before_does_not(flag: str, fps: float) -> None:
    assert decided(health(throttled=(flag, "throttled-since-boot"))) == Decision(fps, (flag,))
    assert decided(health(throttled=(f"{flag}-since-boot",))) == Decision()


@pytest.mark.parametrize(
    ("percent", "charging", "fps"),
    [(20, False, None), (19.9, False, 15), (10, None, 15), (9.9, None, 7.5), (0, False, 7.5), (5, True, None)],
)
def test_a_low_battery_limits_unless_it_charges(percent: float, charging: bool | None, fps: float | None) -> None:
    wanted = Decision() if fps is None else Decision(fps, ("battery",))
    assert decided(health(), battery(percent, charging)) == wanted


def test_the_worst_cause_decides_and_all_are_named() -> None:
    assert decided(health(76.5, ("under-voltage",)), battery(15.0)) == Decision(
        7.5, ("temperature", "under-voltage", "battery")
    )


def test_what_is_unknown_limits_nothing_and_is_named() -> None:
    assert decided(health(None, None), battery(None)).unknown == ("temperature", "throttling", "battery")
    assert after((health(), None)).decision == Decision(unknown=("battery",))
    assert after((health(78.0, None), None)).decision == Decision(7.5, ("temperature",), ("throttling", "battery"))


def test_the_soft_limit_is_followed_down_while_the_firmware_reports_it() -> None:
    """A 3B+ has it at 60 C, far below where the temperature itself would limit."""
    soft = (health(62.0, ("soft-temperature-limit",)), battery())
    rates, state = [], START
    for n in range(60):
        state = step(state, float(n), *soft, RULES)
        rates.append(state.decision.limit_fps)
    assert rates == [20.0] * 10 + [15.0] * 10 + [10.0] * 10 + [7.5] * 10 + [2.0] * 20


def test_the_rate_comes_back_rung_by_rung_after_calm() -> None:
    state = after((health(77.0), battery()))
    assert state.decision.limit_fps == 10.0
    rates = []
    for n in range(1, 100):
        state = step(state, float(n), health(60.0), battery(), RULES)
        rates.append(state.decision.limit_fps)
    assert rates[:30] == [10.0] * 30
    assert rates[30:60] == [15.0] * 30
    assert rates[60:90] == [20.0] * 30
    assert state.decision == Decision()


def test_within_the_hysteresis_nothing_moves() -> None:
    state = after((health(76.0), battery()))
    for n in range(1, 200):
        state = step(state, float(n), health(74.1 if n % 2 else 75.9), battery(), RULES)
        assert state.decision == Decision(15.0, ("temperature",))


def test_a_battery_that_hovers_at_its_limit_does_not_make_the_rate_hunt() -> None:
    rates = set()
    state = after((health(), battery(19.9)))
    for n in range(1, 200):
        state = step(state, float(n), health(), battery(22.9 if n % 2 else 19.9), RULES)
        rates.add(state.decision.limit_fps)
    assert rates == {15.0}
    state = step(state, 200.0, health(), battery(19.9, True), RULES)  # the mains are plugged in
    assert step(state, 230.0, health(), battery(19.9, True), RULES).decision.limit_fps == 20.0


# --- for any history

temperatures = st.none() | st.floats(-40, 150)
flags = st.none() | st.lists(
    st.sampled_from(["under-voltage", "throttled", "soft-temperature-limit", "throttled-since-boot"]), max_size=2
).map(tuple)
batteries = st.none() | st.builds(battery, st.none() | st.floats(0, 100), st.sampled_from([None, False, True]))
histories = st.lists(
    st.tuples(st.floats(0, 5), st.builds(health, temperatures, flags), batteries, st.integers(1, 20)), max_size=40
)


def replay(history: list, rules: GovernorSettings = RULES) -> list[tuple[float, State]]:
    """(time, state) of each step; each sample of the history is repeated."""
    at, state, found = 0.0, START, []
    for seconds, sampled, source, times in history:
        for _ in range(times):
            at += seconds
            state = step(state, at, sampled, source, rules)
            found.append((at, state))
    return found


@settings(deadline=None)
@given(histories, st.floats(1, 120))
def test_no_history_breaks_the_bounds_or_makes_it_hunt(history: list, recovery_s: float) -> None:
    rules = replace(RULES, recovery_s=recovery_s)
    changed_at, before = -math.inf, 0
    for at, state in replay(history, rules):
        limit = state.decision.limit_fps
        assert limit is None or rules.floor_fps <= limit <= rules.full_fps
        assert (limit is None) == (state.decision.limited_by == ()) == (state.rung == 0)
        if state.rung < before:
            assert state.rung == before - 1, "up by one rung at most"
            assert at - changed_at >= recovery_s * (1 - 1e-9), "and never sooner than after the recovery time"
        if state.rung != before:
            changed_at, before = at, state.rung
    assert replay(history, rules) == replay(history, rules), "the same samples give the same decisions"


@settings(deadline=None)
@given(histories, st.floats(75, 150))
def test_after_any_history_heat_is_answered_at_once(history: list, temperature: float) -> None:
    past = replay(history)
    at, state = past[-1] if past else (0.0, START)
    limit = step(state, at + 1.0, health(temperature), None, RULES).decision.limit_fps
    assert limit <= decided(health(temperature)).limit_fps


@settings(deadline=None)
@given(histories)
def test_after_any_history_a_cool_machine_is_free_again(history: list) -> None:
    past = replay(history)
    at, state = past[-1] if past else (0.0, START)
    for n in range(1, 6 * 31):
        state = step(state, at + n, health(), battery(), RULES)
    assert state.decision == Decision()


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_clock_that_goes_back_holds_no_rung_for_ever(first: float, second: float) -> None:
    state = step(START, first, health(79.0), battery(), RULES)
    for n in range(6 * 31):
        state = step(state, second + n, health(), battery(), RULES)
    assert state.decision == Decision()


# --- in a model of the Pi's heat


@dataclass(frozen=True)
class Board:
    """First order: power in, one thermal mass, one way out. docs/power.md says where the figures come from."""

    ambient_c: float
    kelvin_per_watt: float
    time_constant_s: float
    idle_w: float = 2.7
    joules_per_frame: float = 0.05  # 1.5 W at 30 frames a second: more than one core can turn into heat

    def rest_c(self, fps: float) -> float:
        """Where the temperature ends at so many frames per second."""
        return self.ambient_c + self.kelvin_per_watt * (self.idle_w + self.joules_per_frame * fps)

    def after_s(self, temperature: float, fps: float) -> float:
        """The temperature a second later."""
        rest = self.rest_c(fps)
        return rest + (temperature - rest) * math.exp(-1.0 / self.time_constant_s)


def governed(board: Board, seconds: int = 1800, step_c: float = 0.487) -> tuple[list[float], list[float]]:
    """(temperature, frames per second) of each second from cold, the sensor rounding down to its step."""
    temperature, state, heats, rates = board.ambient_c, START, [], []
    for n in range(seconds):
        sensed = math.floor(temperature / step_c) * step_c
        state = step(state, float(n), health(sensed), battery(), RULES)
        rates.append(state.decision.limit_fps or RULES.full_fps)
        temperature = board.after_s(temperature, rates[-1])
        heats.append(temperature)
    return heats, rates


PI_4_BARE, PI_4_SINK = Board(22.0, 12.0, 120.0), Board(22.0, 8.0, 300.0)


@pytest.mark.parametrize("board", [PI_4_BARE, PI_4_SINK])
def test_a_pi_4_in_a_room_needs_no_limit(board: Board) -> None:
    heats, rates = governed(board)
    assert set(rates) == {30.0}
    assert max(heats) < 80.0


@pytest.mark.parametrize("board", [replace(PI_4_BARE, ambient_c=35.0), replace(PI_4_SINK, ambient_c=50.0)])
def test_a_pi_4_in_the_heat_would_throttle_and_does_not(board: Board) -> None:
    assert board.rest_c(30.0) > 80.0
    heats, rates = governed(board)
    assert max(heats) < 80.0
    assert 2.0 < sum(rates) / len(rates) < 30.0


@settings(deadline=None, max_examples=60)
@given(
    ambient=st.floats(0, 60),
    kelvin_per_watt=st.floats(4, 14),
    time_constant=st.floats(60, 900),
    joules=st.floats(0.01, 0.1),
)
def test_the_soft_limit_is_kept_wherever_the_floor_keeps_it(
    ambient: float, kelvin_per_watt: float, time_constant: float, joules: float
) -> None:
    board = Board(ambient, kelvin_per_watt, time_constant, joules_per_frame=joules)
    heats, rates = governed(board, 900)
    assert min(rates) >= RULES.floor_fps
    # Where idling alone is too hot, no governor helps; the rest is its business.
    assert max(heats) < 80.0 or board.rest_c(RULES.floor_fps) >= 80.0
    ups = [n for n in range(1, len(rates)) if rates[n] > rates[n - 1]]
    assert all(second - first >= RULES.recovery_s for first, second in itertools.pairwise(ups))


# --- the pace


@settings(deadline=None)
@given(st.floats(1, 100), st.lists(st.floats(0, 0.3), min_size=1, max_size=300))
def test_a_limit_is_kept_in_every_window(limit: float, pauses: list[float]) -> None:
    pacer, now, taken = Pacer(), 0.0, []
    for pause in pauses:  # a frame comes, now and then before it may be taken
        now += pause
        if pacer.wait(now, limit) == 0.0:
            pacer.took(now, limit)
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= (taken[last] - taken[first]) * limit * (1 + 1e-9) + 2


def test_frames_of_another_rhythm_reach_the_limit() -> None:
    """30 frames come, 20 may be taken: rounding each pause up to the next frame would make it 15."""
    pacer, taken = Pacer(), 0
    for n in range(300):
        if pacer.wait(n / 30, 20.0) == 0.0:
            pacer.took(n / 30, 20.0)
            taken += 1
    assert taken == pytest.approx(200, abs=2)


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0, 10))
def test_waiting_takes_a_period_of_the_limit_that_holds_at_most(old: float, new: float, later: float) -> None:
    pacer = Pacer()
    assert pacer.wait(0.0, old) == 0.0
    pacer.took(0.0, old)
    assert 0.0 <= pacer.wait(later, new) <= 1.0 / new
    assert pacer.wait(later, None) == 0.0


# --- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor_fps": 0.5},
        {"floor_fps": 31.0},
        {"margin_c": 0.0},
        {"soft_limit_c": math.nan},
        {"battery_low_percent": 9.0},
        {"recovery_s": 0.0},
        {"hysteresis_c": -1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(RULES, **wrong)


def test_the_rungs_are_a_ladder() -> None:
    assert [RULES.fps(rung) or RULES.full_fps for rung in range(len(RUNGS))] == LADDER
