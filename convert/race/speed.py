"""Times of interleaved rounds -> medians, and how many times as fast, with an interval.

`of_round` is what a round comes to: the median of its runs where all runs are alike, their mean where some take longer
on purpose, as a frame does whose quality is looked at.
"""

from collections.abc import Callable

import numpy as np

from device.bundle import Estimate
from train.evaluation.intervals import with_interval

DRAWS = 2000
OfRound = Callable[..., np.ndarray]  # np.median or np.mean


def median_of_rounds(rounds: np.ndarray, of_round: OfRound = np.median) -> float:
    """(rounds, runs) seconds -> the median over the rounds: one disturbed round does not move it."""
    return float(np.median(of_round(rounds, axis=1)))


def speedup(base: np.ndarray, other: np.ndarray, seed: int = 0, of_round: OfRound = np.median) -> Estimate:
    """How many times as fast `other` is as `base`, both (rounds, runs) seconds of the same rounds.

    The ratio of their medians of rounds, with the 95 % interval of a bootstrap over rounds, which are drawn for both
    alike: what slowed a round slowed both.
    """
    first, second = of_round(base, axis=1), of_round(other, axis=1)
    drawn = np.random.default_rng(seed).integers(0, len(first), (DRAWS, len(first)))
    ratios = np.median(first[drawn], axis=1) / np.median(second[drawn], axis=1)
    return with_interval(float(np.median(first) / np.median(second)), ratios)
