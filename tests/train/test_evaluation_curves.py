"""ROC curves: area, specificity at a sensitivity and band, by hand with ties and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from train.evaluation.curves import GRID, Curve, curve, with_band

PICTURES = st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30)


def _curve(scores: list, positive: list, counts: list | None = None) -> Curve:
    once = np.ones((1, len(scores)))
    return curve(np.array(scores, float), np.array(positive, bool), once if counts is None else np.array(counts, float))


# Positives at 9, 8, 8, 5, 2; the others at 8, 7, 6, 5, 1. At falling thresholds, true and false positives:
# 9: 1, 0; 8: 3, 1 (in one step); 7: 3, 2; 6: 3, 3; 5: 4, 4 (in one step); 2: 5, 4; 1: 5, 5.
SCORES = [9, 8, 8, 5, 2, 8, 7, 6, 5, 1]
POSITIVE = [True] * 5 + [False] * 5


def test_ties_are_passed_in_one_step() -> None:
    drawn = _curve(SCORES, POSITIVE)
    assert drawn.true.tolist() == [[0, 1, 3, 3, 3, 4, 5, 5]]
    assert drawn.false.tolist() == [[0, 0, 1, 2, 3, 4, 4, 5]]
    # Of 25 pairs the positive wins: 5 (9), 4.5 twice (8), 1.5 (5), 1 (2).
    assert drawn.area() == pytest.approx([16.5 / 25])


@pytest.mark.parametrize(
    ("sensitivity", "specificity"),
    [(0.2, 1.0), (0.21, 4 / 5), (0.6, 4 / 5), (0.61, 1 / 5), (0.8, 1 / 5), (0.81, 1 / 5), (1.0, 1 / 5), (0.0, 1.0)],
)
def test_specificity_at_a_sensitivity_by_hand(sensitivity: float, specificity: float) -> None:
    assert _curve(SCORES, POSITIVE).specificity_at(sensitivity) == pytest.approx([specificity])


def test_a_sensitivity_that_is_just_reached_counts() -> None:
    # All but one of the positives above the one negative: 95 % of 20, 90 % of 10.
    for positives in range(1, 200):
        found = _curve([1] * (positives - 1) + [0, 0.5], [True] * positives + [False])
        for wanted in (90, 95):
            reached = 100 * (positives - 1) >= wanted * positives
            assert found.specificity_at(wanted / 100) == [1.0 if reached else 0.0], (positives, wanted)
    # 0.55 * 100 is 55.00000000000001 in floating point: no 56th is needed.
    found = _curve([1] * 55 + [0] * 45 + [0.5], [True] * 100 + [False])
    assert found.specificity_at(0.55) == [1.0]
    assert found.specificity_at(0.56) == [0.0]


def test_sensitivity_at_a_specificity_by_hand() -> None:
    drawn = _curve(SCORES, POSITIVE)
    # False positive rates 0, 1/5, ..., 1. Between 0 and 1/5 the tie at 8 is a straight line from 1/5 to 3/5.
    for specificity, sensitivity in ((1.0, 1 / 5), (0.9, 2 / 5), (0.8, 3 / 5), (0.5, 3 / 5), (0.4, 3 / 5), (0.3, 0.7)):
        assert drawn.sensitivity_at(specificity) == pytest.approx([sensitivity]), specificity
    assert drawn.sensitivity_at(0.2) == pytest.approx([1.0]), "the highest where the curve rises straight up"
    assert drawn.sensitivity_at(0.0) == pytest.approx([1.0])


@settings(deadline=None, max_examples=300)
@given(PICTURES)
def test_equal_to_scikit_learn_with_weights(pictures: list[tuple[int, bool, int]]) -> None:
    scores, positive, counts = (np.array(column) for column in zip(*pictures))
    drawn = _curve(scores, positive, [counts, np.ones(len(scores))])
    for row, weights in enumerate((counts, np.ones(len(scores)))):
        positives, negatives = weights[positive].sum(), weights[~positive].sum()
        if not positives or not negatives:
            unknown = (drawn.area()[row], drawn.specificity_at(0.9)[row], drawn.sensitivity_at(0.5)[row])
            assert np.isnan(unknown).all()
            continue
        kept = weights > 0
        wanted = roc_auc_score(positive[kept], scores[kept], sample_weight=weights[kept])
        assert drawn.area()[row] == pytest.approx(wanted)
        fpr, tpr, _ = roc_curve(positive[kept], scores[kept], sample_weight=weights[kept], drop_intermediate=False)
        for sensitivity in (0.0, 0.5, 0.9, 0.95, 1.0):
            best = max(1 - f for f, t in zip(fpr, tpr) if t >= sensitivity - 1e-9)
            assert drawn.specificity_at(sensitivity)[row] == pytest.approx(best)
        for specificity in (0.0, 0.37, 0.5, 1.0):
            steps = np.r_[fpr, fpr[-1]], np.r_[tpr, tpr[-1]]
            highest = max(t for f, t in zip(*steps) if f <= 1 - specificity + 1e-9)
            assert drawn.sensitivity_at(specificity)[row] >= highest - 1e-9


@settings(deadline=None, max_examples=100)
@given(PICTURES)
def test_only_the_order_of_the_scores_counts(pictures: list[tuple[int, bool, int]]) -> None:
    scores, positive, counts = (np.array(column) for column in zip(*pictures))
    plain, bent = _curve(scores, positive, [counts]), _curve(np.exp(scores / 3) - 7, positive, [counts])
    assert np.array_equal(plain.true, bent.true)
    assert np.array_equal(plain.false, bent.false)
    turned = _curve(-scores, ~positive, [counts])
    assert turned.area() == pytest.approx(plain.area(), nan_ok=True)


def test_without_pictures_all_is_unknown() -> None:
    empty = curve(np.zeros(0), np.zeros(0, bool), np.zeros((2, 0)))
    assert np.isnan([empty.area(), empty.specificity_at(0.9), empty.sensitivity_at(0.9)]).all()
    assert with_band(empty, empty) is None


def test_a_band_by_hand() -> None:
    # Half of the resamplings separate the two kinds wholly, half turn them round: percentiles 0 and 1, but where no
    # specificity is asked for (1 at the left end of the grid) every one is found.
    scores, positive = np.array([2.0, 1.0, 0.0]), np.array([True, False, True])
    counts = np.array([[1.0, 1.0, 0.0]] * 10 + [[0.0, 1.0, 1.0]] * 10 + [[1.0, 0.0, 1.0]])
    band = with_band(curve(scores, positive, np.ones((1, 3))), curve(scores, positive, counts))
    assert band.specificity.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert band.sensitivity.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert GRID[0] == 0.0
    assert GRID[-1] == 1.0
    assert (band.low[0], band.high[0]) == (1.0, 1.0)
    assert (band.low[1:] == 0.0).all()
    assert (band.high[1:] == 1.0).all()


def test_the_bands_percentiles_by_hand() -> None:
    # In resampling r the share r / 100 of the positives stands above the negative.
    scores, positive = np.array([2.0, 0.0, 1.0]), np.array([True, True, False])
    counts = np.array([[r, 100 - r, 1.0] for r in range(101)])
    band = with_band(curve(scores, positive, np.ones((1, 3))), curve(scores, positive, counts))
    assert (band.low[-1], band.high[-1]) == (pytest.approx(0.025), pytest.approx(0.975))
    assert GRID[50] == 0.5
    # At specificity 1/2 the curve has no step: the same.
    assert (band.low[50], band.high[50]) == (pytest.approx(0.025), pytest.approx(0.975))


def test_the_band_holds_the_curve() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(200) % 2 == 0
    scores = rng.normal(size=200) + positive
    counts = rng.multinomial(200, np.full(200, 1 / 200), size=400).astype(float)
    whole = curve(scores, positive, np.ones((1, 200)))
    band = with_band(whole, curve(scores, positive, counts))
    own = whole.band()[:, 0]
    assert (band.low <= own).all()
    assert (own <= band.high).all()
    assert 0.05 < (band.high - band.low).mean() < 0.3
    single = with_band(whole, curve(scores, positive, counts[:1]))
    assert np.isnan(single.low).all(), "one resampling is no interval"
