"""Means over pictures, their intervals by groups, and paired differences."""

import numpy as np
import pytest

from train.evaluation.intervals import resampled
from train.segmentation.figures import NAMES, difference, figures, measure
from train.segmentation.scores import Score

_LESION = Score(0.8, 0.7, 0.9, 0.75, 0.97, 4.0, 0.1, 0.08, 0.01, lesions=2, found=1, false_pieces=0)
_MISSED = Score(0.0, 0.0, None, 0.0, 0.9, None, 0.1, 0.0, 0.0, lesions=1, found=0, false_pieces=0)
_CLEAN = Score(None, None, None, None, 1.0, None, 0.0, 0.0, 0.0, lesions=0, found=0, false_pieces=0)
_ALARM = Score(None, None, 0.0, None, 0.96, None, 0.0, 0.04, 0.04, lesions=0, found=0, false_pieces=1)


def test_means_by_hand() -> None:
    found = figures([_LESION, _MISSED, _CLEAN, _ALARM], np.ones((1, 4)))
    wanted = {
        "dice": 0.4,
        "iou": 0.35,
        "precision": 0.9,  # of the missed lesion it is unknown; a normal picture's says nothing here
        "recall": 0.375,
        "accuracy": 0.935,
        "hd95": 4.0,
        "lesions_found": 1 / 3,
        "normals_clean": 0.5,
        "false_area_normals": 0.02,
    }
    assert {name: values[0] for name, values in found.items()} == pytest.approx(wanted)
    assert set(wanted) == set(NAMES)


def test_a_picture_drawn_twice_counts_twice() -> None:
    assert figures([_LESION, _MISSED], np.array([[2, 1]]))["dice"][0] == pytest.approx(1.6 / 3)


def test_without_normals_or_lesions_their_figures_are_unknown() -> None:
    groups = np.array(["a", "b"])
    lesions = measure([[_LESION, _MISSED]], groups, repeats=20)
    assert lesions["normals_clean"].value is None
    assert lesions["false_area_normals"].low is None
    normals = measure([[_CLEAN, _ALARM]], groups, repeats=20)
    assert normals["dice"].value is None
    assert normals["lesions_found"].value is None
    assert normals["false_area_normals"].value == pytest.approx(0.02)


def test_the_interval_is_that_of_whole_groups() -> None:
    rng = np.random.default_rng(3)
    scores = [Score(d, d, d, d, d, 1.0, 0.1, 0.1, 0.0, 1, 1, 0) for d in rng.random(30)]
    groups = np.array([f"g{i // 3}" for i in range(30)])
    dice = np.array([one.dice for one in scores])
    drawn = [dice[index].mean() for index in resampled(groups, 200, 7)]
    found = measure([scores], groups, repeats=200, seed=7)["dice"]
    assert found.value == pytest.approx(dice.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))


def test_several_seeds_are_averaged_and_not_counted_as_more_pictures() -> None:
    groups = np.array(["a", "b", "b"])
    one = measure([[_LESION, _MISSED, _LESION]], groups, repeats=50)
    twice = measure([[_LESION, _MISSED, _LESION]] * 2, groups, repeats=50)
    assert twice == one


def test_a_difference_is_taken_within_each_resampling() -> None:
    # The second is 0.1 better on every picture, however hard: there is no doubt about the difference.
    rng = np.random.default_rng(0)
    values = rng.random(20) * 0.9
    first, second = ([Score(d, d, d, d, d, 1.0, 0.1, 0.1, 0.0, 1, 1, 0) for d in values + plus] for plus in (0.0, 0.1))
    found = difference([first], [second], np.arange(20).astype(str), repeats=50)["dice"]
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
