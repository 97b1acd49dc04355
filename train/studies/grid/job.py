"""One training of a study, from nothing to its result; it runs in a worker process, here or on another machine."""

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device import schema
from device.errors import UserError
from train.data.busi import DataSet, Picture, read_dataset
from train.data.splits import Split
from train.recipe import Recipe
from train.studies.grid.living import living_teacher
from train.studies.grid.results import DIGITS, Result
from train.studies.grid.study import Key

if TYPE_CHECKING:
    from train.soft.targets import SoftTargets


@dataclass(frozen=True)
class Task:
    """All that a worker needs. weights_dir and the data set's folder must be at these paths on its machine; `folder`,
    where the run is kept while it trains, only on the machine that the study was started on, and `teacher`, where its
    living teacher is kept (None: without)."""

    key: Key
    recipe: Recipe
    data: DataSet
    split: Split
    soft: "SoftTargets | None"
    weights_dir: Path | None
    folder: Path
    teacher: Path | None = None


def train_job(task: Task, away: bool = False) -> Result:
    """Train a student, before it its living teacher, and judge it on its validation and test part, with one thread.

    away: on another machine than the study's; then the run is kept in a folder of its own, which goes at the end.
    Raises UserError as train.training.distill does, when this machine has other data at the same path, and when the
    student's answers are no numbers.
    """
    import torch

    _check_data(task.data.root, task.data.fingerprint)
    threads = torch.get_num_threads()
    # One thread wherever it runs: workers share a machine, and sums in another order would give another network.
    torch.set_num_threads(1)
    try:
        with _folders(task, away) as (folder, teacher):
            return _trained(task, folder, teacher)
    finally:
        torch.set_num_threads(threads)


def _trained(task: Task, folder: Path, taught_by: Path | None) -> Result:
    from train import fit, training
    from train.data.busi import load_lumas

    what = task.data, task.recipe, task.split, task.weights_dir
    teacher = living_teacher(*what, taught_by) if taught_by else None
    taught = {"soft": task.soft} if task.soft is not None else {}
    run = training.distill(*what, teacher, folder, **taught)
    said = {
        part: _said(pictures, fit.predict(run.network, load_lumas(pictures, task.recipe.preprocess)), task)
        for part, pictures in (("test", task.split.test), ("val", task.split.val))
    }
    slug, seed, fold = task.key
    return Result(
        row=slug,
        seed=seed,
        fold=fold,
        recipe=schema.dump(task.recipe),
        data=task.data.fingerprint,
        split=task.split.fingerprint,
        soft=task.soft.sha256 if task.soft is not None else None,
        validation=run.meta.validation,
        seconds=round(run.meta.seconds, 1),
        hardware=run.meta.hardware,
        versions=run.meta.versions,
        teacher=run.meta.teacher_sha256,
        **said,
    )


def _said(pictures: tuple[Picture, ...], logits: np.ndarray, task: Task) -> dict[str, tuple[float, ...]]:
    if not np.isfinite(logits).all():
        raise UserError(f"{task.folder}: the student's answers are no finite numbers; lower the recipe's lr.")
    rows = logits.astype(np.float64).round(DIGITS).tolist()
    return {picture.name: tuple(row) for picture, row in zip(pictures, rows)}


@contextmanager
def _folders(task: Task, away: bool) -> Iterator[tuple[Path, Path | None]]:
    """Where the student's run is kept, and its living teacher's."""
    if not away:
        yield task.folder, task.teacher
        return
    folder = Path(tempfile.mkdtemp(prefix="busi-kd-"))
    try:
        yield folder / "student", folder / "teacher" if task.teacher else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache  # once in each worker process
def _check_data(root: Path, fingerprint: str) -> None:
    if read_dataset(root).fingerprint != fingerprint:
        raise UserError(f"{root}: holds other pictures on this machine than where the study was started; copy them.")
