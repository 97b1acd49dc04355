"""The figures of an evaluation, each with a 95 % interval from a bootstrap over groups.

A metric is computed for all resamplings at once, from how often each picture was drawn: a thousand calls of a library's
metric would take a hundred times as long. The tests hold every one against scikit-learn or torchmetrics.
"""

import numpy as np

from device.bundle import Estimate
from device.decide import softmax
from train.data.busi import CLASSES
from train.evaluation.curves import Curve, curve
from train.evaluation.intervals import drawn_counts, percent, ratio, resampled, share, with_interval
from train.evaluation.reliability import brier, calibration_error
from train.evaluation.verdicts import measure_verdicts

__all__ = [
    "SENSITIVITIES",
    "accuracy",
    "auc_benign_malignant",
    "balanced_accuracy",
    "confusion",
    "figures",
    "measure",
    "measure_verdicts",
    "nll",
    "percent",
    "resampled",
    "roc_curves",
    "with_interval",
]

SENSITIVITIES = (90, 95)  # percent, at which specificities are given
_BENIGN, _MALIGNANT = CLASSES.index("benign"), CLASSES.index("malignant")


def measure(
    logits: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    temperature: float = 1.0,
    threshold: float | None = None,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric of `figures` with its 95 % percentile interval over `repeats` resamplings of whole groups.

    logits (N, K) finite, targets (N,), groups (N,). Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13 (percentile interval). A resampling in which a metric is undefined is left out of its interval.
    """
    drawn = figures(logits, targets, drawn_counts(groups, repeats, seed), temperature, threshold)
    return estimates(logits, targets, drawn, temperature, threshold)


def estimates(
    logits: np.ndarray, targets: np.ndarray, drawn: dict[str, np.ndarray], temperature: float, threshold: float | None
) -> dict[str, Estimate]:
    """The metrics of the pictures as they are, with intervals from `drawn`, their values in each resampling."""
    values = figures(logits, targets, np.ones((1, len(targets))), temperature, threshold)
    return {name: with_interval(float(values[name][0]), drawn[name]) for name in values}


def figures(
    logits: np.ndarray,
    targets: np.ndarray,
    counts: np.ndarray,
    temperature: float = 1.0,
    threshold: float | None = None,
) -> dict[str, np.ndarray]:
    """All metrics for R resamplings: name -> (R,) float64, NaN where undefined.

    logits (N, K) finite; targets (N,) class numbers; counts (R, N): how often each picture is drawn; temperature > 0
    calibrates the probabilities; threshold 0..1: the operating point, calibrated P(malignant) at or above it.

    - `accuracy`, `balanced_accuracy`, `macro_f1`, `precision_CLASS`, `recall_CLASS`, `f1_CLASS`, all 0..1, of the class
      with the largest logit. Means over classes and figures of a class take the classes that `targets` holds, so a
      part without normal pictures has no `recall_normal`, and its balanced accuracy is the mean of two recalls.
      precision TP / (TP + FP), recall TP / (TP + FN), F1 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979).
    - `auc_benign_malignant` 0..1, lesion pictures only, by the difference of the two logits, which orders as
      P(malignant | a lesion); `auc_malignant_rest` 0..1, all pictures, by calibrated P(malignant).
    - `specificity_at_sensitivity_90_...` and `_95_...`, 0..1, on either ROC curve: see Curve.specificity_at.
    - `sensitivity` of the malignant, `specificity` of all others, `specificity_benign` of the benign pictures, 0..1, at
      the threshold, without abstention; not there when threshold is None.
    - `ece` 0..1, `brier` 0..2, `nll` >= 0 (natural logarithm), of calibrated probabilities.
    """
    probabilities = softmax(logits, temperature)
    malignant, benign = targets == _MALIGNANT, targets == _BENIGN
    found = _of_confusion(confusion(np.asarray(logits).argmax(axis=1), targets, counts), np.unique(targets))
    curves = roc_curves(logits, targets, counts, temperature)
    found |= {f"auc_{name}": drawn.area() for name, drawn in curves.items()}
    found |= {
        f"specificity_at_sensitivity_{wanted}_{name}": drawn.specificity_at(wanted / 100)
        for name, drawn in curves.items()
        for wanted in SENSITIVITIES
    }
    if threshold is not None:
        called = probabilities[:, _MALIGNANT] >= threshold
        found["sensitivity"] = share(called, malignant, counts)
        found["specificity"] = share(~called, ~malignant, counts)
        found["specificity_benign"] = share(~called, benign, counts)
    found["ece"] = calibration_error(probabilities, targets, counts)
    found["brier"] = brier(probabilities, targets, counts)
    found["nll"] = ratio(counts @ _surprise(probabilities, targets), counts.sum(axis=1))
    return found


def roc_curves(
    logits: np.ndarray, targets: np.ndarray, counts: np.ndarray, temperature: float = 1.0
) -> dict[str, Curve]:
    """`benign_malignant` and `malignant_rest`, R curves each; arguments and scores as in `figures`."""
    logits = np.asarray(logits, np.float64)
    malignant = targets == _MALIGNANT
    lesion = malignant | (targets == _BENIGN)
    # Logarithms of odds order as the probabilities and do not become equal where those round to 1. Differences first:
    # then logits that differ by a common shift stay tied.
    others = np.delete(logits - logits[:, [_MALIGNANT]], _MALIGNANT, axis=1) / temperature
    odds = -np.logaddexp.reduce(others, axis=1)
    pair = logits[:, _MALIGNANT] - logits[:, _BENIGN]
    return {
        "benign_malignant": curve(pair[lesion], malignant[lesion], counts[:, lesion]),
        "malignant_rest": curve(odds, malignant, counts),
    }


def confusion(chosen: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R, K, K) pictures by [target, chosen class]. chosen, targets (N,) class numbers; counts (R, N)."""
    k = len(CLASSES)
    return (counts @ np.eye(k * k)[targets * k + chosen]).reshape(len(counts), k, k)


def _of_confusion(matrices: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    """(R, K, K) matrices; present: the classes that the whole part holds, also where a resampling lacks one."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, said = matrices.sum(axis=2), matrices.sum(axis=1)
    unknown = np.full(len(matrices), np.nan)
    recall = ratio(hits, true)
    # Without a picture of the class F1 would be 0 whenever anything is called so: undefined, like the recall.
    f1 = np.where(true > 0, ratio(2 * hits, true + said), np.nan)
    per_class = {"precision": ratio(hits, said), "recall": recall, "f1": f1}
    found = {
        "accuracy": ratio(hits.sum(axis=1), true.sum(axis=1)),
        "balanced_accuracy": recall[:, present].mean(axis=1) if len(present) else unknown,
        "macro_f1": f1[:, present].mean(axis=1) if len(present) else unknown,
    }
    for number, label in enumerate(CLASSES):
        for name, values in per_class.items():
            found[f"{name}_{label}"] = values[:, number] if number in present else unknown
    return found


def _surprise(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12))


def accuracy(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Share of pictures whose largest logit is the target, 0..1. logits (N, K), targets (N,); None without pictures."""
    return _once(logits, targets, "accuracy")


def balanced_accuracy(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Mean of the recalls of the classes that `targets` holds, 0..1; None without pictures."""
    return _once(logits, targets, "balanced_accuracy")


def _once(logits: np.ndarray, targets: np.ndarray, name: str) -> float | None:
    matrices = confusion(np.asarray(logits).argmax(axis=1), targets, np.ones((1, len(targets))))
    return _known(_of_confusion(matrices, np.unique(targets))[name])


def auc_benign_malignant(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Area under the ROC curve 0..1, malignant against benign, as in `figures`; None without both classes."""
    return _known(roc_curves(logits, targets, np.ones((1, len(targets))))["benign_malignant"].area())


def _known(values: np.ndarray) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])


def nll(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the targets, natural logarithm, >= 0."""
    return float(_surprise(softmax(logits, temperature), targets).mean())
