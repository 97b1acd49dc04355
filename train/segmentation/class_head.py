"""What the class head of `two-heads` is worth: the classifier's own figures, over all folds, as a mean over seeds."""

import numpy as np

from device.bundle import Estimate
from train.data.busi import CLASSES
from train.evaluation.intervals import drawn_counts
from train.evaluation.metrics import figures, with_interval
from train.segmentation.results import SegResult
from train.segmentation.study import Key, Row, SegStudy
from train.studies.grid.results import Pictures

CLASS_FIGURES = ("accuracy", "balanced_accuracy", "auc_benign_malignant")


def class_figures(
    study: SegStudy, row: Row, results: dict[Key, SegResult], pictures: Pictures, repeats: int
) -> dict[str, Estimate]:
    """Each of CLASS_FIGURES with its 95 % interval over groups; {} when no training of the row is there."""
    said: dict[int, dict[str, tuple[float, ...]]] = {}
    for job in study.jobs([row]):
        if job.key in results and results[job.key].classes:
            said.setdefault(job.seed, {}).update(results[job.key].classes)
    names = sorted(set.intersection(*(set(one) for one in said.values()))) if said else []
    if not names:
        return {}
    targets = np.array([CLASSES.index(pictures.pictures[name][0]) for name in names])
    groups = np.array([pictures.pictures[name][1] for name in names])
    counts = np.concatenate([np.ones((1, len(names))), drawn_counts(groups, repeats, 0)])
    seeds = [figures(np.array([one[name] for name in names]), targets, counts) for one in said.values()]
    found = {metric: np.mean([one[metric] for one in seeds], axis=0) for metric in CLASS_FIGURES}
    return {metric: with_interval(values[0], values[1:]) for metric, values in found.items()}
