"""One training of a segmentation study, from nothing to its result; it runs here or in a worker process."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device import schema
from device.errors import UserError
from train.data.busi import DataSet
from train.data.splits import Split, make_split
from train.recipe import Distill, Recipe, SplitRecipe
from train.segmentation.results import (
    SegResult,
    check_current,
    read_result,
    run_folder,
    write_outline,
    write_result,
)
from train.segmentation.study import Row, SegStudy
from train.studies.grid.pool import Failure
from train.studies.grid.results import PICTURES, pictures_of, read_pictures, result_path, write_pictures
from train.studies.grid.study import Job

if TYPE_CHECKING:
    from train.soft.targets import SoftTargets

Pool = Callable[[Sequence["Task"]], Iterator[tuple["Task", SegResult | Failure]]]


@dataclass(frozen=True)
class Task:
    """All that a worker needs: the job, where its teachers' runs lie by row, and the study's folder."""

    job: Job
    data: DataSet
    split: Split
    teachers: dict[str, Path]
    soft: "SoftTargets | None"
    weights_dir: Path | None
    out: Path


def train_job(task: Task, away: bool = False) -> SegResult:
    """Train and judge on the test part. away: on another machine, which is refused: teachers lie on this one.

    Raises UserError as train.segmentation.training.train does.
    """
    from train.segmentation import training
    from train.segmentation.outlines import judged, outlines
    from train.segmentation.runs import load_run

    if away:
        raise UserError("a segmentation study trains on one machine; start it without a cluster.")
    job, folder = task.job, run_folder(task.out, task.job.key)
    teachers = {row: load_run(path) for row, path in task.teachers.items()}
    run = training.train(task.data, job.recipe, task.split, task.weights_dir, teachers, folder, task.soft)
    scores, classes = {}, {}
    for picture, outline, logits in outlines(run.network, task.split.test, job.recipe.preprocess):
        found = judged(picture, outline)
        if found is not None:
            scores[picture.name] = found
        if logits is not None:
            classes[picture.name] = _finite(logits, folder)
        write_outline(task.out, job.key, picture, outline)
    calibrating = task.split.val if job.recipe.classes else ()
    val = {
        picture.name: _finite(logits, folder)
        for picture, _, logits in outlines(run.network, calibrating, job.recipe.preprocess)
    }
    slug, seed, fold = job.key
    meta = run.meta
    # Some gigabytes of a big teacher: once meta.json is there nobody goes on from them.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return SegResult(
        row=slug,
        seed=seed,
        fold=fold,
        recipe=schema.dump(job.recipe),
        data=meta.data_fingerprint,
        split=meta.split["fingerprint"],
        teachers=meta.teachers,
        parameters=meta.parameters,
        mebibytes=meta.mebibytes,
        multiply_adds=meta.multiply_adds,
        validation=meta.validation,
        seconds=round(meta.seconds, 1),
        hardware=meta.hardware,
        versions=meta.versions,
        scores=scores,
        classes=classes,
        val=val,
    )


def _finite(logits: tuple[float, ...], folder: Path) -> tuple[float, ...]:
    if not np.isfinite(logits).all():
        raise UserError(f"{folder}: the class head's answers are no finite numbers; lower the recipe's lr.")
    return logits


def train_missing(
    study: SegStudy,
    rows: list[Row],
    data: DataSet,
    groups: Path | None,
    exclude: tuple[str, ...],
    weights_dir: Path | None,
    out: Path,
    pool: Pool,
    said: Callable[[str], None],
) -> list[str]:
    """Train what is missing of `rows` and of the rows that teach them, teachers first; a sentence per failed job.

    pool: gives each task with its result or Failure. A job whose teacher failed fails too; all others go on. Raises
    UserError, before anything is trained, when a result in `out` was made from something else.
    """
    jobs = study.jobs(study.with_teachers(rows))
    splits: dict[SplitRecipe, Split] = {}
    for job in jobs:
        how = job.recipe.split
        if how not in splits:
            splits[how] = make_split(data, how, groups, exclude)
        path = result_path(out, job.key)
        if path.is_file():
            check_current(out, job, read_result(path), data.fingerprint, splits[how].fingerprint)
    _keep_pictures(out, data, next(iter(splits.values())))
    left = sum(not result_path(out, job.key).is_file() for job in jobs)
    said(f"{len(jobs) - left} trainings are done, {left} to go.")
    failed, number = [], 0
    for step in study.stages(jobs):
        tasks = []
        for job in step:
            if result_path(out, job.key).is_file():
                continue
            teachers = {t.row: (study.row(t.row).slug, job.seed, job.fold) for t in job.recipe.teachers}
            absent = [row for row, key in teachers.items() if not result_path(out, key).is_file()]
            if absent:
                number += 1
                failed.append(f"{job}: its teacher {absent[0]!r} was not trained.")
                continue
            split = splits[job.recipe.split]
            folders = {row: run_folder(out, key) for row, key in teachers.items()}
            tasks.append(Task(job, data, split, folders, _soft(job, data, split), weights_dir, out))
        for task, found in pool(tasks):
            number += 1
            if isinstance(found, Failure):
                failed.append(f"{task.job}: {found.sentence}" + (f"\n{found.trace}" if found.trace else ""))
                said(f"[{number}/{left}] {task.job}: FAILED: {found.sentence}")
                continue
            write_result(out, found)
            said(f"[{number}/{left}] {task.job}: {_dice(found)}; {found.seconds:.0f} s")
    return failed


def _soft(job: Job, data: DataSet, split: Split) -> "SoftTargets | None":
    if not job.row.soft:
        return None
    from train.soft.targets import read_soft_targets

    # What the caches are compared with: the classifier's recipe of the same views.
    task = job.recipe.classes
    distill = Distill(views=task.views, view_seed=task.view_seed, targets="mean")
    recipe = Recipe("soft", preprocess=job.recipe.preprocess, augment=job.recipe.augment, distill=distill)
    return read_soft_targets(job.row.soft, data, split, recipe)


def _keep_pictures(out: Path, data: DataSet, split: Split) -> None:
    now, kept = pictures_of(data, split), read_pictures(out)
    if kept is not None and kept != now:
        raise UserError(f"{out / PICTURES}: the study in this folder is about other data or groups; choose another.")
    if kept is None:
        write_pictures(out, now)


def _dice(result: SegResult) -> str:
    known = [one.dice for one in result.scores.values() if one.dice is not None]
    return f"Dice {100 * np.mean(known):.1f}" if known else "Dice unknown"
