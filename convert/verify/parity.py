"""Two sets of logits of the same pictures, picture by picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device.decide import softmax


@dataclass(frozen=True)
class Flip:
    """A picture whose top class changed. margin: how far the first network's two probabilities were apart, 0..1."""

    picture: str
    was: str
    became: str
    margin: float


@dataclass(frozen=True)
class Parity:
    """A file against the PyTorch student. Differences are of logits, absolute; None when some logit is not finite.

    agreement: share 0..1 of pictures with the same top class.
    """

    pictures: int
    max_difference: float | None
    mean_difference: float | None
    agreement: float
    flips: tuple[Flip, ...]

    def worst_lesion_flip(self) -> Flip | None:
        """The surest answer that went from benign to malignant or back; None without any."""
        lesions = [flip for flip in self.flips if {flip.was, flip.became} == {"benign", "malignant"}]
        return max(lesions, key=lambda flip: flip.margin, default=None)


def compare(
    reference: np.ndarray, found: np.ndarray, names: Sequence[str], classes: tuple[str, ...], temperature: float = 1.0
) -> Parity:
    """Parity of `found` with `reference`, both (N, K) logits; names: of the N pictures; temperature: of the reference's
    probabilities, from which the margins are taken."""
    difference = np.abs(found.astype(np.float64) - reference)
    was, became = reference.argmax(axis=1), found.argmax(axis=1)
    probabilities = softmax(reference, temperature)
    flips = tuple(
        Flip(
            names[i], classes[was[i]], classes[became[i]], float(probabilities[i, was[i]] - probabilities[i, became[i]])
        )
        for i in np.flatnonzero(was != became)
    )
    finite = bool(np.isfinite(difference).all())
    largest, mean = (float(difference.max()), float(difference.mean())) if finite else (None, None)
    return Parity(len(names), largest, mean, float((was == became).mean()), flips)
