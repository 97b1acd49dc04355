"""Does the file on the device decide as the trained network did? Picture by picture, on held-out pictures."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from device.bundle import Variant
from train.recipe import ConvertRecipe


@dataclass(frozen=True)
class Parity:
    """One variant against the PyTorch student. flips: (picture, was, became).

    Differences are of logits, absolute; None when some logit is no finite number.
    """

    pictures: int
    max_difference: float | None
    mean_difference: float | None
    agreement: float
    flips: tuple[tuple[str, str, str], ...]

    def figures(self) -> dict[str, float | None]:
        """What travels in the bundle."""
        return {
            "pictures": float(self.pictures),
            "max_logit_difference": self.max_difference,
            "mean_logit_difference": self.mean_difference,
            "top1_agreement": self.agreement,
        }


def compare(reference: np.ndarray, found: np.ndarray, names: list[str], classes: tuple[str, ...]) -> Parity:
    """Parity of `found` with `reference`, both (N, classes) logits; names: the N pictures."""
    difference = np.abs(found.astype(np.float64) - reference)
    was, became = reference.argmax(axis=1), found.argmax(axis=1)
    flips = tuple((names[i], classes[was[i]], classes[became[i]]) for i in np.flatnonzero(was != became))
    finite = bool(np.isfinite(difference).all())
    largest, mean = (float(difference.max()), float(difference.mean())) if finite else (None, None)
    return Parity(len(names), largest, mean, float((was == became).mean()), flips)


def gate(variant: Variant | Literal["onnx"], parity: Parity, recipe: ConvertRecipe) -> list[str]:
    """Why this variant must not ship, one sentence each; empty when it may."""
    floating = variant in ("onnx", "float32", "float16")
    wanted = recipe.float_agreement if floating else recipe.int8_agreement
    reasons = []
    if parity.max_difference is None:
        reasons.append(f"{variant} gives logits that are no finite numbers.")
    elif variant in ("onnx", "float32") and parity.max_difference > recipe.float32_logit_difference:
        reasons.append(
            f"{variant} differs from PyTorch by up to {parity.max_difference:.3g} in a logit, "
            f"the gate is {recipe.float32_logit_difference:g}."
        )
    if parity.agreement < wanted:
        flipped = ", ".join(name for name, _, _ in parity.flips[:3])
        reasons.append(
            f"{variant} agrees with PyTorch on {100 * parity.agreement:.1f} % of {parity.pictures} held-out pictures, "
            f"the gate is {100 * wanted:.1f} % (first flips: {flipped})."
        )
    return reasons
