"""95 % intervals from a bootstrap over groups: pictures of one lesion, and near-copies, are not independent."""

from collections.abc import Sequence

import numpy as np

from device.bundle import Estimate


def resampled(groups: np.ndarray, repeats: int, seed: int) -> list[np.ndarray]:
    """`repeats` index arrays, each all pictures of as many groups as there are, drawn with replacement."""
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(seed)
    return [np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))]) for _ in range(repeats)]


def drawn_counts(groups: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """(repeats, N): how often each picture is drawn in each resampling of `resampled`.

    Metrics take these counts as weights, so that all resamplings of one metric are a few matrix operations.
    """
    drawn = resampled(groups, repeats, seed)
    return np.stack([np.bincount(index, minlength=len(groups)) for index in drawn]).astype(np.float64)


def drawn_groups(count: int, repeats: int, seed: int) -> np.ndarray:
    """(repeats, count): how often each of `count` groups is drawn, with replacement, as many as there are each time.

    For intervals over several trainings: their test parts hold different pictures, but the groups are drawn once.
    """
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), repeats)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element; NaN, which stands for unknown, where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def share(event: np.ndarray, among: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share 0..1 of the pictures `among` (N,) bool with `event` (N,) bool, per row of counts (R, N): (R,)."""
    return ratio(counts @ (event & among), counts @ among.astype(np.float64))


def with_interval(value: float | None, resampled_values: Sequence[float | None] | np.ndarray) -> Estimate:
    """A value and the 2.5 and 97.5 percentiles of its resampled values; None and NaN are unknown and left out.

    Percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = np.array(resampled_values, np.float64)  # None becomes NaN
    known = values[~np.isnan(values)]
    if value is None or np.isnan(value):
        return Estimate(None)
    if len(known) < 2:
        return Estimate(float(value))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def percent(estimate: Estimate) -> str:
    """`91.2 [86.0, 95.5]` in percent, or `unknown`."""
    return _text(estimate, 100, 1)


def signed(estimate: Estimate) -> str:
    """`+1.2 [-0.3, +2.6]`, a difference in percentage points, or `unknown`."""
    return _text(estimate, 100, 1, "+")


def number(estimate: Estimate) -> str:
    """`0.412 [0.330, 0.497]`, or `unknown`."""
    return _text(estimate, 1, 3)


def _text(estimate: Estimate, scale: int, digits: int, sign: str = "") -> str:
    if estimate.value is None:
        return "unknown"
    value = f"{scale * estimate.value:{sign}.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{scale * estimate.low:{sign}.{digits}f}, {scale * estimate.high:{sign}.{digits}f}]"
