"""Means over pictures with 95 % intervals from a bootstrap over groups, and paired differences."""

from collections.abc import Sequence

import numpy as np

from device.bundle import Estimate
from train.evaluation.intervals import drawn_counts, ratio, with_interval
from train.segmentation.scores import Score

# Means over the lesion pictures in which they are known; the rest is defined in `figures`.
MEANS = ("dice", "iou", "precision", "recall", "accuracy", "hd95")
NAMES = (*MEANS, "lesions_found", "normals_clean", "false_area_normals")
Drawn = dict[str, np.ndarray]


def figures(scores: Sequence[Score], counts: np.ndarray) -> Drawn:
    """Figures of N pictures under weights `counts` (R, N), each (R,); NaN where unknown.

    MEANS: over the pictures with a lesion, each counting once, without those in which the figure is unknown.
    lesions_found: of all lesions, by the rule of lesions.py. normals_clean: share of the pictures without lesion on
    which nothing is outlined; false_area_normals: mean share of such a picture that is outlined.
    """
    lesion = np.array([one.lesions > 0 for one in scores], bool)
    found: Drawn = {}
    for name in MEANS:
        values = np.array([np.nan if (value := getattr(one, name)) is None else value for one in scores], np.float64)
        found[name] = _mean(values, lesion & ~np.isnan(values), counts)
    total = np.array([one.lesions for one in scores], np.float64)
    found["lesions_found"] = ratio(counts @ np.array([one.found for one in scores], np.float64), counts @ total)
    area = np.array([one.area for one in scores], np.float64)
    found["normals_clean"] = _mean((area == 0).astype(np.float64), ~lesion, counts)
    found["false_area_normals"] = _mean(area, ~lesion, counts)
    return found


def _mean(values: np.ndarray, among: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return ratio(counts @ np.where(among, values, 0.0), counts @ among.astype(np.float64))


def estimates(whole: Drawn, drawn: Drawn) -> dict[str, Estimate]:
    """Each figure (1,) with the interval of its resampled values (R,)."""
    return {name: with_interval(float(whole[name][0]), drawn[name]) for name in whole}


def measure(
    runs: Sequence[Sequence[Score]], groups: np.ndarray, repeats: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Figures of the same N pictures judged by one or several trainings (seeds), as the mean over these.

    groups: (N,). Groups are drawn once for all trainings: the interval speaks of the pictures, for these trainings.
    """
    drawn = drawn_counts(groups, repeats, seed)
    return estimates(_over_runs(runs, np.ones((1, len(groups)))), _over_runs(runs, drawn))


def difference(
    first: Sequence[Sequence[Score]], second: Sequence[Sequence[Score]], groups: np.ndarray, repeats: int, seed: int = 0
) -> dict[str, Estimate]:
    """Each figure of `second` minus that of `first` on the same pictures, within each resampling."""
    drawn, once = drawn_counts(groups, repeats, seed), np.ones((1, len(groups)))
    found = []
    for counts in (once, drawn):
        one, two = _over_runs(first, counts), _over_runs(second, counts)
        found.append({name: two[name] - one[name] for name in NAMES})
    return estimates(*found)


def _over_runs(runs: Sequence[Sequence[Score]], counts: np.ndarray) -> Drawn:
    every = [figures(scores, counts) for scores in runs]
    return {name: np.mean([one[name] for one in every], axis=0) for name in NAMES}
