"""Parity figures against values worked out by hand."""

import numpy as np
import pytest

from convert.verify.parity import Flip, Parity, compare

CLASSES = ("benign", "malignant", "normal")
REFERENCE = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0], [0.5, 0.4, 0.0]])


def test_figures_by_hand() -> None:
    found = REFERENCE.copy()
    found[1, 0] += 0.3  # no flip
    found[3, 1] += 0.3  # 0.5 against 0.7: benign becomes malignant
    parity = compare(REFERENCE, found, ["a.png", "b.png", "c.png", "d.png"], CLASSES)
    assert parity.pictures == 4
    assert parity.max_difference == pytest.approx(0.3)
    assert parity.mean_difference == pytest.approx(0.6 / 12)
    assert parity.agreement == 0.75
    (flip,) = parity.flips
    assert (flip.picture, flip.was, flip.became) == ("d.png", "benign", "malignant")
    # e^0.5 = 1.648721, e^0.4 = 1.491825, e^0 = 1: (1.648721 - 1.491825) / 4.140546
    assert flip.margin == pytest.approx(0.0378927, abs=1e-6)


def test_the_margin_is_of_calibrated_probabilities() -> None:
    """Half the temperature, twice the logits: e^1 = 2.718282, e^0.8 = 2.225541, e^0 = 1."""
    found = REFERENCE.copy()
    found[3, 1] += 0.3
    (flip,) = compare(REFERENCE, found, list("abcd"), CLASSES, temperature=0.5).flips
    assert flip.margin == pytest.approx((2.718282 - 2.225541) / 5.943823, abs=1e-6)


def test_equal_logits_are_equal() -> None:
    assert compare(REFERENCE, REFERENCE, list("abcd"), CLASSES) == Parity(4, 0.0, 0.0, 1.0, ())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_makes_the_differences_unknown(value: float) -> None:
    found = REFERENCE.copy()
    found[0, 2] = value
    parity = compare(REFERENCE, found, list("abcd"), CLASSES)
    assert parity.max_difference is parity.mean_difference is None  # JSON knows no NaN


def test_the_worst_lesion_flip_is_the_surest_between_benign_and_malignant() -> None:
    flips = (
        Flip("a.png", "benign", "malignant", 0.1),
        Flip("b.png", "malignant", "benign", 0.3),
        Flip("c.png", "malignant", "normal", 0.9),
        Flip("d.png", "normal", "benign", 0.8),
        Flip("e.png", "benign", "malignant", 0.2),
    )
    assert Parity(9, 0.1, 0.1, 0.5, flips).worst_lesion_flip() is flips[1]
    assert Parity(9, 0.1, 0.1, 0.5, flips[2:4]).worst_lesion_flip() is None
    assert Parity(9, 0.1, 0.1, 1.0, ()).worst_lesion_flip() is None
