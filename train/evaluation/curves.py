"""ROC curves of weighted pictures: area, specificity at a wanted sensitivity, band. A picture at the threshold counts
as positive, and tied scores are passed in one step: no threshold can tell them apart.
"""

from dataclasses import dataclass

import numpy as np

from train.evaluation.intervals import ratio

GRID = np.linspace(0.0, 1.0, 101)  # specificities at which a band is computed


@dataclass(frozen=True)
class Curve:
    """True and false positives, (R, U + 1), at falling thresholds; column 0: nothing is positive yet.

    R rows of weights, U different scores. A last column holds all positives (0 or more) and all negatives of its row.
    """

    true: np.ndarray
    false: np.ndarray

    def area(self) -> np.ndarray:
        """(R,) area under the ROC curve 0..1, by the trapezoidal rule, so a tie counts half; NaN without both classes.

        Hanley and McNeil, Radiology 1982;143:29-36: it equals the probability that a positive outscores a negative.
        """
        positives, negatives = self.true[:, -1], self.false[:, -1]
        middle = (self.true[:, 1:] + self.true[:, :-1]) / 2
        return ratio((np.diff(self.false, axis=1) * middle).sum(axis=1), positives * negatives)

    def specificity_at(self, sensitivity: float) -> np.ndarray:
        """(R,) specificity 0..1 at the highest threshold that reaches the wanted sensitivity; NaN without both classes.

        Nothing is interpolated: it is a threshold that can be set.
        """
        positives, negatives = self.true[:, -1], self.false[:, -1]
        needed = np.ceil(sensitivity * positives - 1e-9)  # 0.55 * 100 is 55.00000000000001
        first = (self.true >= needed[:, None]).argmax(axis=1)
        false = self.false[np.arange(len(first)), first]
        return np.where(positives > 0, ratio(negatives - false, negatives), np.nan)

    def sensitivity_at(self, specificity: float) -> np.ndarray:
        """(R,) sensitivity 0..1 of the drawn curve at a specificity, its highest there; NaN without both classes.

        Between two thresholds the curve is a straight line, as in `area`.
        """
        positives, negatives = self.true[:, -1], self.false[:, -1]
        allowed = (1 - specificity) * negatives
        rows = np.arange(len(allowed))
        last = (self.false <= allowed[:, None] + 1e-9).sum(axis=1) - 1
        following = np.minimum(last + 1, self.false.shape[1] - 1)
        step = self.false[rows, following] - self.false[rows, last]
        part = np.divide(allowed - self.false[rows, last], step, out=np.zeros_like(allowed), where=step > 0).clip(0)
        true = self.true[rows, last] + part * (self.true[rows, following] - self.true[rows, last])
        return np.where(negatives > 0, ratio(true, positives), np.nan)

    def band(self) -> np.ndarray:
        """(G, R) sensitivity at each specificity of GRID, for percentiles point by point."""
        return np.stack([self.sensitivity_at(float(specificity)) for specificity in GRID])


def curve(score: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> Curve:
    """score (N,), positive (N,) bool, counts (R, N) how often each picture counts."""
    order = np.argsort(-score, kind="stable")
    if len(score) == 0:
        empty = np.zeros((len(counts), 1))
        return Curve(empty, empty)
    begins = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = counts[:, order]

    def passed(chosen: np.ndarray) -> np.ndarray:
        steps = np.add.reduceat(ordered * chosen[order], begins, axis=1)
        return np.concatenate([np.zeros((len(counts), 1)), np.cumsum(steps, axis=1)], axis=1)

    return Curve(passed(positive), passed(~positive))


@dataclass(frozen=True)
class Roc:
    """A drawn curve: specificity and sensitivity (U + 1,) at falling thresholds, and low and high (G,) sensitivity of
    the 95 % band at each specificity of GRID, NaN where it could not be computed. None of it without both classes.
    """

    specificity: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray


def with_band(whole: Curve, drawn: Curve) -> Roc | None:
    """The curve of all pictures (one row) with the pointwise percentile band of the resampled ones; None if undefined.

    At each specificity the 2.5 and 97.5 percentiles of the resamplings' sensitivities: it holds the curve at one chosen
    specificity in 95 %, not the whole curve at once (Fawcett, Pattern Recognition Letters 2006;27:861-874, section 8,
    vertical averaging).
    """
    positives, negatives = whole.true[0, -1], whole.false[0, -1]
    if not positives or not negatives:
        return None
    band = drawn.band()
    band = band[:, ~np.isnan(band[0])]
    low, high = np.percentile(band, [2.5, 97.5], axis=1) if band.shape[1] > 1 else np.full((2, len(GRID)), np.nan)
    return Roc(1 - whole.false[0] / negatives, whole.true[0] / positives, low, high)
