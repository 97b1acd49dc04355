"""The pictures that no training saw, what the PyTorch student says of them, and how a file's answers differ."""

from dataclasses import dataclass

import numpy as np

from device.bundle import Abstain, Estimate, OperatingPoint
from train.calibrate import abstain_limit, fit_temperature, operating_point
from train.evaluation.intervals import drawn_counts, with_interval
from train.evaluation.metrics import figures
from train.recipe import ConvertRecipe
from train.studies.operating_file import Derived

COMPARED = ("accuracy", "auc_benign_malignant")


@dataclass(frozen=True)
class HeldOut:
    """Validation and test pictures with the PyTorch student's logits on them; validation first, `val` of them."""

    names: list[str]
    lumas: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    reference: np.ndarray
    val: int

    @property
    def test(self) -> slice:
        """The test part's place."""
        return slice(self.val, None)


@dataclass(frozen=True)
class Limits:
    """How logits become a verdict: temperature, malignant threshold, abstention."""

    temperature: float
    point: OperatingPoint
    abstain: Abstain


def limits(logits: np.ndarray, held_out: HeldOut, recipe: ConvertRecipe, derived: Derived | None) -> Limits:
    """The temperature of these very logits on the validation part, and, where none were derived out of fold, threshold
    and abstention limit from there too."""
    val, targets = logits[: held_out.val], held_out.targets[: held_out.val]
    temperature = fit_temperature(val, targets)
    if derived is None:
        where = f"validation part ({held_out.val} pictures), outputs of this file"
        point = operating_point(val, targets, temperature, recipe.target_sensitivity, where)
        derived = Derived(point, abstain_limit(val, temperature, recipe.coverage, where))
    return Limits(temperature, derived.point, derived.abstain)


def differences(found: np.ndarray, held_out: HeldOut, repeats: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Accuracy and AUC of `found` minus those of the PyTorch student, over all held-out pictures.

    Interval: both are computed in the same resamplings of groups, so that what is hard for both cancels out.
    """
    counts = drawn_counts(held_out.groups, repeats, seed)
    every = np.vstack([np.ones((1, len(held_out.names))), counts])
    one, other = (figures(logits, held_out.targets, every) for logits in (held_out.reference, found))
    return {name: with_interval(float(d[0]), d[1:]) for name in COMPARED for d in [other[name] - one[name]]}
