"""Temperature, operating point and abstention limit against known answers and brute force."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device.decide import softmax
from device.errors import UserError
from train.calibrate import abstain_limit, fit_temperature, operating_point
from train.evaluation.metrics import nll

MALIGNANT = 1


def _sampled(temperature: float, n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits z and targets drawn from softmax(z / temperature): the right answer is `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 3))
    cumulated = softmax(logits, temperature).cumsum(axis=1)
    return logits, (rng.random(n)[:, None] > cumulated[:, :2]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    logits, targets = _sampled(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_scales_with_the_logits() -> None:
    logits, targets = _sampled(1.5, n=3000)
    once = fit_temperature(logits, targets)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3 * once, rel=1e-3)


def test_no_temperature_of_a_grid_is_better() -> None:
    logits, targets = _sampled(2.0, n=300, seed=3)
    found = nll(logits, targets, fit_temperature(logits, targets))
    assert all(found <= nll(logits, targets, t) + 1e-6 for t in np.geomspace(0.05, 20, 400))


def test_the_temperature_stays_in_its_range() -> None:
    targets = np.arange(30) % 3
    right = np.eye(3)[targets]
    assert fit_temperature(right, targets) == pytest.approx(0.05, rel=0.05)  # all right: the sharper the better
    assert fit_temperature(np.roll(10 * right, 1, axis=1), targets) == pytest.approx(20, rel=0.05)  # all wrong


def _point(logits: np.ndarray, targets: np.ndarray, target: float, temperature: float = 1.0):
    return operating_point(logits, targets, temperature, target, "val")


@st.composite
def _cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 30))
    values = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 30.0, -800.0]), st.floats(-5, 5, width=32))
    targets = draw(arrays(np.int64, n, elements=st.integers(0, 2)))
    targets[0], targets[-1] = MALIGNANT, draw(st.sampled_from([0, 2]))
    return draw(arrays(np.float32, (n, 3), elements=values)), targets


@settings(deadline=None, max_examples=300)
@given(_cases(), st.floats(0.05, 1), st.floats(0.3, 5))
def test_the_operating_point_is_the_highest_that_reaches_the_sensitivity(
    case: tuple[np.ndarray, np.ndarray], target: float, temperature: float
) -> None:
    logits, targets = case
    point = _point(logits, targets, target, temperature)
    score, positive = softmax(logits, temperature)[:, MALIGNANT], targets == MALIGNANT

    def sensitivity(threshold: float) -> float:
        return float((score[positive] >= threshold).mean())

    # Scores that are equal but for rounding are neither one candidate nor two.
    assume(not np.any((np.diff(np.unique(score)) > 0) & (np.diff(np.unique(score)) < 1e-12)))
    # Between two neighbouring scores every threshold decides alike, so the scores themselves are all the candidates.
    best = max(t for t in np.unique(score[positive]) if sensitivity(t) >= target - 1e-9)
    assert np.array_equal(score >= point.malignant_threshold, score >= best)
    assert point.malignant_threshold <= best
    assert point.sensitivity == sensitivity(point.malignant_threshold) >= target - 1e-9
    assert point.specificity == (score[~positive] < point.malignant_threshold).mean()
    assert (point.target_sensitivity, point.derived_on) == (target, "val")
    assert 0 <= point.malignant_threshold <= 1


def test_the_operating_point_by_hand() -> None:
    # P(malignant): malignant 0.9, 0.8, 0.5, 0.2; others 0.6, 0.3, 0.1. Sensitivity 0.75 needs three of the four: 0.5
    # and above. The next lower score is 0.3, so the threshold is 0.4; of the others one of three lies above it.
    p = np.array([0.9, 0.8, 0.5, 0.2, 0.6, 0.3, 0.1])
    logits = np.log(np.stack([(1 - p) / 2, p, (1 - p) / 2], axis=1))
    targets = np.array([1, 1, 1, 1, 0, 2, 0])
    point = _point(logits, targets, 0.75)
    assert point.malignant_threshold == pytest.approx(0.4)
    assert point.sensitivity == 0.75
    assert point.specificity == pytest.approx(2 / 3)
    assert _point(logits, targets, 0.76).malignant_threshold == pytest.approx(0.15)  # all four, midway to 0.1
    assert _point(logits, targets, 0.5).malignant_threshold == pytest.approx(0.7)  # two, midway to 0.6
    assert _point(logits[[0, 1, 4]], targets[[0, 1, 4]], 1.0).malignant_threshold == pytest.approx(0.7)
    assert _point(logits[[3, 4]], targets[[3, 4]], 1.0).malignant_threshold == pytest.approx(0.1)  # midway to 0


def test_rounding_asks_for_no_picture_too_many() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point; it must not ask for eight of hundred.
    p = np.linspace(0.05, 0.95, 101)
    logits = np.log(np.stack([(1 - p) / 2, p, (1 - p) / 2], axis=1))
    targets = np.array([0] + [1] * 100)
    for needed in range(1, 101):
        assert _point(logits, targets, needed / 100).sensitivity == needed / 100


def test_without_malignant_or_without_other_pictures() -> None:
    logits, _ = _sampled(1.0, n=20)
    with pytest.raises(UserError, match="malignant"):
        _point(logits, np.zeros(20, int), 0.95)
    with pytest.raises(UserError, match="malignant"):
        _point(logits, np.ones(20, int), 0.95)


_LOGITS = arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-5, 5, width=32))


@settings(deadline=None)
@given(_LOGITS, st.floats(0.01, 1))
def test_the_abstention_limit_is_the_highest_that_keeps_the_coverage(logits: np.ndarray, coverage: float) -> None:
    found = abstain_limit(logits, 1.3, coverage, "val")
    confidence = softmax(logits, 1.3).max(axis=1)
    best = min(0.9, max(limit for limit in confidence if (confidence >= limit).mean() >= coverage - 1e-9))
    assert found.min_confidence == best
    assert found.coverage == (confidence >= best).mean()
    assert found.derived_on == "val"


def test_the_abstention_limit_by_hand() -> None:
    # Largest probabilities 0.40, 0.45, ..., 0.90 (11 pictures): a coverage of 0.8 lets the two least confident fall.
    p = np.linspace(0.40, 0.90, 11)
    logits = np.log(np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1))
    found = abstain_limit(logits[::-1], 1.0, 0.8, "val")
    assert found.min_confidence == pytest.approx(0.5)
    assert found.coverage == pytest.approx(9 / 11)
    everything = abstain_limit(logits, 1.0, 1.0, "val")
    assert (everything.min_confidence, everything.coverage) == (pytest.approx(0.4), 1.0)


def test_an_answer_above_nine_tenths_is_not_withheld() -> None:
    p = np.array([0.95, 0.999, 0.9999, 0.99999])
    logits = np.log(np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1))
    found = abstain_limit(logits, 1.0, 0.5, "val")
    assert (found.min_confidence, found.coverage) == (0.9, 1.0)


def test_rounding_keeps_no_picture_too_many() -> None:
    # (1 - 0.9) * 10 is 0.9999999999999998 in floating point; one of ten may fall all the same.
    p = np.linspace(0.40, 0.85, 10)
    logits = np.log(np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1))
    for kept in range(1, 11):
        assert abstain_limit(logits, 1.0, kept / 10, "val").coverage == kept / 10
