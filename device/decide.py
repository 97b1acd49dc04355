"""Logits -> calibrated probabilities -> verdict. Pure functions; the numbers they need travel in the bundle."""

from dataclasses import dataclass

import numpy as np

from device.bundle import Meta

ABSTAIN = "abstain"


@dataclass(frozen=True)
class Verdict:
    """What is said about one frame: a class or `abstain` with its reason, and calibrated probabilities in 0..1."""

    label: str
    probabilities: dict[str, float]
    reason: str | None = None


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities exp(z/T) / sum exp(z/T) over the last axis, float64, each in 0..1.

    Temperature scaling after Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    logits = np.asarray(logits, np.float64)
    # The largest is taken away before the division, which could overflow: then it stays 0 and exp stays in 0..1.
    with np.errstate(over="ignore"):
        powers = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def decide(logits: np.ndarray, meta: Meta) -> Verdict:
    """(classes,) logits -> verdict.

    Not a number, or the largest probability below the bundle's abstention limit: abstain, with the reason.
    P(malignant) at or above the operating point: malignant. Otherwise the likelier of the remaining classes.
    """
    if not np.all(np.isfinite(logits)):
        return Verdict(ABSTAIN, {}, "the model gave no finite number")
    values = softmax(logits, meta.temperature)
    probabilities = {name: float(p) for name, p in zip(meta.classes, values)}
    if max(probabilities.values()) < meta.abstain.min_confidence:
        return Verdict(ABSTAIN, probabilities, "low confidence")
    if probabilities["malignant"] >= meta.operating_point.malignant_threshold:
        return Verdict("malignant", probabilities)
    rest = {name: p for name, p in probabilities.items() if name != "malignant"}
    return Verdict(max(rest, key=rest.__getitem__), probabilities)
