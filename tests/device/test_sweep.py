"""The summary of a sweep, by hand and against a slow computation that looks at every stretch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.decide import ABSTAIN, Verdict
from device.over_time import Belief
from device.sweep import Sweep, SweepSummary


def belief(at: float, malignant: float | None, frames: int = 2, label: str = "benign") -> Belief:
    probabilities = {} if malignant is None else {"benign": 1 - malignant, "malignant": malignant}
    return Belief(at, (0.0,), frames, "moving", 0.0, Verdict(label, probabilities))


def summed(beliefs: list[Belief], sustained_s: float = 1.0) -> SweepSummary:
    sweep = Sweep(sustained_s)
    for one in beliefs:
        sweep.add(one)
    return sweep.summary()


def test_an_empty_sweep_knows_nothing() -> None:
    found = summed([])
    assert (found.seen, found.abstained, found.seconds) == (0, 0, 0.0)
    assert (found.sustained_malignant, found.sustained_at) == (None, None)


def test_a_peak_does_not_count_but_what_lasts_does() -> None:
    # 0.9 for half a second, then 0.6, 0.7, 0.6 ... for more than one
    values = [(0.0, 0.9), (0.25, 0.9), (0.5, 0.6), (0.75, 0.7), (1.0, 0.6), (1.25, 0.7), (1.5, 0.7), (1.75, 0.7)]
    found = summed([belief(at, p, frames=n + 1) for n, (at, p) in enumerate(values)])
    assert found.sustained_malignant == pytest.approx(0.6)
    assert found.sustained_at == pytest.approx(1.0), "the stretch from 0 to 1 held 0.6 throughout"
    assert found.seconds == pytest.approx(1.75)
    # one of 0.6 lay between 1.0 and 1.25; from 1.25 to 2.25 it is 0.7 throughout
    longer = summed([belief(at, p, frames=n + 1) for n, (at, p) in enumerate([*values, (2.0, 0.7), (2.25, 0.7)])])
    assert (longer.sustained_malignant, longer.sustained_at) == (pytest.approx(0.7), pytest.approx(2.25))


def test_what_does_not_last_is_unknown_not_zero() -> None:
    assert summed([belief(0.0, 0.9, 1), belief(0.9, 0.9)]).sustained_malignant is None


def test_frames_are_counted_by_verdict() -> None:
    found = summed([belief(0.0, 0.2, 1), belief(0.1, None, 0, ABSTAIN), belief(0.2, 0.8, 1, "malignant")])
    assert found.frames == {"benign": 1, ABSTAIN: 1, "malignant": 1}
    assert (found.seen, found.abstained) == (3, 1)


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.125, 0.25, 0.5]),  # exact in binary, so that both ways agree on the window's edge
        st.one_of(st.none(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])),
        st.integers(0, 9),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(drawn=FRAMES)
def test_every_stretch_is_looked_at(drawn: list) -> None:
    beliefs, at = [], 0.0
    for pause, malignant, number in drawn:
        at += pause
        beliefs.append(belief(at, malignant, frames=1 if number == 0 else 2))
    assert summed(beliefs).sustained_malignant == slowly(beliefs)


def slowly(beliefs: list[Belief], sustained_s: float = 1.0) -> float | None:
    """Over all frames that end a stretch: the least of what held within the last second, where nothing broke it."""
    found = []
    for last, ending in enumerate(beliefs):
        lows = []
        for number in range(last, -1, -1):
            one = beliefs[number]
            held_until = beliefs[number + 1].at if number < last else float("inf")
            if one.verdict.probabilities.get("malignant") is None:
                break
            if held_until > ending.at - sustained_s:
                lows.append(one.verdict.probabilities["malignant"])
            if one.at <= ending.at - sustained_s:
                found.append(min(lows))
                break
            if one.frames == 1 or number == 0:
                break
    return max(found) if found else None
