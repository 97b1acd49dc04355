"""One file, held against the PyTorch student in every way that the gates ask about."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convert.verify import gates
from convert.verify.held_out import HeldOut, differences
from convert.verify.masks import MaskParity
from convert.verify.parity import Parity, compare
from device.bundle import Estimate
from train.data.busi import CLASSES
from train.evaluation.metrics import measure
from train.recipe import ConvertRecipe

Answer = Callable[[np.ndarray], np.ndarray]  # (N, H, W) uint8 luma -> (N, K) logits


@dataclass(frozen=True)
class Hard:
    """The hard frames with the PyTorch student's logits on them."""

    names: list[str]
    lumas: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class Result:
    """One row of the report.

    parity: on the held-out pictures; hard: on the hard frames. metrics: of the test part. differences: accuracy and
    AUC minus PyTorch's, on all held-out pictures. verdict_agreement: share 0..1 of held-out pictures with the same
    verdict at the operating point, abstention included; None where there is no verdict. reasons: why it must not ship.
    masks: of a TFLite file with a mask output, None of others.
    """

    variant: str
    bytes: int
    parity: Parity
    hard: Parity
    metrics: dict[str, Estimate]
    differences: dict[str, Estimate]
    verdict_agreement: float | None
    reasons: list[str]
    masks: MaskParity | None = None

    def figures(self) -> dict[str, float | None]:
        """What of it travels in the bundle."""
        return {
            "pictures": float(self.parity.pictures),
            "max_logit_difference": self.parity.max_difference,
            "mean_logit_difference": self.parity.mean_difference,
            "top1_agreement": self.parity.agreement,
            "verdict_agreement": self.verdict_agreement,
            "hard_frames": float(self.hard.pictures),
            "hard_max_logit_difference": self.hard.max_difference,
            "hard_top1_agreement": self.hard.agreement,
            **{f"{name}_difference": found.value for name, found in self.differences.items()},
        }


def examine(
    variant: str, size: int, answer: Answer, held_out: HeldOut, hard: Hard, temperature: float, recipe: ConvertRecipe
) -> tuple[Result, np.ndarray]:
    """(the row of a file of `size` bytes, its logits on the held-out pictures).

    temperature: of the PyTorch student's probabilities, for the margins. ONNX files are compared alone; what could ship
    is measured, too, unless some logit is no finite number.
    """
    logits = answer(held_out.lumas)
    parity = compare(held_out.reference, logits, held_out.names, CLASSES, temperature)
    frames = compare(hard.reference, answer(hard.lumas), hard.names, CLASSES, temperature)
    reasons = gates.parity_reasons(variant, parity, frames, recipe)
    metrics, lost = {}, {}
    if not variant.startswith("onnx") and parity.max_difference is not None:
        test = held_out.test
        metrics = measure(logits[test], held_out.targets[test], held_out.groups[test])
        lost = differences(logits, held_out)
        reasons += gates.loss_reasons(variant, lost, recipe)
    return Result(variant, size, parity, frames, metrics, lost, None, reasons), logits
