"""Figures with 95 % intervals from a bootstrap over groups: pictures of one lesion are not independent."""

from collections.abc import Callable

from train import torchvision_shim  # noqa: F401  before torchmetrics

# isort: split
import numpy as np
import torch
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy

from device.bundle import Estimate
from device.decide import ABSTAIN, softmax
from train.data.busi import CLASSES

_BENIGN, _MALIGNANT = CLASSES.index("benign"), CLASSES.index("malignant")


def accuracy(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Share of pictures whose largest logit is the target. logits (N, K), targets (N,); 0..1."""
    return float(multiclass_accuracy(*_tensors(logits, targets), num_classes=len(CLASSES), average="micro"))


def balanced_accuracy(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Mean of the classes' recalls, 0..1; None when a class has no picture."""
    if len(np.unique(targets)) < len(CLASSES):
        return None
    return float(multiclass_accuracy(*_tensors(logits, targets), num_classes=len(CLASSES), average="macro"))


def auc_benign_malignant(logits: np.ndarray, targets: np.ndarray) -> float | None:
    """Area under the ROC curve, 0..1, malignant against benign, on the lesion pictures only.

    Score: the difference of the two logits, which orders as P(malignant | a lesion). None without both classes.
    """
    lesion = (targets == _BENIGN) | (targets == _MALIGNANT)
    positive = targets[lesion] == _MALIGNANT
    if positive.all() or not positive.any():
        return None
    score = logits[lesion, _MALIGNANT] - logits[lesion, _BENIGN]
    # Ranks instead of scores: torchmetrics squeezes scores outside 0..1 through a sigmoid, which merges extremes.
    ranks = np.unique(score, return_inverse=True)[1] / max(1, len(score))
    return float(binary_auroc(torch.from_numpy(ranks), torch.from_numpy(positive.astype(np.int64))))


def nll(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the targets, natural logarithm, >= 0."""
    chosen = softmax(logits, temperature)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float | None]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auc_benign_malignant": auc_benign_malignant,
}


def measure(
    logits: np.ndarray, targets: np.ndarray, groups: np.ndarray, repeats: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Every metric with its 95 % percentile interval over `repeats` resamplings of whole groups.

    logits (N, K), targets (N,), groups (N,). Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13 (percentile interval). A resampling in which a metric is undefined is left out of its interval.
    """
    indices = resampled(groups, repeats, seed)
    found = {}
    for name, metric in METRICS.items():
        values = [metric(logits[i], targets[i]) for i in indices]
        found[name] = with_interval(metric(logits, targets), values)
    return found


def measure_verdicts(
    said: np.ndarray, targets: np.ndarray, groups: np.ndarray, repeats: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """What the device's verdicts are worth, abstention and operating point included, intervals as in `measure`.

    said: (N,) verdict labels of device.decide. Shares 0..1: `verdict_coverage` not abstained; `verdict_accuracy` right
    among those; `malignant_called` and `malignant_missed` of the malignant pictures (the rest: abstained);
    `benign_called_malignant` of the benign ones.
    """
    truth = np.array(CLASSES)[targets]
    answered, malignant, benign = said != ABSTAIN, truth == "malignant", truth == "benign"
    events = {
        "verdict_coverage": (answered, np.ones_like(answered)),
        "verdict_accuracy": (said == truth, answered),
        "malignant_called": (said == "malignant", malignant),
        "malignant_missed": (answered & (said != "malignant"), malignant),
        "benign_called_malignant": (said == "malignant", benign),
    }
    indices = resampled(groups, repeats, seed)

    def share(event: np.ndarray, among: np.ndarray) -> float | None:
        return float(event[among].mean()) if among.any() else None

    return {
        name: with_interval(share(event, among), [share(event[i], among[i]) for i in indices])
        for name, (event, among) in events.items()
    }


def with_interval(value: float | None, resampled_values: list[float | None]) -> Estimate:
    """A value and the 2.5 and 97.5 percentiles of its resampled values (None left out)."""
    known = [v for v in resampled_values if v is not None]
    if value is None or len(known) < 2:
        return Estimate(value)
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def resampled(groups: np.ndarray, repeats: int, seed: int) -> list[np.ndarray]:
    """`repeats` index arrays, each all pictures of as many groups as there are, drawn with replacement."""
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(seed)
    return [np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))]) for _ in range(repeats)]


def _tensors(logits: np.ndarray, targets: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.ascontiguousarray(logits)), torch.from_numpy(np.ascontiguousarray(targets))


def percent(estimate: Estimate) -> str:
    """`91.2 [86.0, 95.5]` in percent, or `unknown`."""
    if estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.1f}"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
