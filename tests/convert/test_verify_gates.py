"""Each gate holds at its limit, refuses beyond it, and says what failed by how much."""

import pytest

from convert.verify.gates import calibration_reason, loss_reasons, parity_reasons
from convert.verify.parity import Flip, Parity
from device.bundle import VARIANTS, Estimate
from train.recipe import ConvertRecipe

RECIPE = ConvertRecipe(
    float_agreement=0.995,
    int8_agreement=0.98,
    float32_logit_difference=0.01,
    accuracy_loss=0.005,
    auc_loss=0.005,
    flip_margin=0.2,
    hard_flip_margin=0.2,
    calibration_agreement=0.97,
)
SAME = Parity(200, 0.0, 0.0, 1.0, ())
EVERY = ("onnx", "onnx-int8", *VARIANTS)
FLOATS, INT8 = ("onnx", "onnx-int8", "float32", "float16"), ("int8-dynamic", "int8-full")


def flipped(count: int, of: int = 1000) -> Parity:
    """So many normal pictures called benign."""
    flips = tuple(Flip(f"normal ({n}).png", "normal", "benign", 0.9) for n in range(1, count + 1))
    return Parity(of, 0.0, 0.0, (of - count) / of, flips)


@pytest.mark.parametrize("variant", EVERY)
def test_equal_outputs_pass_every_gate(variant: str) -> None:
    assert parity_reasons(variant, SAME, SAME, RECIPE) == []


@pytest.mark.parametrize(
    ("variants", "allowed", "said"),
    [
        (FLOATS, 5, "agrees with PyTorch on 99.4 % of 1000 held-out pictures, the gate is 99.5 %"),
        (INT8, 20, "agrees with PyTorch on 97.9 % of 1000 held-out pictures, the gate is 98.0 %"),
    ],
)
def test_agreement(variants: tuple[str, ...], allowed: int, said: str) -> None:
    for variant in variants:
        assert parity_reasons(variant, flipped(allowed), SAME, RECIPE) == []
        first = "(first flips: normal (1).png, normal (2).png, normal (3).png)"
        assert parity_reasons(variant, flipped(allowed + 1), SAME, RECIPE) == [f"{variant} {said} {first}."]


def test_agreement_on_hard_frames_is_no_gate() -> None:
    assert parity_reasons("int8-full", SAME, flipped(9, 18), RECIPE) == []


@pytest.mark.parametrize("variant", EVERY)
@pytest.mark.parametrize(("on_hard", "where"), [(False, "held-out pictures"), (True, "hard frames")])
def test_largest_logit_difference(variant: str, on_hard: bool, where: str) -> None:
    def reasons(difference: float) -> list[str]:
        found = Parity(200, difference, 0.001, 1.0, ())
        return parity_reasons(variant, *((SAME, found) if on_hard else (found, SAME)), RECIPE)

    assert reasons(0.01) == []
    exact = variant in ("onnx", "onnx-int8", "float32")
    said = f"{variant} differs from PyTorch by up to 0.0101 in a logit on {where}, the gate is 0.01."
    assert reasons(0.0101) == ([said] if exact else [])


@pytest.mark.parametrize("variant", EVERY)
@pytest.mark.parametrize(("on_hard", "where"), [(False, "held-out pictures"), (True, "hard frames")])
def test_a_value_that_is_no_number(variant: str, on_hard: bool, where: str) -> None:
    found = Parity(200, None, None, 1.0, ())
    said = parity_reasons(variant, *((SAME, found) if on_hard else (found, SAME)), RECIPE)
    assert said == [f"{variant} gives logits that are no finite numbers on {where}."]


@pytest.mark.parametrize("variant", EVERY)
@pytest.mark.parametrize("on_hard", [False, True])
def test_a_sure_answer_between_benign_and_malignant(variant: str, on_hard: bool) -> None:
    where = "hard frames" if on_hard else "held-out pictures"

    def reasons(was: str, became: str, margin: float) -> list[str]:
        found = Parity(1000, 0.0, 0.0, 0.999, (Flip("x.png", was, became, margin),))
        return parity_reasons(variant, *((SAME, found) if on_hard else (found, SAME)), RECIPE)

    assert reasons("benign", "malignant", 0.2) == reasons("malignant", "normal", 0.9) == []
    for was, became in (("benign", "malignant"), ("malignant", "benign")):
        assert reasons(was, became, 0.21) == [
            f"{variant} calls x.png {became}, where PyTorch says {was} with a margin of 0.21; the gate on {where} is "
            "0.2."
        ]


def test_losses() -> None:
    def reasons(accuracy: float | None, auc: float | None) -> list[str]:
        found = {"accuracy": Estimate(accuracy), "auc_benign_malignant": Estimate(auc)}
        return loss_reasons("int8-full", found, RECIPE)

    assert reasons(-0.005, -0.005) == reasons(0.3, 0.3) == reasons(None, None) == []
    assert reasons(-0.0051, 0.0) == [
        "int8-full loses 0.51 points of accuracy on the held-out pictures, the gate is 0.5."
    ]
    assert reasons(0.0, -0.0125) == [
        "int8-full loses 1.25 points of AUC benign vs malignant on the held-out pictures, the gate is 0.5."
    ]
    assert len(reasons(-1.0, -1.0)) == 2


def test_a_second_calibration() -> None:
    assert calibration_reason(flipped(3, 100), 200, RECIPE) is None
    assert calibration_reason(flipped(4, 100), 200, RECIPE) == (
        "200 calibration pictures are too few: a second draw changes the answer to 4.0 % of 100 held-out pictures, the "
        "gate is 3.0 %; ask for more with convert.calibration_pictures."
    )
