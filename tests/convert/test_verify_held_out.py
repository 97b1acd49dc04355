"""Differences are those of two separate measurements; limits are those of the calibration on the validation part."""

import numpy as np
import pytest

from convert.verify.held_out import HeldOut, differences, limits
from device.bundle import Abstain, OperatingPoint
from train.calibrate import abstain_limit, fit_temperature, operating_point
from train.evaluation.intervals import resampled
from train.evaluation.metrics import accuracy, auc_benign_malignant, measure
from train.recipe import ConvertRecipe
from train.studies.operating_file import Derived

_DRAWN = np.random.default_rng(0)
TARGETS = np.arange(90) % 3
REFERENCE = _DRAWN.normal(0, 1, (90, 3)) + 1.5 * np.eye(3)[TARGETS]
FOUND = REFERENCE + _DRAWN.normal(0, 0.6, (90, 3))
GROUPS = np.arange(90) // 2
HELD_OUT = HeldOut(
    [f"{n}.png" for n in range(90)], np.zeros((90, 16, 16), np.uint8), TARGETS, GROUPS, REFERENCE, val=40
)


def test_differences_are_those_of_two_measurements() -> None:
    found = differences(FOUND, HELD_OUT)
    one, other = (measure(logits, TARGETS, GROUPS) for logits in (REFERENCE, FOUND))
    assert list(found) == ["accuracy", "auc_benign_malignant"]
    for name, difference in found.items():
        assert difference.value == pytest.approx(other[name].value - one[name].value)
        assert difference.value != 0


def test_intervals_are_of_differences_in_the_same_resamplings() -> None:
    found = differences(FOUND, HELD_OUT, repeats=200, seed=3)
    for name, metric in (("accuracy", accuracy), ("auc_benign_malignant", auc_benign_malignant)):
        drawn = [metric(FOUND[i], TARGETS[i]) - metric(REFERENCE[i], TARGETS[i]) for i in resampled(GROUPS, 200, 3)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        assert (found[name].low, found[name].high) == pytest.approx((low, high))


def test_the_same_answers_differ_by_nothing_in_every_resampling() -> None:
    for found in differences(REFERENCE.copy(), HELD_OUT).values():
        assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_test_part_is_what_follows_the_validation_part() -> None:
    assert len(HELD_OUT.names[HELD_OUT.test]) == 50
    assert HELD_OUT.names[HELD_OUT.test][0] == "40.png"


def test_limits_come_from_the_validation_part_alone() -> None:
    recipe = ConvertRecipe(target_sensitivity=0.8, coverage=0.7)
    found = limits(FOUND, HELD_OUT, recipe, None)
    val, targets = FOUND[:40], TARGETS[:40]
    where = "validation part (40 pictures), outputs of this file"
    temperature = fit_temperature(val, targets)
    assert found.temperature == temperature
    assert found.point == operating_point(val, targets, temperature, 0.8, where)
    assert found.abstain == abstain_limit(val, temperature, 0.7, where)
    spoilt = FOUND.copy()
    spoilt[40:] = 0
    assert limits(spoilt, HELD_OUT, recipe, None) == found
    assert limits(REFERENCE, HELD_OUT, recipe, None) != found


def test_derived_limits_replace_all_but_the_temperature() -> None:
    derived = Derived(OperatingPoint(0.123, 0.95, 0.96, 0.7, "elsewhere"), Abstain(0.456, 0.9, "elsewhere"))
    found = limits(FOUND, HELD_OUT, ConvertRecipe(), derived)
    assert (found.point, found.abstain) == (derived.point, derived.abstain)
    assert found.temperature == fit_temperature(FOUND[:40], TARGETS[:40])
