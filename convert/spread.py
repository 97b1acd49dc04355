"""A few of many, from all over a list that is in the order of the classes."""

import numpy as np


def spread(count: int, wanted: int) -> np.ndarray:
    """The places of `wanted` of `count` items, or of all, evenly from the first to the last."""
    return np.linspace(0, count - 1, min(wanted, count)).round().astype(int)
