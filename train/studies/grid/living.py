"""The living teachers of a study: one for each split and seed, trained once for all rows that learn from it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device import files, schema
from train.data.busi import DataSet
from train.data.splits import Split
from train.recipe import Recipe, without_student
from train.studies.grid.results import RUNS
from train.studies.grid.study import TEACHERS

if TYPE_CHECKING:
    from train.runs import Run


def teacher_recipe(recipe: Recipe) -> Recipe:
    """What decides a job's teacher, of a job's recipe."""
    return replace(without_student(recipe), name="teacher")


def folder_of(out: Path, recipe: Recipe, data: DataSet, split: Split) -> Path:
    """Where in a study's folder `out` the run of a job's teacher lies; recipe: the job's."""
    made_from = [schema.dump(teacher_recipe(recipe)), data.fingerprint, split.fingerprint]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return out.absolute() / RUNS / TEACHERS / f"{recipe.seed}-{recipe.split.test_fold}-{digest[:12]}"


def living_teacher(data: DataSet, recipe: Recipe, split: Split, weights_dir: Path | None, folder: Path) -> "Run":
    """The job's teacher, trained on the job's own training part when `folder` does not hold it yet.

    Raises UserError as train.training.train_teacher does.
    """
    from train import training

    folder.mkdir(parents=True, exist_ok=True)
    # Two workers may want the same teacher at once: the second one waits, and finds it trained.
    with files.held(folder, "training of this teacher", wait=True):
        return training.train_teacher(data, teacher_recipe(recipe), split, weights_dir, folder)
