"""Pictures with their lesions' outlines, as a segmentation training takes them."""

from dataclasses import dataclass

import numpy as np

from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import Picture, load_lumas
from train.data.extra import load_masks
from train.data.torch_data import Answers, LumaSet, targets_of
from train.segmentation.recipe import SegRecipe


@dataclass(frozen=True)
class Outlined:
    """N pictures at the recipe's size: lumas (N, H, W) uint8, targets (N,) class numbers, masks (N, H, W) bool.

    A picture whose outline nobody drew is not among them; a normal one is, with an empty mask.
    """

    pictures: tuple[Picture, ...]
    lumas: np.ndarray
    targets: np.ndarray
    masks: np.ndarray


def outlined(pictures: tuple[Picture, ...], train_on: tuple[str, ...], preprocess: Preprocess, part: str) -> Outlined:
    """Those of `pictures` that belong to the classes `train_on` and whose outline is known.

    part: of the split, for the sentence. Raises UserError when none is left, or as load_lumas and load_masks do.
    """
    chosen = tuple(p for p in pictures if p.label in train_on and (p.masks or p.label == "normal"))
    if not chosen:
        raise UserError(f"the {part} part has no outlined picture of {', '.join(train_on)}; give data with masks.")
    masks, _ = load_masks(chosen, preprocess)
    return Outlined(chosen, load_lumas(chosen, preprocess), targets_of(chosen), masks)


def training_set(shown: Outlined, recipe: SegRecipe, answers: Answers | None = None) -> LumaSet:
    """What the network sees: pictures and masks are augmented together, geometry on both, echoes on the picture."""
    known = _learnt(shown, recipe)
    return LumaSet(shown.lumas, shown.targets, recipe.augment, recipe.seed, shown.masks, known, answers)


def validation_set(shown: Outlined, recipe: SegRecipe) -> LumaSet:
    """The pictures as they are."""
    return LumaSet(shown.lumas, shown.targets, masks=shown.masks, masks_known=_learnt(shown, recipe))


def _learnt(shown: Outlined, recipe: SegRecipe) -> np.ndarray:
    """(N,) bool: whose outline is learnt."""
    return np.array([picture.label in recipe.outlined for picture in shown.pictures], bool)
