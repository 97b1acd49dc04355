"""Latencies in fixed memory, against numpy's exact percentiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.stages import STAGES, Latencies, Tally

milliseconds = st.floats(Latencies.LOWEST_MS, Latencies.HIGHEST_MS)


@settings(deadline=None)
@given(st.lists(milliseconds, min_size=1, max_size=300), st.floats(0.1, 100.0))
def test_percentiles_are_within_the_stated_accuracy(values: list[float], percent: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert latencies.percentile(percent) == pytest.approx(exact, rel=Latencies.ACCURACY * 1.0001)
    assert latencies.highest_ms == max(values)
    assert latencies.count == len(values)


def test_what_lies_outside_the_range_counts_as_its_end() -> None:
    latencies = Latencies()
    for value in (0.0, -1.0, 1e9, float("inf")):
        latencies.add(value)
    assert latencies.percentile(50) == pytest.approx(Latencies.LOWEST_MS, rel=Latencies.ACCURACY)
    assert latencies.percentile(100) == pytest.approx(Latencies.HIGHEST_MS, rel=Latencies.ACCURACY)
    assert latencies.count == 4


def test_without_any_latency_nothing_is_known() -> None:
    assert Latencies().percentile(50) is None
    assert Latencies().highest_ms is None
    assert Latencies().count == 0


def test_a_tally_counts_verdicts_and_every_stage() -> None:
    tally = Tally()
    for label in ("benign", "abstain", "benign"):
        tally.add(label, dict.fromkeys(STAGES, 5.0))
    assert tally.judged == 3
    assert tally.verdicts == {"benign": 2, "abstain": 1}
    assert [tally.stages[stage].count for stage in STAGES] == [3] * len(STAGES)
