"""Results of another study that are the trainings this one wants: same recipe, data, split, teachers, seed and fold."""

from dataclasses import replace
from pathlib import Path

from device import schema
from device.errors import UserError
from train.recipe import Recipe
from train.studies.grid.results import RESULTS, Inputs, Result, identity, read_result
from train.studies.grid.study import Job


def results_of(folder: Path | None) -> dict[str, Result]:
    """All results in another study's folder, by what they were made from; none without a folder.

    Raises UserError when there is none in it, or one that is none. Results of recipes that this version does not know
    are left out: they cannot be this study's.
    """
    if folder is None:
        return {}
    paths = sorted((folder / RESULTS).glob("*/*.json"))
    if not paths:
        raise UserError(f"{folder}: holds no results of a study; give the --out of another train grid.")
    found = {}
    for result in map(read_result, paths):
        try:
            recipe = schema.load(Recipe, result.recipe, "recipe")
        except UserError:
            continue
        taught = result.teacher is not None
        found[identity(Inputs(recipe, result.data, result.split, result.soft, living=taught))] = result
    return found


def as_own(result: Result, job: Job) -> Result:
    """The result as this job's: what was trained, when and on what stays as it is."""
    return replace(result, row=job.row.slug, recipe=schema.dump(job.recipe))
