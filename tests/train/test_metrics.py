"""Metrics against scikit-learn, and the bootstrap over groups against values computed by hand."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from device.bundle import Estimate
from train.data.busi import CLASSES
from train.metrics import (
    METRICS,
    accuracy,
    auc_benign_malignant,
    balanced_accuracy,
    measure,
    nll,
    percent,
    resampled,
    with_interval,
)

BENIGN, MALIGNANT, NORMAL = range(3)

# Ties, tiny differences, and logits far outside what a sigmoid can hold apart.
LOGITS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0**-24, 40.0, -40.0, 1e4, -1e4, 2.0**100, -(2.0**100)]),
    st.floats(-20, 20, width=32),
)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 40))
    logits = draw(arrays(np.float32, (n, 3), elements=LOGITS))
    return logits, draw(arrays(np.int64, n, elements=st.integers(0, 2)))


@settings(deadline=None, max_examples=300)
@given(_cases())
def test_equal_to_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = case
    chosen = logits.argmax(axis=1)
    assert accuracy(logits, targets) == pytest.approx(accuracy_score(targets, chosen), abs=1e-6)
    if set(targets) == {0, 1, 2}:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wanted = balanced_accuracy_score(targets, chosen)
        assert balanced_accuracy(logits, targets) == pytest.approx(wanted, abs=1e-6)
    else:
        assert balanced_accuracy(logits, targets) is None
    lesion = targets != NORMAL
    if {BENIGN, MALIGNANT} <= set(targets):
        score = (logits[:, MALIGNANT] - logits[:, BENIGN])[lesion]
        wanted = roc_auc_score(targets[lesion] == MALIGNANT, score)
        assert auc_benign_malignant(logits, targets) == pytest.approx(wanted, abs=1e-6)
    else:
        assert auc_benign_malignant(logits, targets) is None


def test_the_classes_are_where_the_metrics_take_them_to_be() -> None:
    assert CLASSES == ("benign", "malignant", "normal")


def test_auc_by_hand() -> None:
    # Scores (malignant - benign): malignant 3, 0, -200; benign 0, -1, -100. Of the 9 pairs malignant against benign:
    # 3 wins 3; 0 wins 2 and ties 1 (counts 1/2); -200 wins 0: AUC = 5.5 / 9. The normal picture does not count.
    score = np.array([3, 0, -200, 0, -1, -100, 1e6], np.float32)
    targets = np.array([1, 1, 1, 0, 0, 0, 2])
    logits = np.stack([np.zeros(7), score, np.full(7, 50.0)], axis=1).astype(np.float32)
    assert auc_benign_malignant(logits, targets) == pytest.approx(5.5 / 9)
    assert auc_benign_malignant(np.stack([score, np.zeros(7), score], axis=1), targets) == pytest.approx(3.5 / 9)


def test_differences_beyond_a_sigmoid_are_not_merged() -> None:
    # sigmoid(200) and sigmoid(300) are both 1 in floating point; in order, malignant above benign, the AUC is 1.
    logits = np.array([[0, 200, 0], [0, 300, 0], [0, 199.99, 0]], np.float32)
    assert auc_benign_malignant(logits, np.array([0, 1, 0])) == 1.0


def test_all_scores_equal_is_chance() -> None:
    assert auc_benign_malignant(np.zeros((6, 3), np.float32), np.array([0, 1, 0, 1, 2, 1])) == 0.5


def test_balanced_accuracy_by_hand() -> None:
    # Recalls: benign 2 of 4, malignant 1 of 1, normal 0 of 1: (1/2 + 1 + 0) / 3 = 1/2; accuracy 3 / 6.
    targets = np.array([0, 0, 0, 0, 1, 2])
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 1, 0]]
    assert balanced_accuracy(logits, targets) == pytest.approx(0.5)
    assert accuracy(logits, targets) == pytest.approx(0.5)
    # Without the last picture there is no normal one to recall: unknown, neither 3/4 nor 1/2.
    assert balanced_accuracy(logits[:5], targets[:5]) is None


@settings(deadline=None)
@given(_cases(), st.floats(0.1, 10))
def test_nll_equal_to_scipy(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, targets = case
    log_p = log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(targets)), targets]
    wanted = -np.maximum(log_p, math.log(1e-12)).mean()  # a probability is taken as at least 1e-12
    assert nll(logits, targets, temperature) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


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


def test_the_same_seed_draws_the_same() -> None:
    groups = np.arange(50)
    first, again, other = (resampled(groups, 5, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_an_interval_by_hand() -> None:
    # Of 0, 1, ..., 100 the 2.5 percentile is 2.5 and the 97.5 percentile 97.5; unknown values do not count.
    values = [*map(float, range(101)), None, None]
    assert with_interval(40.0, values[::-1]) == Estimate(40.0, 2.5, 97.5)
    # Of two values 0 and 1, with linear interpolation, 0.025 and 0.975.
    estimate = with_interval(0.5, [1.0, None, 0.0])
    assert (estimate.low, estimate.high) == (pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize(
    ("value", "values"), [(None, [0.5, 0.6]), (0.5, [None, None]), (0.5, [0.5, None]), (0.5, []), (None, [])]
)
def test_an_unknown_interval_is_none(value: float | None, values: list[float | None]) -> None:
    assert with_interval(value, values) == Estimate(value, None, None)


def test_measure_by_hand() -> None:
    # Two groups of two pictures: a is all right (accuracy 1), b half right. Drawn aa, ab, ba, bb: accuracy 1, 3/4, 3/4,
    # 1/2 with probabilities 1/4, 1/2, 1/4: the 2.5 and 97.5 percentiles are 1/2 and 1.
    # AUC: picture 2 (malignant, score 1), pictures 0 and 3 (benign, -1 and 1): it wins one, ties one: 3/4.
    # Drawn aa: 1; bb: no malignant picture, unknown; ab: 3/4.
    logits = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]], np.float32)
    targets = np.array([BENIGN, NORMAL, MALIGNANT, BENIGN])
    groups = np.array(["a", "b", "a", "b"])
    found = measure(logits, targets, groups)
    assert set(found) == set(METRICS) == {"accuracy", "balanced_accuracy", "auc_benign_malignant"}
    assert found["accuracy"] == Estimate(0.75, 0.5, 1.0)
    assert found["auc_benign_malignant"] == Estimate(0.75, 0.75, 1.0)
    # Recalls: benign 1/2, malignant 1, normal 1; only ab and ba have every class.
    wanted = pytest.approx(2.5 / 3)
    balanced = found["balanced_accuracy"]
    assert (balanced.value, balanced.low, balanced.high) == (wanted, wanted, wanted)


def _noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    logits[np.arange(n), targets] += 1.0
    return logits, targets


def test_the_interval_holds_the_value_and_repeats() -> None:
    logits, targets = _noisy(150, 0)
    groups = np.arange(150) // 2
    found, again = (measure(logits, targets, groups, repeats=200) for _ in range(2))
    other = measure(logits, targets, groups, repeats=200, seed=1)
    assert found == again
    for name, estimate in found.items():
        assert 0 < estimate.low < estimate.value < estimate.high < 1, name
        assert other[name].value == estimate.value
        assert (other[name].low, other[name].high) != (estimate.low, estimate.high)


def test_copies_in_one_group_do_not_narrow_the_interval() -> None:
    # Each picture four times: as groups of four the interval stays, as pictures of their own it would halve.
    logits, targets = _noisy(60, 1)
    single = measure(logits, targets, np.arange(60), repeats=300)["accuracy"]
    many, many_targets = np.repeat(logits, 4, axis=0), np.repeat(targets, 4)
    grouped = measure(many, many_targets, np.repeat(np.arange(60), 4), repeats=300)["accuracy"]
    naive = measure(many, many_targets, np.arange(240), repeats=300)["accuracy"]
    assert grouped == single
    assert naive.high - naive.low == pytest.approx((single.high - single.low) / 2, rel=0.2)


def test_of_one_group_the_interval_collapses() -> None:
    logits, targets = _noisy(30, 2)
    for estimate in measure(logits, targets, np.zeros(30), repeats=20).values():
        assert estimate.low == estimate.high == estimate.value


def test_undefined_metrics_are_unknown() -> None:
    found = measure(np.eye(3, dtype=np.float32)[[2, 2]], np.array([2, 2]), np.array([0, 1]), repeats=20)
    assert found["accuracy"] == Estimate(1.0, 1.0, 1.0)
    assert found["balanced_accuracy"] == found["auc_benign_malignant"] == Estimate(None, None, None)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(None), "unknown"),
        (Estimate(0.9123), "91.2"),
        (Estimate(0.9123, None, 0.95), "91.2"),
        (Estimate(0.912, 0.86, 0.955), "91.2 [86.0, 95.5]"),
        (Estimate(0.0, 0.0, 0.0), "0.0 [0.0, 0.0]"),
    ],
)
def test_percent(estimate: Estimate, text: str) -> None:
    assert percent(estimate) == text
