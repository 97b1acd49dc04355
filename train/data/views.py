"""Numbered views of a picture: what a teacher saw when it answered, and what the student sees beside that answer."""

import zlib

import numpy as np

from train.augment import augmented
from train.recipe import Augment


def view_of(
    luma: np.ndarray, mask: np.ndarray | None, augment: Augment, seed: int, name: str, number: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """View `number` of a prepared picture: (H, W) uint8 luma and (H, W) bool mask or None, both as they come out.

    View 0 is the picture itself. The others depend on (seed, name, number) and the recipe alone, not on the picture's
    place in a split, so that a cached answer belongs to the same pixels in every training.
    """
    if number == 0:
        return luma, mask
    return augmented(luma, mask, augment, np.random.default_rng([seed, zlib.crc32(name.encode()), number]))
