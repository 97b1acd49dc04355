"""Does the file on the device decide as the trained network did? Picture by picture, on held-out pictures."""

from dataclasses import dataclass

import numpy as np

from device.bundle import Variant
from train.recipe import ConvertRecipe


@dataclass(frozen=True)
class Parity:
    """One variant against the PyTorch student. differences: of logits, absolute. flips: (picture, was, became)."""

    pictures: int
    max_difference: float
    mean_difference: float
    agreement: float
    flips: tuple[tuple[str, str, str], ...]

    def figures(self) -> dict[str, float]:
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
    return Parity(len(names), float(difference.max()), float(difference.mean()), float((was == became).mean()), flips)


def gate(variant: Variant, parity: Parity, recipe: ConvertRecipe) -> list[str]:
    """Why this variant must not ship, one sentence each; empty when it may."""
    floating = variant in ("float32", "float16")
    wanted = recipe.float_agreement if floating else recipe.int8_agreement
    reasons = []
    if not np.isfinite(parity.max_difference):
        reasons.append(f"{variant} gives logits that are no finite numbers.")
    if parity.agreement < wanted:
        flipped = ", ".join(name for name, _, _ in parity.flips[:3])
        reasons.append(
            f"{variant} agrees with PyTorch on {100 * parity.agreement:.1f} % of {parity.pictures} held-out pictures, "
            f"the gate is {100 * wanted:.1f} % (first flips: {flipped})."
        )
    if variant == "float32" and parity.max_difference > recipe.float32_logit_difference:
        reasons.append(
            f"float32 differs from PyTorch by up to {parity.max_difference:.3g} in a logit, "
            f"the gate is {recipe.float32_logit_difference:g}."
        )
    return reasons
