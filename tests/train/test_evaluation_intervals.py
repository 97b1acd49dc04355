"""The bootstrap over groups, percentile intervals and how they are written, by hand."""

import numpy as np
import pytest

from device.bundle import Estimate
from train.evaluation.intervals import drawn_counts, number, percent, ratio, resampled, share, with_interval


def test_resampling_draws_whole_groups() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    members = {"a": {1, 4}, "b": {0, 2, 5}, "c": {3}}
    drawn = resampled(groups, 400, seed=1)
    assert len(drawn) == 400
    seen = set()
    for indices in drawn:
        times = {name: {int((indices == i).sum()) for i in members[name]} for name in members}
        assert all(len(counts) == 1 for counts in times.values()), "a group comes with all its pictures or not at all"
        counts = tuple(times[name].copy().pop() for name in "abc")
        assert sum(counts) == 3, "as many groups as there are"
        seen.add(counts)
    assert len(seen) == 10, "3 draws of 3 groups with replacement: 10 combinations"


def test_counts_say_how_often_each_picture_is_drawn() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    counts = drawn_counts(groups, 50, seed=4)
    assert counts.shape == (50, 6)
    for row, index in zip(counts, resampled(groups, 50, seed=4), strict=True):
        assert row.tolist() == [float((index == i).sum()) for i in range(6)]


def test_the_same_seed_draws_the_same() -> None:
    groups = np.arange(50)
    first, again, other = (resampled(groups, 5, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_share_of_nothing_is_unknown() -> None:
    assert ratio(np.array([1.0, 0.0, 2.0]), np.array([2.0, 0.0, 2.0])) == pytest.approx([0.5, np.nan, 1.0], nan_ok=True)
    event, among = np.array([True, True, False, True]), np.array([True, False, True, False])
    counts = np.array([[1.0, 1, 1, 1], [3.0, 0, 1, 5], [0.0, 2, 0, 2]])
    assert share(event, among, counts) == pytest.approx([1 / 2, 3 / 4, np.nan], nan_ok=True)


def test_an_interval_by_hand() -> None:
    # Of 0, 1, ..., 100 the 2.5 percentile is 2.5 and the 97.5 percentile 97.5; unknown values do not count.
    values = [*map(float, range(101)), None, None]
    assert with_interval(40.0, values[::-1]) == Estimate(40.0, 2.5, 97.5)
    assert with_interval(40.0, np.array([*range(101), np.nan])) == Estimate(40.0, 2.5, 97.5)
    # Of two values 0 and 1, with linear interpolation, 0.025 and 0.975.
    estimate = with_interval(0.5, [1.0, None, 0.0])
    assert (estimate.low, estimate.high) == (pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (None, [0.5, 0.6]),
        (float("nan"), [0.5, 0.6]),
        (0.5, [None, float("nan")]),
        (0.5, [0.5, None]),
        (0.5, []),
        (None, []),
    ],
)
def test_an_unknown_interval_is_none(value: float | None, values: list[float | None]) -> None:
    wanted = None if value is None or np.isnan(value) else value
    assert with_interval(value, values) == Estimate(wanted, None, None)


@pytest.mark.parametrize(
    ("estimate", "shares", "numbers"),
    [
        (Estimate(None), "unknown", "unknown"),
        (Estimate(0.9123), "91.2", "0.912"),
        (Estimate(0.9123, None, 0.95), "91.2", "0.912"),
        (Estimate(0.912, 0.86, 0.955), "91.2 [86.0, 95.5]", "0.912 [0.860, 0.955]"),
        (Estimate(0.0, 0.0, 0.0), "0.0 [0.0, 0.0]", "0.000 [0.000, 0.000]"),
    ],
)
def test_how_figures_are_written(estimate: Estimate, shares: str, numbers: str) -> None:
    assert (percent(estimate), number(estimate)) == (shares, numbers)
