"""The cross-data-set table: every model on every external set, and means over models and over sets.

The sets' lesions are benign or malignant, so a model decides between these two by the larger of their logits; how
often its third class, normal, was the largest (a lesion missed) is counted on its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.bundle import Estimate
from device.decide import softmax
from device.errors import UserError
from train.data.busi import CLASSES, View
from train.evaluation.intervals import drawn_counts, share, with_interval
from train.evaluation.metrics import roc_curves
from train.evaluation.models import Candidate
from train.external.adapters import ExternalPicture, ExternalSet, load_lumas
from train.external.overlap import Copy
from train.options import leak_sentence

# The LMIC study's mean accuracy over data sets; its sets are others.
REFERENCE = Estimate(0.7397, 0.6504, 0.8290)
SURE = ", sure classes"
_BENIGN, _MALIGNANT = CLASSES.index("benign"), CLASSES.index("malignant")


@dataclass(frozen=True)
class Part:
    """What is judged of a set: without copies of training pictures; with a doubtful class only in a part of its own.

    in_mean: it stands for its set in means over sets.
    """

    name: str
    view: View
    pictures: tuple[ExternalPicture, ...]
    labelled: bool
    in_mean: bool


@dataclass(frozen=True)
class Row:
    """One model, or the mean of several of one title, on one part.

    matched: the model was trained on pictures of this view. figures: 0..1 each, with 95 % interval. drawn: each
    figure's value in every resampling, (R,); resampling r of a part is the same for all models.
    """

    model: str
    title: str
    part: Part
    matched: bool
    synthetic: bool
    figures: dict[str, Estimate]
    drawn: dict[str, np.ndarray]
    models: int = 1


@dataclass(frozen=True)
class Mean:
    """The mean over sets of one title's rows. spread: 95 % t interval of the accuracies over sets; None below three."""

    title: str
    sets: tuple[str, ...]
    models: int
    figures: dict[str, Estimate]
    spread: Estimate | None


@dataclass(frozen=True)
class Table:
    """Everything that was judged. copies: None when nobody looked for copies of training pictures.

    warnings: what must be known of a model's training, such as a split that leaks.
    """

    rows: tuple[Row, ...]
    means: tuple[Mean, ...]
    copies: tuple[Copy, ...] | None
    repeats: int
    warnings: tuple[str, ...] = ()


def parts_of(sets: Sequence[ExternalSet], copies: Sequence[Copy] | None) -> tuple[Part, ...]:
    """The parts to judge; a set of which nothing is left has none. Doubtful classes stay out of the means."""
    left_out = {(copy.set, copy.name) for copy in copies or ()}
    parts = []
    for one in sets:
        kept = tuple(p for p in one.pictures if (one.name, p.name) not in left_out)
        labelled = all(p.label is not None for p in one.pictures)
        sure = tuple(p for p in kept if not p.doubtful)
        if kept:
            parts.append(Part(one.name, one.view, kept, labelled, labelled and len(sure) == len(kept)))
        if sure and len(sure) < len(kept):
            parts.append(Part(one.name + SURE, one.view, sure, labelled, labelled))
    return tuple(parts)


def judge(
    models: Sequence[Candidate],
    sets: Sequence[ExternalSet],
    copies: Sequence[Copy] | None = None,
    mismatched: bool = False,
    repeats: int = 1000,
    seed: int = 0,
    ask: Callable[[Candidate, Part], np.ndarray] | None = None,
) -> Table:
    """Judge every model on every part of its view (with `mismatched`: of either view), then average.

    ask: a model's (N, classes) logits to a part's pictures, where they are kept already; None: the model is run.
    Intervals: percentile bootstrap over the groups of each part. Raises UserError: a model that no set fits, nothing
    left to judge, `repeats` below 2, or a picture that does not decode.
    """
    if repeats < 2:
        raise UserError(f"--repeats must be 2 or more, not {repeats}.")
    parts = parts_of(sets, copies)
    if not parts:
        raise UserError("every external picture is a copy of a training picture; nothing is left to judge.")
    counts = [
        drawn_counts(np.array([p.group for p in part.pictures]), repeats, seed + n) for n, part in enumerate(parts)
    ]
    rows = []
    for model, label in zip(models, labels_of(models)):
        fitting = [n for n, part in enumerate(parts) if mismatched or part.view == model.view]
        if not fitting:
            raise UserError(
                f"{model.path}: was trained on pictures of the view {model.view!r}, and none of the external sets has "
                "it; add --mismatched to judge it all the same."
            )
        for n in fitting:
            logits = (ask or _run)(model, parts[n])
            rows.append(_row(model, label, parts[n], logits, counts[n]))
    rows += _means_over_models(rows)
    warnings = tuple(f"{m.title} ({m.path.name}): {leak_sentence(m.split)}" for m in models if m.split.get("leaks"))
    return Table(tuple(rows), _means_over_sets(rows), None if copies is None else tuple(copies), repeats, warnings)


def _run(model: Candidate, part: Part) -> np.ndarray:
    return model.predict(load_lumas(part.pictures, model.preprocess))


def labels_of(models: Sequence[Candidate]) -> list[str]:
    """A name for each model: its title, and where several share it the end of the path that tells them apart."""
    paths = [Path(model.path).resolve().parts for model in models]
    if len(set(paths)) < len(paths):
        raise UserError("the same model is given twice; its figures would count double.")
    labels = []
    for n, model in enumerate(models):
        others = [paths[k] for k, other in enumerate(models) if k != n and other.title == model.title]
        depth = 1
        while any(other[-depth:] == paths[n][-depth:] for other in others):
            depth += 1
        labels.append(f"{model.title} ({'/'.join(paths[n][-depth:])})" if others else model.title)
    return labels


def _row(model: Candidate, label: str, part: Part, logits: np.ndarray, counts: np.ndarray) -> Row:
    if not np.isfinite(logits).all():
        raise UserError(f"{model.path}: gave no finite numbers for {part.name}; train or convert it again.")
    threshold = (model.temperature or 1.0, model.threshold) if model.threshold is not None else None
    values = two_way(logits, part, np.ones((1, len(logits))), threshold)
    drawn = two_way(logits, part, counts, threshold)
    figures = {name: with_interval(float(values[name][0]), drawn[name]) for name in values}
    return Row(label, model.title, part, model.view == part.view, model.synthetic, figures, drawn)


def two_way(
    logits: np.ndarray, part: Part, counts: np.ndarray, threshold: tuple[float, float] | None
) -> dict[str, np.ndarray]:
    """Every figure for R resamplings: name -> (R,) in 0..1, NaN where undefined.

    logits (N, 3); counts (R, N): how often each picture is drawn; threshold: (temperature, calibrated P(malignant) at
    or above which a bundle says malignant). `said_CLASS`: the largest of the three logits. With classes: `accuracy`,
    `sensitivity` (malignant), `specificity` (benign), `balanced_accuracy` (their mean) of the larger lesion logit,
    `auc`, and with a threshold `operating_sensitivity` and `operating_specificity`.
    """
    chosen, every = logits.argmax(axis=1), np.ones(len(logits), bool)
    found = {f"said_{label}": share(chosen == n, every, counts) for n, label in enumerate(CLASSES)}
    if not part.labelled:
        return found
    malignant = np.array([picture.label == "malignant" for picture in part.pictures])
    said = logits[:, _MALIGNANT] > logits[:, _BENIGN]
    found["accuracy"] = share(said == malignant, every, counts)
    found["sensitivity"] = share(said, malignant, counts)
    found["specificity"] = share(~said, ~malignant, counts)
    found["balanced_accuracy"] = (found["sensitivity"] + found["specificity"]) / 2
    targets = np.where(malignant, _MALIGNANT, _BENIGN)
    found["auc"] = roc_curves(logits, targets, counts)["benign_malignant"].area()
    if threshold is not None:
        called = softmax(logits, threshold[0])[:, _MALIGNANT] >= threshold[1]
        found["operating_sensitivity"] = share(called, malignant, counts)
        found["operating_specificity"] = share(~called, ~malignant, counts)
    return found


def _means_over_models(rows: Sequence[Row]) -> list[Row]:
    """A row for each title that several models bear, on each part and kind of match."""
    means = []
    keys = dict.fromkeys((row.title, row.part.name, row.matched) for row in rows)
    for title, part, matched in keys:
        same = [row for row in rows if (row.title, row.part.name, row.matched) == (title, part, matched)]
        if len(same) > 1:
            figures, drawn = _average(same)
            label = f"{title}, mean of {len(same)}"
            synthetic = any(row.synthetic for row in same)
            means.append(
                replace(same[0], model=label, synthetic=synthetic, figures=figures, drawn=drawn, models=len(same))
            )
    return means


def _means_over_sets(rows: Sequence[Row]) -> tuple[Mean, ...]:
    """For each title the mean over the sets that match its models, each set by the mean of its models."""
    means = []
    for title in dict.fromkeys(row.title for row in rows):
        fitting = [row for row in rows if row.title == title and row.matched and row.part.in_mean]
        of_set = {row.part.name: row for row in sorted(fitting, key=lambda row: row.models)}  # the mean row wins
        if len(of_set) > 1:
            chosen = list(of_set.values())
            figures, _ = _average(chosen)
            values = [row.figures["accuracy"].value for row in chosen]
            names = tuple(name.removesuffix(SURE) for name in of_set)
            means.append(Mean(title, names, max(row.models for row in chosen), figures, t_interval(values)))
    return tuple(means)


def _average(rows: Sequence[Row]) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Means of the figures that all rows have; resampling r of the mean is the mean of the rows' resamplings r."""
    names = [
        name for name in rows[0].figures if all(row.figures.get(name, Estimate(None)).value is not None for row in rows)
    ]
    drawn = {name: np.mean([row.drawn[name] for row in rows], axis=0) for name in names}
    values = {name: float(np.mean([row.figures[name].value for row in rows])) for name in names}
    return {name: with_interval(values[name], drawn[name]) for name in names}, drawn


def t_interval(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % interval of Student's t over sets, as if the sets were drawn from a population of sets.

    None with fewer than three: two say next to nothing about the spread. Not cut off at 0 and 1.
    """
    from scipy.stats import t

    if len(values) < 3:
        return None
    mean = float(np.mean(values))
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half)
