"""The arithmetic of a study's table: means over trainings, paired differences, intervals over groups of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from device.bundle import Estimate
from train.data.busi import CLASSES
from train.evaluation.intervals import drawn_groups
from train.evaluation.metrics import figures, with_interval
from train.studies.grid.results import Pictures, Result
from train.studies.grid.study import Job, Key, Row, Study

TITLES = {
    "auc_benign_malignant": "AUC benign vs malignant",
    "accuracy": "accuracy, 3 classes",
    "balanced_accuracy": "balanced accuracy",
}
METRICS = tuple(TITLES)
Drawn = dict[str, np.ndarray]  # metric -> (1 + repeats,): its value, then its value in each resampling


@dataclass(frozen=True)
class Mean:
    """Each metric's mean over `trainings` trainings, 0..1. difference: that mean minus the other row's, on the `shared`
    seeds and folds that both rows have; None when there is no other row, or nothing shared."""

    trainings: int
    mean: dict[str, Estimate]
    shared: int
    difference: dict[str, Estimate] | None


@dataclass(frozen=True)
class Summary:
    """A row of the table. everywhere: all folds; decide: those on which rows are chosen; held_out: the others.

    pooled: a metric of the out-of-fold predictions of all folds together, a value per seed, then the mean over seeds;
    its trainings count seeds. seeds: seed -> metric -> mean over folds, None until all folds are there. spread:
    standard deviation over seeds, None with fewer than two. seconds: of all trainings.
    """

    row: Row
    planned: int
    missing: tuple[tuple[int, int], ...]
    everywhere: Mean
    decide: Mean
    held_out: Mean
    pooled: Mean
    seeds: dict[int, dict[str, float | None]]
    spread: dict[str, float | None]
    seconds: float


def summarise(
    study: Study, pictures: Pictures, results: dict[Key, Result], repeats: int = 1000, seed: int = 0
) -> list[Summary]:
    """A summary per row of the study, in its order.

    Interval: in each resampling the groups of the whole data set are drawn with replacement (multinomial counts), once
    for all trainings of all rows, because folds share no picture and seeds share all; 2.5 and 97.5 percentiles of the
    mean (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). A difference is taken within each
    resampling, so that what is hard for both rows cancels out. It speaks of the pictures, for these trainings.
    """
    draws = Draws(pictures, {key: result.test for key, result in results.items()}, repeats, seed)
    done = {row.slug: [job for job in study.jobs() if job.row == row and job.key in results] for row in study.rows}
    return [_summary(study, row, done, results, draws) for row in study.rows]


class Draws:
    """Every metric's value and resampled values, computed once for each training and each pooled seed.

    answers: of each training, its test pictures' names -> (K,) logits in the order of CLASSES.
    """

    def __init__(
        self, pictures: Pictures, answers: Mapping[Key, Mapping[str, tuple[float, ...]]], repeats: int, seed: int = 0
    ) -> None:
        names = sorted({group for _, group in pictures.pictures.values()})
        drawn = drawn_groups(len(names), repeats, seed)
        self._counts = np.concatenate([np.ones((1, len(names))), drawn])
        self._number = {name: number for number, name in enumerate(names)}
        self._pictures, self._answers = pictures.pictures, answers
        self._found: dict[tuple[Key, ...], Drawn] = {}

    def of(self, keys: tuple[Key, ...]) -> Drawn:
        """Metrics of the test parts of these trainings taken together; a picture must not stand in two of them."""
        if keys not in self._found:
            said = {name: logits for key in keys for name, logits in self._answers[key].items()}
            targets = np.array([CLASSES.index(self._pictures[name][0]) for name in said])
            groups = [self._number[self._pictures[name][1]] for name in said]
            found = figures(np.array(list(said.values())), targets, self._counts[:, groups])
            self._found[keys] = {metric: found[metric] for metric in METRICS}
        return self._found[keys]

    def mean(self, units: Sequence[tuple[Key, ...]]) -> Drawn | None:
        """The mean over several trainings, or over several pooled seeds; None over none."""
        if not units:
            return None
        found = [self.of(unit) for unit in units]
        return {metric: np.mean([one[metric] for one in found], axis=0) for metric in METRICS}


def _summary(study: Study, row: Row, done: dict[str, list[Job]], results: dict[Key, Result], draws: Draws) -> Summary:
    own = done[row.slug]
    other = next((done[r.slug] for r in study.rows if r.name == row.against), None)
    have = {(job.seed, job.fold) for job in own}
    seeds, spread = _by_seed(row, own, draws)
    return Summary(
        row=row,
        planned=len(row.seeds) * len(row.folds),
        missing=tuple((s, f) for s in row.seeds for f in row.folds if (s, f) not in have),
        everywhere=_mean(own, other, draws),
        decide=_mean(*(_folds(jobs, study.decide, True) for jobs in (own, other)), draws),
        held_out=_mean(*(_folds(jobs, study.decide, False) for jobs in (own, other)), draws),
        pooled=_pooled(row, own, other, draws),
        seeds=seeds,
        spread=spread,
        seconds=sum(results[job.key].seconds for job in own),
    )


def _folds(jobs: list[Job] | None, folds: tuple[int, ...], inside: bool) -> list[Job] | None:
    return None if jobs is None else [job for job in jobs if (job.fold in folds) == inside]


def _mean(own: list[Job], other: list[Job] | None, draws: Draws) -> Mean:
    keys = {(job.seed, job.fold): (job.key,) for job in own}
    against = {(job.seed, job.fold): (job.key,) for job in other or ()}
    return compared(keys, against, draws, other is not None)


def _pooled(row: Row, own: list[Job], other: list[Job] | None, draws: Draws) -> Mean:
    def whole(jobs: list[Job]) -> dict[int, tuple[Key, ...]]:
        seeds = dict.fromkeys(job.seed for job in jobs)
        found = {s: tuple(sorted(job.key for job in jobs if job.seed == s and job.fold in row.folds)) for s in seeds}
        return {s: keys for s, keys in found.items() if len(keys) == len(row.folds)}

    return compared(whole(own), whole(other or []), draws, other is not None)


def compared(own: dict, other: dict, draws: Draws, has_other: bool) -> Mean:
    """The mean over the units of `own`, and minus the mean of `other` on the units that both have.

    own, other: unit (a seed and fold, or a pooled seed) -> the trainings whose answers are judged together there.
    """
    shared = [unit for unit in own if unit in other]
    difference = None
    if has_other and shared:
        one, two = draws.mean([own[unit] for unit in shared]), draws.mean([other[unit] for unit in shared])
        difference = estimates({metric: one[metric] - two[metric] for metric in METRICS})
    mean = draws.mean(list(own.values()))
    return Mean(
        trainings=len(own),
        mean={metric: Estimate(None) for metric in METRICS} if mean is None else estimates(mean),
        shared=len(shared),
        difference=difference,
    )


def _by_seed(row: Row, own: list[Job], draws: Draws) -> tuple[dict, dict[str, float | None]]:
    seeds: dict[int, dict[str, float | None]] = {}
    for seed in row.seeds:
        keys = [(job.key,) for job in own if job.seed == seed]
        mean = draws.mean(keys) if len(keys) == len(row.folds) else None
        seeds[seed] = {metric: None if mean is None else _known(mean[metric][0]) for metric in METRICS}
    spread = {}
    for metric in METRICS:
        values = [one[metric] for one in seeds.values() if one[metric] is not None]
        spread[metric] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return seeds, spread


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def estimates(drawn: Drawn) -> dict[str, Estimate]:
    """Each metric with its 95 % interval."""
    return {metric: with_interval(_known(values[0]), values[1:]) for metric, values in drawn.items()}
