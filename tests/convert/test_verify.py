"""Parity figures and gates against values worked out by hand."""

import numpy as np
import pytest

from convert.verify import compare, gate
from train.recipe import ConvertRecipe

CLASSES = ("benign", "malignant", "normal")
REFERENCE = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0], [0.5, 0.4, 0.0]])


def test_figures_by_hand() -> None:
    found = REFERENCE.copy()
    found[1, 0] += 0.3  # no flip
    found[3, 1] += 0.3  # 0.5 against 0.7: benign becomes malignant
    parity = compare(REFERENCE, found, ["a.png", "b.png", "c.png", "d.png"], CLASSES)
    assert parity.max_difference == pytest.approx(0.3)
    assert parity.mean_difference == pytest.approx(0.6 / 12)
    assert parity.agreement == 0.75
    assert parity.flips == (("d.png", "benign", "malignant"),)
    assert parity.figures()["pictures"] == 4


def test_equal_outputs_pass_every_gate() -> None:
    parity = compare(REFERENCE, REFERENCE, list("abcd"), CLASSES)
    for variant in ("float32", "float16", "int8-dynamic", "int8-full"):
        assert gate(variant, parity, ConvertRecipe()) == []


@pytest.mark.parametrize(("variant", "refused"), [("float16", True), ("int8-full", False)])
def test_agreement_gate_is_stricter_for_floats(variant: str, refused: bool) -> None:
    found = np.tile(REFERENCE[:3], (10, 1))
    reference = found.copy()
    found[0] = [0.0, 9.0, 0.0]  # 29 of 30 agree: 96.7 %
    reasons = gate(variant, compare(reference, found, [f"{i}.png" for i in range(30)], CLASSES), ConvertRecipe())
    assert bool(reasons) == refused
    if refused:
        assert "96.7 %" in reasons[0]
        assert "0.png" in reasons[0]


def test_a_shift_that_flips_nothing_is_still_refused_in_float32() -> None:
    parity = compare(REFERENCE, REFERENCE + 0.02, list("abcd"), CLASSES)
    assert "0.02" in gate("float32", parity, ConvertRecipe())[0]
    assert gate("float16", parity, ConvertRecipe()) == []


def test_a_value_that_is_no_number_is_refused() -> None:
    found = REFERENCE.copy()
    found[0, 2] = np.nan
    parity = compare(REFERENCE, found, list("abcd"), CLASSES)
    assert parity.max_difference is parity.mean_difference is None  # JSON knows no NaN
    for variant in ("float32", "float16", "int8-dynamic", "int8-full"):
        assert any("finite" in reason for reason in gate(variant, parity, ConvertRecipe()))
