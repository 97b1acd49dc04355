"""The operating point of a row's class heads, from their answers to pictures that they never saw."""

from pathlib import Path

from device.errors import UserError
from train.recipe import ConvertRecipe
from train.segmentation.results import SegResult
from train.segmentation.study import Row, SegStudy
from train.studies.grid.results import Pictures, decisive
from train.studies.grid.study import Key
from train.studies.out_of_fold_page import Asked, held_out, write

FOLDER = "operating-point"


def write_operating_point(
    out: Path, study: SegStudy, row: Row, pictures: Pictures, results: dict[Key, SegResult], repeats: int
) -> Path:
    """Write the folder `out`/operating-point/ROW as `busi-kd train operating-point` does for a student; its page.

    Raises UserError when the row names no class, has no results, or one without the validation part's answers.
    """
    if row.recipe.classes is None:
        raise UserError(f"{study.path}: the row {row.name!r} has no class head; give one of the network 'two-heads'.")
    path = out / FOLDER / row.slug
    return write(path, asked(out, study, row, results), pictures, repeats)


def asked(out: Path, study: SegStudy, row: Row, results: dict[Key, SegResult]) -> Asked:
    """The row's answers on the folds on which the study decides."""
    jobs = [job for job in study.jobs([row]) if job.fold in study.decide]
    own = [results[job.key] for job in jobs if job.key in results]
    for result in own:
        if not result.val:
            raise UserError(
                f"{out}: the result of {row.name!r}, seed {result.seed}, fold {result.fold}, was written before the "
                "answers to the validation part were kept; remove it with its run folder and train it again."
            )
    convert = ConvertRecipe()  # a study's rows have no table of their own
    return Asked(
        study=study.name,
        row=row.name,
        results=tuple(own),
        planned=len(jobs),
        folds=tuple(sorted({job.fold for job in jobs})),
        held_out=held_out(jobs, study.decide),
        recipe=decisive(row.recipe),
        target_sensitivity=convert.target_sensitivity,
        coverage=convert.coverage,
        again=f"busi-kd train segment {study.argument} --seeds {','.join(map(str, row.seeds))} --out DIR --table-only "
        f"--operating-point {row.slug}",
    )
