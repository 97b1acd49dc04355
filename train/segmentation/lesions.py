"""Lesions as things: connected pieces of a mask, and which of them an outline has found.

Pieces touch by their sides or corners. A lesion is found when one piece of the prediction overlaps it with an IoU of at
least 0.5, the common rule of object detection (Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV
2010). At that IoU no piece can find two lesions, but for ties. A piece of the prediction that shares no pixel with a
lesion is a false one. Masks of one picture that touch are one lesion: they were merged.
"""

from dataclasses import dataclass

import cv2
import numpy as np

FOUND_IOU = 0.5


@dataclass(frozen=True)
class Lesions:
    """lesions: how many the truth has; found: how many of them; false: pieces of the prediction that touch none."""

    lesions: int
    found: int
    false: int


def count_lesions(predicted: np.ndarray, truth: np.ndarray) -> Lesions:
    """predicted, truth: (H, W) bool."""
    pieces, piece = cv2.connectedComponents(predicted.astype(np.uint8), connectivity=8)
    lesions, lesion = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    # together[i, j]: pixels that lesion i and piece j share; row and column 0 are what lies outside.
    together = np.bincount(lesion.ravel() * pieces + piece.ravel(), minlength=lesions * pieces).reshape(lesions, pieces)
    shared = together[1:, 1:]
    union = together[1:].sum(axis=1)[:, None] + together[:, 1:].sum(axis=0)[None] - shared
    found = (shared / np.maximum(union, 1) >= FOUND_IOU).any(axis=1) if shared.size else np.zeros(lesions - 1, bool)
    return Lesions(lesions - 1, int(found.sum()), int((shared.sum(axis=0) == 0).sum()))
