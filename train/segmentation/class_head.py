"""What the class head of `two-heads` is worth: the classifier's own figures, and what a classifier alone says more."""

from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from train.segmentation.results import SegResult
from train.segmentation.study import Row, SegStudy
from train.studies.grid.results import Pictures, Result, read_result
from train.studies.grid.study import Key
from train.studies.grid.table import Draws, Mean, compared


@dataclass(frozen=True)
class Classifier:
    """A classifier alone that the class heads are compared with: a row of `busi-kd train grid`, by seed and fold."""

    name: str
    results: dict[tuple[int, int], Result]


@dataclass(frozen=True)
class ClassHead:
    """A row with a class head. mean: over its trainings; its difference: minus the classifier, None without one."""

    row: Row
    mean: Mean


def read_classifier(folder: Path) -> Classifier:
    """The results of one row of a grid (`results/ROW`). Raises UserError when none is there, or one is damaged."""
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise UserError(f"{folder}: holds no results; give results/ROW of a study of busi-kd train grid.")
    found = [read_result(path) for path in paths]
    return Classifier(found[0].row, {(result.seed, result.fold): result for result in found})


def class_heads(
    study: SegStudy,
    pictures: Pictures,
    results: dict[Key, SegResult],
    repeats: int,
    classifier: Classifier | None = None,
) -> list[ClassHead]:
    """Each row that has a class head, in the study's order; of one without trainings all figures are unknown.

    A mean over trainings (train.studies.grid.table), the difference on the seeds and folds that the classifier has too.
    Raises UserError when the classifier is of other data, or judged other test pictures in one of them.
    """
    rows = [row for row in study.rows if row.recipe.classes]
    units = {
        row.slug: {
            (job.seed, job.fold): (job.key,)
            for job in study.jobs([row])
            if job.key in results and results[job.key].classes
        }
        for row in rows
    }
    answers = {key: results[key].classes for own in units.values() for (key,) in own.values()}
    other: dict[tuple[int, int], tuple[Key, ...]] = {}
    for (seed, fold), result in (classifier.results if classifier else {}).items():
        if result.data != pictures.fingerprint:
            raise UserError(f"the classifier {classifier.name!r} was trained on other data; give another.")
        key = (f"classifier {classifier.name}", seed, fold)
        other[seed, fold], answers[key] = (key,), result.test
    for own in units.values():
        for unit in own.keys() & other.keys():
            if answers[own[unit][0]].keys() != answers[other[unit][0]].keys():
                raise UserError(
                    f"the classifier {classifier.name!r} judged other pictures in seed {unit[0]}, fold {unit[1]}; "
                    "give one with the same groups, protocol and folds."
                )
    draws = Draws(pictures, answers, repeats)
    return [ClassHead(row, compared(units[row.slug], other, draws, classifier is not None)) for row in rows]
