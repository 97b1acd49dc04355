"""Does an engine answer what PyTorch answers? Before that, its time counts for nothing."""

import numpy as np

# How far the answers may lie from PyTorch's in float32: root mean square of the logits' difference, in units of how
# much PyTorch's logits themselves vary from picture to picture. convert's gates ask more of int8-full, on patients'
# pictures, before it ships; here it must only be the same network.
TOLERANCES = {"float32": 0.001, "float16": 0.02, "bfloat16": 0.1, "int8-dynamic": 0.3, "int8-full": 0.3}


def error(answers: np.ndarray, reference: np.ndarray) -> float:
    """(N, classes) logits each -> the root mean square difference by the reference's standard deviation over pictures.

    Infinite where an answer is no finite number or there are others than asked for. Raises ValueError when the
    reference does not vary: then nothing could be told from it.
    """
    reference = np.asarray(reference, np.float64)
    spread = float(np.sqrt(((reference - reference.mean(axis=0)) ** 2).mean()))
    if not spread > 1e-6:
        raise ValueError("the network gives the same answer to every picture, so that engines cannot be compared.")
    answers = np.asarray(answers, np.float64)
    if answers.shape != reference.shape or not np.isfinite(answers).all():
        return float("inf")
    return float(np.sqrt(((answers - reference) ** 2).mean())) / spread


def refusal(answers: np.ndarray, reference: np.ndarray, precision: str) -> str | None:
    """Why these answers are not the network's, in a sentence; None when they are."""
    found, allowed = error(answers, reference), TOLERANCES[precision]
    if found <= allowed:
        return None
    return f"its answers are not PyTorch's: they differ by {found:.3g} of the logits' spread, {allowed} is allowed"
