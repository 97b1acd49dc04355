"""How much of a figure is leakage: the same student and recipe under each split protocol, over several seeds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.bundle import Estimate
from train import fit, training
from train.data.busi import DataSet, load_lumas
from train.data.splits import Split, make_split
from train.data.torch_data import targets_of
from train.evaluation.intervals import drawn_groups
from train.evaluation.metrics import (
    accuracy,
    auc_benign_malignant,
    balanced_accuracy,
    figures,
    with_interval,
)
from train.recipe import Recipe
from train.runs import Run

METRICS = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auc_benign_malignant": auc_benign_malignant,
}


@dataclass(frozen=True)
class Trial:
    """One trained student on the test part of its split.

    logits (N, K), targets (N,), groups (N,) of the N test entries; known (N,): whether training or validation holds a
    picture of the same group, the very same picture included.
    """

    protocol: str
    seed: int
    split: dict
    logits: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    known: np.ndarray
    hardware: str


@dataclass(frozen=True)
class Row:
    """One protocol over all seeds: each metric's mean with its interval, and each seed's value.

    excess: the metric's mean minus that of `grouped`. known, unknown: accuracy on the test entries with and without a
    copy in training, all seeds together; None without such entries.
    """

    protocol: str
    test_entries: tuple[int, ...]
    known_entries: tuple[int, ...]
    mean: dict[str, Estimate]
    seeds: dict[str, tuple[float | None, ...]]
    excess: dict[str, Estimate] | None
    known: float | None
    unknown: float | None


def trials(
    data: DataSet,
    recipe: Recipe,
    groups: Path | None,
    exclude: tuple[str, ...],
    weights_dir: Path | None,
    protocols: tuple[str, ...],
    seeds: tuple[int, ...],
    with_teacher: bool,
    out: Path,
) -> Iterator[Trial]:
    """Train (or go on with, or take up) a student per seed and protocol in `out`/<protocol>-<seed>, and judge it.

    The seed decides the split and the training. Without `with_teacher` the student learns from labels alone.
    """
    for seed in seeds:
        for protocol in protocols:
            split = make_split(data, replace(recipe.split, protocol=protocol, seed=seed), groups, exclude)
            own = replace(recipe, seed=seed, split=split.recipe)
            folder = out / f"{protocol}-{seed}"
            teacher = None
            if with_teacher:
                teacher = training.train_teacher(
                    data, own, split, weights_dir, folder.with_name(f"{folder.name}-teacher")
                )
            yield judge(training.distill(data, own, split, weights_dir, teacher, folder), split)


def judge(run: Run, split: Split) -> Trial:
    """The run's student on the test part of the split it was trained with."""
    seen = {split.group_of[picture.name] for picture in split.train + split.val}
    groups = split.groups(split.test)
    return Trial(
        protocol=split.recipe.protocol,
        seed=run.meta.recipe.seed,
        split=split.describe(),
        logits=fit.predict(run.network, load_lumas(split.test, run.meta.recipe.preprocess)),
        targets=targets_of(split.test),
        groups=groups,
        known=np.array([group in seen for group in groups]),
        hardware=run.meta.hardware,
    )


def summarise(done: list[Trial], repeats: int = 1000, seed: int = 0) -> list[Row]:
    """One row per protocol, in the order of `done`.

    Interval: in each resampling the groups of the whole data set are drawn with replacement, once for all trials,
    because the seeds' test parts share pictures; the metric is averaged over the trials; 2.5 and 97.5 percentiles of
    these means. It speaks of the test pictures for these very trainings; the spread over trainings shows in the seeds'
    values. The excess takes the difference of two protocols' means in each resampling.
    """
    names = np.unique(np.concatenate([trial.groups for trial in done]))
    drawn = drawn_groups(len(names), repeats, seed)
    points: dict[str, dict[str, tuple]] = {}
    draws: dict[str, dict[str, np.ndarray]] = {}
    for protocol in dict.fromkeys(trial.protocol for trial in done):
        own = [trial for trial in done if trial.protocol == protocol]
        points[protocol] = {
            name: tuple(metric(trial.logits, trial.targets) for trial in own) for name, metric in METRICS.items()
        }
        found = [figures(t.logits, t.targets, drawn[:, np.searchsorted(names, t.groups)]) for t in own]
        draws[protocol] = {name: np.stack([one[name] for one in found]) for name in METRICS}
    return [_row(protocol, done, points, draws) for protocol in points]


def _row(protocol: str, done: list[Trial], points: dict, draws: dict) -> Row:
    own = [trial for trial in done if trial.protocol == protocol]
    right = np.concatenate([trial.logits.argmax(axis=1) == trial.targets for trial in own])
    known = np.concatenate([trial.known for trial in own])
    mean, drawn = _means(points[protocol], draws[protocol])
    excess = None
    if protocol != "grouped" and "grouped" in points:
        base, base_drawn = _means(points["grouped"], draws["grouped"])
        excess = {
            name: _estimate(
                None if mean[name] is None or base[name] is None else mean[name] - base[name],
                drawn[name] - base_drawn[name],
            )
            for name in METRICS
        }
    return Row(
        protocol=protocol,
        test_entries=tuple(len(trial.targets) for trial in own),
        known_entries=tuple(int(trial.known.sum()) for trial in own),
        mean={name: _estimate(mean[name], drawn[name]) for name in METRICS},
        seeds=points[protocol],
        excess=excess,
        known=float(right[known].mean()) if known.any() else None,
        unknown=float(right[~known].mean()) if not known.all() else None,
    )


def _means(points: dict[str, tuple], draws: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    means = {name: None if None in values else float(np.mean(values)) for name, values in points.items()}
    return means, {name: drawn.mean(axis=0) for name, drawn in draws.items()}


def _estimate(value: float | None, drawn: np.ndarray) -> Estimate:
    return with_interval(value, drawn)
