"""Scores of one outline: by hand, against scikit-learn and scipy, and what is unknown."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure
from scipy.ndimage import label as pieces_of
from sklearn import metrics

from train.segmentation.lesions import Lesions, count_lesions
from train.segmentation.scores import Score, score

MASKS = hnp.arrays(bool, (12, 15), elements=st.booleans())


def _box(top: int, bottom: int, left: int, right: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_two_boxes_by_hand() -> None:
    # Truth 10 x 10, prediction the same moved right by 5: 50 shared, 150 together, 600 pixels in all.
    found = score(_box(5, 15, 10, 20), _box(5, 15, 5, 15))
    assert found == Score(
        dice=pytest.approx(0.5),
        iou=pytest.approx(1 / 3),
        precision=pytest.approx(0.5),
        recall=pytest.approx(0.5),
        accuracy=pytest.approx(1 - 100 / 600),
        hd95=pytest.approx(5.0),
        truth_area=pytest.approx(100 / 600),
        area=pytest.approx(100 / 600),
        false_area=pytest.approx(50 / 600),
        lesions=1,
        found=0,  # IoU 1/3
        false_pieces=0,  # it touches the lesion
    )


def test_the_very_truth_is_perfect() -> None:
    found = score(_box(2, 9, 3, 9), _box(2, 9, 3, 9))
    assert (found.dice, found.iou, found.precision, found.recall, found.accuracy, found.hd95) == (1, 1, 1, 1, 1, 0)
    assert (found.lesions, found.found, found.false_pieces, found.false_area) == (1, 1, 0, 0)


_EMPTY, _SOME = np.zeros((20, 30), bool), _box(5, 15, 5, 15)
_NOTHING = Score(None, None, None, None, 1.0, None, 0.0, 0.0, 0.0, 0, 0, 0)
_AREA = pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("predicted", "truth", "wanted"),
    [
        (_EMPTY, _EMPTY, _NOTHING),
        # Missed: zero is what is known; how precise nothing is, is not.
        (
            _EMPTY,
            _SOME,
            replace(
                _NOTHING, dice=0.0, iou=0.0, recall=0.0, accuracy=pytest.approx(5 / 6), truth_area=_AREA, lesions=1
            ),
        ),
        # A false alarm on a normal picture says nothing about lesions.
        (
            _SOME,
            _EMPTY,
            replace(
                _NOTHING, precision=0.0, accuracy=pytest.approx(5 / 6), area=_AREA, false_area=_AREA, false_pieces=1
            ),
        ),
    ],
)
def test_what_is_empty_is_unknown_and_not_zero(predicted: np.ndarray, truth: np.ndarray, wanted: Score) -> None:
    assert score(predicted, truth) == wanted


@settings(deadline=None, max_examples=60)
@given(MASKS, MASKS)
def test_the_same_as_scikit_learn(predicted: np.ndarray, truth: np.ndarray) -> None:
    found, true, said = score(predicted, truth), truth.ravel(), predicted.ravel()
    assert found.accuracy == pytest.approx(metrics.accuracy_score(true, said))
    if truth.any():
        assert found.dice == pytest.approx(metrics.f1_score(true, said, zero_division=0))
        assert found.iou == pytest.approx(metrics.jaccard_score(true, said, zero_division=0))
        assert found.recall == pytest.approx(metrics.recall_score(true, said))
    if predicted.any():
        assert found.precision == pytest.approx(metrics.precision_score(true, said))


def _hd95(one: np.ndarray, other: np.ndarray) -> float:
    """From edge to edge, both ways, the greater of the two 95th percentiles (scipy alone)."""
    cross = generate_binary_structure(2, 1)
    edges = [mask & ~binary_erosion(mask, cross) for mask in (one, other)]
    away = [distance_transform_edt(~edge) for edge in edges]
    return max(np.percentile(away[1][edges[0]], 95), np.percentile(away[0][edges[1]], 95))


@settings(deadline=None, max_examples=60)
@given(MASKS, MASKS)
def test_the_hausdorff_distance_is_that_of_the_edges(predicted: np.ndarray, truth: np.ndarray) -> None:
    if predicted.any() and truth.any():
        assert score(predicted, truth).hd95 == pytest.approx(_hd95(predicted, truth), abs=1e-4)


def test_the_hausdorff_distance_is_the_95th_percentile_not_the_greatest() -> None:
    truth = _box(10, 50, 10, 50, (60, 80))
    predicted = truth.copy()
    predicted[30, 50:70] = True  # a hair of 20 pixels is a small share of the edge
    found = score(predicted, truth).hd95
    assert found == pytest.approx(_hd95(predicted, truth))
    assert found < 20


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (np.zeros((3, 4), bool), np.zeros((4, 3), bool)),
        (np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool)),
        (np.zeros((0, 4), bool), np.zeros((0, 4), bool)),
    ],
)
def test_what_is_no_outline_is_refused(predicted: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="outline"):
        score(predicted, truth)


def test_two_lesions_one_found_and_one_false_piece() -> None:
    truth = _box(2, 8, 2, 8) | _box(12, 18, 2, 8)
    predicted = _box(2, 8, 2, 7) | _box(2, 8, 20, 26)  # IoU 30 / 36 with the first, none with the second
    assert count_lesions(predicted, truth) == Lesions(lesions=2, found=1, false=1)


def test_one_piece_over_two_lesions_finds_neither() -> None:
    truth = _box(2, 8, 2, 8) | _box(10, 16, 2, 8)
    assert count_lesions(_box(2, 16, 2, 8), truth) == Lesions(lesions=2, found=0, false=0)


def test_half_the_union_is_just_found() -> None:
    assert count_lesions(_box(0, 10, 0, 5), _box(0, 10, 0, 10)).found == 1
    assert count_lesions(_box(0, 10, 0, 4), _box(0, 10, 0, 10)).found == 0


@settings(deadline=None, max_examples=100)
@given(MASKS, MASKS)
def test_lesions_one_by_one(predicted: np.ndarray, truth: np.ndarray) -> None:
    lesions, many = pieces_of(truth, np.ones((3, 3)))
    pieces, others = pieces_of(predicted, np.ones((3, 3)))
    found = 0
    for one in range(1, many + 1):
        lesion = lesions == one
        ious = [(lesion & (pieces == k)).sum() / (lesion | (pieces == k)).sum() for k in range(1, others + 1)]
        found += max(ious, default=0) >= 0.5
    false = sum(not (truth & (pieces == k)).any() for k in range(1, others + 1))
    assert count_lesions(predicted, truth) == Lesions(many, found, false)
    assert not math.isnan(found)
