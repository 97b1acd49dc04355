"""Temperature, operating point and abstention limit from validation logits; used on host networks and TFLite files."""

import numpy as np

from device.bundle import Abstain, OperatingPoint
from device.decide import softmax
from device.errors import UserError
from train.data.busi import CLASSES
from train.evaluation.metrics import nll

CERTAIN = 0.9
_MALIGNANT = CLASSES.index("malignant")


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature in 0.05..20 with the least negative log-likelihood.

    logits (N, K), targets (N,). Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: nll(logits, targets, float(np.exp(log_t))),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def operating_point(
    logits: np.ndarray, targets: np.ndarray, temperature: float, target_sensitivity: float, derived_on: str
) -> OperatingPoint:
    """The highest malignant threshold that still reaches the wanted sensitivity (malignant against the rest).

    It is placed midway to the next lower score, so that it does not sit on a score that rounding moves. Raises
    UserError without a malignant or without any other picture.
    """
    score = softmax(logits, temperature)[:, _MALIGNANT]
    positive = targets == _MALIGNANT
    if positive.all() or not positive.any():
        raise UserError(
            f"{derived_on}: {positive.sum()} malignant pictures of {len(positive)}; an operating point needs both "
            "malignant and other pictures, so add some."
        )
    found = np.sort(score[positive])[::-1]
    needed = int(np.ceil(target_sensitivity * len(found) - 1e-9))
    lowest = found[needed - 1]
    below = score[score < lowest]
    threshold = float((lowest + (below.max() if below.size else 0.0)) / 2)
    return OperatingPoint(
        threshold,
        target_sensitivity,
        float((score[positive] >= threshold).mean()),
        float((score[~positive] < threshold).mean()),
        derived_on,
    )


def abstain_limit(logits: np.ndarray, temperature: float, coverage: float, derived_on: str) -> Abstain:
    """The highest confidence that at least the share `coverage` of the pictures reaches, 0..0.9: below it, abstain.

    An answer with a calibrated probability above 0.9 is not withheld: where nearly all validation pictures are answered
    with certainty, the share alone would put the limit at 99.99 %.
    """
    confidence = np.sort(softmax(logits, temperature).max(axis=1))
    fall = int((1 - coverage) * len(confidence) + 1e-9)  # 0.1 * 10 is 0.9999999999999998
    limit = min(CERTAIN, float(confidence[min(fall, len(confidence) - 1)]))
    return Abstain(limit, float((confidence >= limit).mean()), derived_on)
