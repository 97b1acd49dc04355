"""What one outline is worth, at the picture's own resolution. Unknown is None, never 0."""

import warnings
from dataclasses import dataclass

import numpy as np

from train.segmentation.lesions import count_lesions


@dataclass(frozen=True)
class Score:
    """Figures of one picture; all shares 0..1, hd95 in pixels of the picture (BUSI tells no millimetres).

    truth_area, area: share of the picture that truth and prediction take. false_area: share predicted outside the
    truth, on a normal picture all that is predicted. The rest is what MONAI's metrics give:

    - truth and prediction both have pixels: all are known.
    - the prediction is empty, the truth is not: dice, iou and recall are 0 (the lesion was missed); precision and hd95
      are unknown.
    - the truth is empty (a normal picture), the prediction is not: precision is 0; dice, iou, recall and hd95 are
      unknown, so that they speak of lesions only.
    - both are empty: only pixel accuracy and the areas are known.
    """

    dice: float | None
    iou: float | None
    precision: float | None
    recall: float | None
    accuracy: float
    hd95: float | None
    truth_area: float
    area: float
    false_area: float
    lesions: int
    found: int
    false_pieces: int


def score(predicted: np.ndarray, truth: np.ndarray) -> Score:
    """Judge one outline; both (H, W) bool. Raises ValueError when shapes or types differ or there is no pixel."""
    if predicted.shape != truth.shape or predicted.ndim != 2 or not truth.size:
        raise ValueError(f"an outline must be (H, W) as its truth, not {predicted.shape} and {truth.shape}.")
    if predicted.dtype != bool or truth.dtype != bool:
        raise ValueError(f"outlines must be bool, not {predicted.dtype} and {truth.dtype}.")
    from train import torchvision_shim  # noqa: F401  before monai

    # isort: split
    import torch
    from monai.metrics import (
        compute_confusion_matrix_metric,
        compute_dice,
        compute_hausdorff_distance,
        compute_iou,
        get_confusion_matrix,
    )

    said, true = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth))
    confusion = get_confusion_matrix(said, true)  # (1, 1, 4): TP, FP, TN, FN

    def of(name: str) -> float:
        return float(compute_confusion_matrix_metric(name, confusion))

    lesion, answer = bool(truth.any()), bool(predicted.any())
    counts = count_lesions(predicted, truth)
    hd95 = None
    if lesion and answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # MONAI calls its own function in the old way
            hd95 = float(compute_hausdorff_distance(said, true, percentile=95))
    return Score(
        dice=float(compute_dice(said, true)) if lesion else None,
        iou=float(compute_iou(said, true)) if lesion else None,
        precision=of("precision") if answer else None,
        recall=of("sensitivity") if lesion else None,
        accuracy=of("accuracy"),
        hd95=hd95,
        truth_area=float(truth.mean()),
        area=float(predicted.mean()),
        false_area=float((predicted & ~truth).mean()),
        lesions=counts.lesions,
        found=counts.found,
        false_pieces=counts.false,
    )
