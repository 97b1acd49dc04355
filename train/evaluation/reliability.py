"""How far probabilities can be believed: expected calibration error, Brier score, reliability diagram's numbers."""

from dataclasses import dataclass

import numpy as np

from train.evaluation.intervals import ratio

BINS = 15  # as Guo et al. use


@dataclass(frozen=True)
class Reliability:
    """Per bin of equal width over 0..1: pictures (B,) int, their mean confidence and accuracy (B,), NaN when empty.

    low, high: (B,) 95 % interval of the accuracy from the resamplings, NaN where it could not be computed.
    """

    pictures: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _binned(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bin membership (N, BINS) 0 or 1, confidence (N,), and whether the likeliest class is the target (N,)."""
    confidence = probabilities.max(axis=1)
    inner_edges = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
    inside = np.searchsorted(inner_edges, confidence, side="left")  # a bin is (low, high], Guo et al., section 2
    return np.eye(BINS)[inside], confidence, probabilities.argmax(axis=1) == targets


def calibration_error(probabilities: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) expected calibration error of the likeliest class, 0..1; NaN without pictures.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3, 15 bins of equal width:
    sum over bins of (pictures in it / all) * |accuracy - mean confidence|. probabilities (N, K), targets (N,),
    counts (R, N). It is biased upwards when bins hold few pictures.
    """
    member, confidence, right = _binned(probabilities, targets)
    gaps = np.abs(counts @ (member * (right - confidence)[:, None]))
    return ratio(gaps.sum(axis=1), counts.sum(axis=1))


def brier(probabilities: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) Brier score 0..2, 0 is perfect: mean over pictures of sum over classes of (p - y)^2; NaN without pictures.

    Brier, Monthly Weather Review 1950;78:1-3, equation 2: all classes are summed, so a certain wrong answer costs 2.
    """
    wrong = ((probabilities - np.eye(probabilities.shape[1])[targets]) ** 2).sum(axis=1)
    return ratio(counts @ wrong, counts.sum(axis=1))


def reliability_bins(probabilities: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> Reliability:
    """The numbers of a reliability diagram (Guo et al., section 2) in the bins of `calibration_error`."""
    member, confidence, right = _binned(probabilities, targets)
    pictures = member.sum(axis=0)
    drawn = ratio(counts @ (member * right[:, None]), counts @ member)
    low, high = np.full(BINS, np.nan), np.full(BINS, np.nan)
    for b in range(BINS):
        known = drawn[~np.isnan(drawn[:, b]), b]
        if len(known) > 1:
            low[b], high[b] = np.percentile(known, [2.5, 97.5])
    accuracy, mean = ratio(right @ member, pictures), ratio(confidence @ member, pictures)
    return Reliability(pictures.astype(int), mean, accuracy, low, high)
