"""A study's trainings: what is there, what is missing, what no longer fits, and training the missing ones."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from device import files
from device.errors import UserError
from train.data.busi import DataSet
from train.data.splits import Split, make_split
from train.recipe import SplitRecipe
from train.studies.grid import living, results, take
from train.studies.grid.job import Task
from train.studies.grid.pool import Failure
from train.studies.grid.results import Inputs, Result, result_path
from train.studies.grid.study import Job, Row, Study

if TYPE_CHECKING:
    from train.soft.targets import SoftTargets

Pool = Callable[[Sequence[Task]], Iterator[tuple[Task, Result | Failure]]]


@dataclass(frozen=True)
class Plan:
    """What a study still has to train, in order, of which rows' jobs; done: how many results are there; taken: how many
    of them came from another study now."""

    tasks: tuple[Task, ...]
    done: int
    taken: int = 0


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold `out` against a second command on the same study. Raises UserError while another one holds it."""
    out.mkdir(parents=True, exist_ok=True)
    with files.held(out, "command on this study"):
        yield


def plan(
    study: Study,
    rows: Sequence[Row],
    data: DataSet,
    groups: Path | None,
    exclude: tuple[str, ...],
    weights_dir: Path | None,
    out: Path,
    drop_stale: bool = False,
    others: Mapping[str, Result] = MappingProxyType({}),
) -> Plan:
    """Compare the results in `out` with the study file and the data; what is missing of `rows` is to be trained.

    drop_stale: remove results of `rows` that were made from something else. others: results of another study
    (take.results_of); those that are missing here and made from the same are written. Raises UserError on any other
    such result, of whatever row, and when `out` belongs to other data or groups.
    """
    splits: dict[SplitRecipe, Split] = {}
    tasks, old, taken, done = [], [], [], 0
    jobs = study.jobs()
    there = {job.key for job in jobs if result_path(out, job.key).is_file()}
    taught: dict[tuple, SoftTargets | None] = {}
    for job in jobs:
        chosen = job.row in rows
        if not chosen and job.key not in there:
            continue
        recipe = job.recipe
        if recipe.split not in splits:
            splits[recipe.split] = make_split(data, recipe.split, groups, exclude)
        split, soft = splits[recipe.split], None
        inputs = Inputs(recipe, data.fingerprint, living=job.row.living)
        if job.row.soft:
            missing = chosen and any(o.key not in there for o in jobs if (o.row, o.fold) == (job.row, job.fold))
            soft = _soft(job, data, split, missing or (chosen and drop_stale), taught)
        inputs = replace(
            inputs,
            split=split.fingerprint,
            soft=soft.sha256 if soft else None,
            soft_known=not job.row.soft or soft is not None,
        )
        if job.key in there:
            path = result_path(out, job.key)
            why = results.difference(results.read_result(path), inputs)
            if not why:
                done += chosen
                continue
            old.append((path, job, why))
            if not (chosen and drop_stale):
                continue
        made_from = results.identity(inputs)
        if made_from in others:
            taken.append(take.as_own(others[made_from], job))
            continue
        name = f"{job.seed}-{job.fold}-{made_from[:12]}"
        folder = out.absolute() / results.RUNS / job.row.slug / name
        teacher = living.folder_of(out, recipe, data, split) if job.row.living else None
        tasks.append(Task(job.key, recipe, data, split, soft, weights_dir, folder, teacher))
    refused = [one for one in old if not (drop_stale and one[1].row in rows)]
    if refused:
        raise results.stale(*refused[0], others=len(refused) - 1)
    if splits:
        _keep_pictures(out, data, next(iter(splits.values())), drop_stale)
    for path, _, _ in old:
        path.unlink()
    for result in taken:
        results.write_result(out, result)
    return Plan(tuple(tasks), done + len(taken), len(taken))


def _soft(job: Job, data: DataSet, split: Split, needed: bool, read: dict) -> "SoftTargets | None":
    """The cached answers for a row and fold; None when their folders are gone and nothing is to be trained."""
    if not needed and not all(folder.is_dir() for folder in job.row.soft):
        return None
    from train.soft.targets import read_soft_targets

    recipe = job.recipe
    views = (recipe.preprocess, recipe.augment, recipe.distill.views, recipe.distill.view_seed)
    key = (job.row.soft, recipe.split, *views)  # of rows and seeds that learn from the same answers
    if key not in read:
        try:
            read[key] = read_soft_targets(job.row.soft, data, split, recipe)
        except UserError as error:
            raise UserError(f"row {job.row.name!r}, fold {job.fold}: {error}") from error
    return read[key]


def _keep_pictures(out: Path, data: DataSet, split: Split, replace_other: bool) -> None:
    now, kept = results.pictures_of(data, split), results.read_pictures(out)
    if kept is not None and kept != now and not replace_other:
        raise UserError(
            f"{out / results.PICTURES}: the study in this folder is about other data or groups ({kept.data}, "
            f"{kept.groups}); choose another --out, or train anew with --drop-stale."
        )
    if kept != now:
        results.write_pictures(out, now)


def train(tasks: Sequence[Task], pool: Pool, out: Path, keep_runs: bool, said: Callable[[str], None]) -> list[str]:
    """Train what is planned; each result is written as it comes. Returns a sentence per job that failed.

    said: takes a line per finished job. Without keep_runs a job's run folder goes once its result is written, its
    teacher's when all is done: a job that failed will want it.
    """
    failed = []
    with closing(pool(tasks)) as finished:
        for number, (task, found) in enumerate(finished, start=1):
            slug, seed, fold = task.key
            head = f"[{number}/{len(tasks)}] {slug}, seed {seed}, fold {fold}"
            if isinstance(found, Failure):
                if found.trace:
                    print(found.trace, file=sys.stderr)
                failed.append(f"{slug}, seed {seed}, fold {fold}: {found.sentence}")
                said(f"{head}: FAILED: {found.sentence}")
                continue
            results.write_result(out, found)
            if not keep_runs:
                _sweep(task.folder)
            said(f"{head}: {_figures(task, found)}; {found.seconds:.0f} s")
    if not (keep_runs or failed):
        for folder in {task.teacher for task in tasks if task.teacher}:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_empty(folder)
    return failed


def _sweep(folder: Path) -> None:
    """Remove the run folders of a job, those of earlier study files too, and the folders above once they are empty."""
    job = "-".join(folder.name.split("-")[:2])
    for left in folder.parent.glob(f".gone-{job}-*"):  # by an interruption
        shutil.rmtree(left, ignore_errors=True)
    for one in folder.parent.glob(f"{job}-*"):
        # Out of the way first: what an interruption leaves of it must not be taken for a run of this job.
        gone = one.with_name(f".gone-{one.name}")
        os.replace(one, gone)
        shutil.rmtree(gone, ignore_errors=True)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """The folders above one that has gone, once nothing is left in them."""
    for above in (folder.parent, folder.parent.parent):
        if above.is_dir() and not any(above.iterdir()):
            above.rmdir()


def _figures(task: Task, result: Result) -> str:
    import numpy as np

    from train.data.torch_data import targets_of
    from train.evaluation.metrics import accuracy, auc_benign_malignant, balanced_accuracy

    logits, targets = np.array(list(result.test.values())), targets_of(task.split.test)
    found = {
        "AUC": auc_benign_malignant(logits, targets),
        "accuracy": accuracy(logits, targets),
        "balanced accuracy": balanced_accuracy(logits, targets),
    }
    return ", ".join(f"{name} {'unknown' if v is None else f'{100 * v:.1f}'}" for name, v in found.items())
