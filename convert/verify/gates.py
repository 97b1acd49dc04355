"""Why a file must not ship, one sentence each."""

from convert.verify.masks import MaskParity
from convert.verify.parity import Parity
from device.bundle import Estimate
from train.recipe import ConvertRecipe

FLOATS = ("onnx", "onnx-int8", "float32", "float16")
EXACT = ("onnx", "onnx-int8", "float32")  # nothing was rounded on purpose


def parity_reasons(variant: str, parity: Parity, hard: Parity, recipe: ConvertRecipe) -> list[str]:
    """parity: on the held-out pictures; hard: on the frames of convert/verify/hard_frames.py."""
    wanted = recipe.float_agreement if variant in FLOATS else recipe.int8_agreement
    reasons = []
    for found, where, margin in (
        (parity, "held-out pictures", recipe.flip_margin),
        (hard, "hard frames", recipe.hard_flip_margin),
    ):
        if found.max_difference is None:
            reasons.append(f"{variant} gives logits that are no finite numbers on {where}.")
        elif variant in EXACT and found.max_difference > recipe.float32_logit_difference:
            reasons.append(
                f"{variant} differs from PyTorch by up to {found.max_difference:.3g} in a logit on {where}, the gate "
                f"is {recipe.float32_logit_difference:g}."
            )
        flip = found.worst_lesion_flip()
        if flip is not None and flip.margin > margin:
            reasons.append(
                f"{variant} calls {flip.picture} {flip.became}, where PyTorch says {flip.was} with a margin of "
                f"{flip.margin:.2f}; the gate on {where} is {margin:g}."
            )
    if parity.agreement < wanted:
        flipped = ", ".join(flip.picture for flip in parity.flips[:3])
        reasons.append(
            f"{variant} agrees with PyTorch on {100 * parity.agreement:.1f} % of {parity.pictures} held-out pictures, "
            f"the gate is {100 * wanted:.1f} % (first flips: {flipped})."
        )
    return reasons


def loss_reasons(variant: str, differences: dict[str, Estimate], recipe: ConvertRecipe) -> list[str]:
    """differences: accuracy and AUC of the file minus PyTorch's, over all held-out pictures."""
    reasons = []
    for name, said, gate in (
        ("accuracy", "accuracy", recipe.accuracy_loss),
        ("auc_benign_malignant", "AUC benign vs malignant", recipe.auc_loss),
    ):
        found = differences[name].value
        if found is not None and -found > gate + 1e-12:
            reasons.append(
                f"{variant} loses {-100 * found:.2f} points of {said} on the held-out pictures, the gate is "
                f"{100 * gate:g}."
            )
    return reasons


def mask_reasons(variant: str, parity: MaskParity, recipe: ConvertRecipe) -> list[str]:
    """parity: of the file's masks with PyTorch's, on the held-out pictures."""
    found, gate = parity.dice.value, recipe.mask_float_dice if variant in FLOATS else recipe.mask_dice
    if found is None:
        return [f"{variant} gives masks that are no finite numbers on held-out pictures."]
    if found >= gate:
        return []
    worst = ", ".join(row.picture for row in parity.worst[:3])
    return [
        f"{variant} has masks with a mean Dice of {100 * found:.1f} % with PyTorch's on {parity.pictures} held-out "
        f"pictures, the gate is {100 * gate:.1f} % (the worst: {worst})."
    ]


def calibration_reason(again: Parity, pictures: int, recipe: ConvertRecipe) -> str | None:
    """again: int8-full made with a second, disjoint draw of calibration pictures, against the first."""
    if again.agreement >= recipe.calibration_agreement:
        return None
    return (
        f"{pictures} calibration pictures are too few: a second draw changes the answer to "
        f"{100 * (1 - again.agreement):.1f} % of {again.pictures} held-out pictures, the gate is "
        f"{100 * (1 - recipe.calibration_agreement):.1f} %; ask for more with convert.calibration_pictures."
    )
