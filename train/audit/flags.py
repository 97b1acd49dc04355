"""What is unusual about a picture, by rule: several masks, size, colour, calipers, text, axilla."""

from collections.abc import Sequence

import numpy as np

from train.audit.look import Look
from train.audit.text import says_axilla
from train.data.busi import Picture

FLAGS = ("several_masks", "unusual_size", "colour", "colour_box", "calipers", "text", "axilla")


def flag_all(pictures: Sequence[Picture], looks: Sequence[Look], size_z: float) -> list[dict[str, bool | None]]:
    """The FLAGS of each picture; text and axilla are None when text was not read."""
    unusual = unusual_sizes([(one.height, one.width) for one in looks], size_z)
    return [
        {
            "several_masks": len(picture.masks) > 1,
            "unusual_size": bool(odd),
            "colour": one.colour,
            "colour_box": one.colour_box,
            "calipers": one.calipers > 0,
            "text": None if one.text is None else bool(one.text),
            "axilla": None if one.text is None else any(says_axilla(line) for line in one.text),
        }
        for picture, one, odd in zip(pictures, looks, unusual)
    ]


def unusual_sizes(sizes: Sequence[tuple[int, int]], limit: float) -> np.ndarray:
    """Whether the area or the aspect of each (height, width) is an outlier: (N,) bool.

    The modified z-score 0.6745 |x - median| / MAD of the logarithm is above `limit` (B. Iglewicz and D. Hoaglin, "How
    to Detect and Handle Outliers", 1993, who give 3.5; sizes of cut-out pictures have heavy tails, so the audit takes
    5). Where half of all pictures have one size, MAD is 0: then every other
    size is an outlier.
    """
    height, width = np.log(np.array(sizes, float).reshape(-1, 2)).T
    odd = np.zeros(len(height), bool)
    for value in (height + width, width - height):
        away = np.abs(value - np.median(value)) if len(value) else value
        spread = float(np.median(away)) if len(value) else 0.0
        odd |= away > 1e-9 if spread < 1e-9 else 0.6745 * away / spread > limit
    return odd
