"""What a study keeps: one small file per training, enough for every figure, and the names, labels and groups once."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device import files, schema
from device.errors import UserError
from train.data.busi import CLASSES, DataSet
from train.data.splits import Split
from train.recipe import Recipe
from train.studies.grid.study import Job, Key, Study

PICTURES, RESULTS, RUNS = "pictures.json", "results", "runs"
DIGITS = 5  # of a logit: far below what any figure shows


@dataclass(frozen=True)
class Result:
    """One finished training. test, val: picture's name -> (K,) logits of the part, in the order of CLASSES.

    recipe: as it was trained with. data, split, soft: SHA-256 of the data set, of the parts' names and of the cached
    answers (None: without). validation: the run's own figures. seconds: of the student's training alone. teacher:
    SHA-256 of the living teacher's weights (None: without).
    """

    row: str
    seed: int
    fold: int
    recipe: dict[str, Any]
    data: str
    split: str
    soft: str | None
    validation: dict[str, float | None]
    seconds: float
    hardware: str
    versions: dict[str, str]
    test: dict[str, tuple[float, ...]]
    val: dict[str, tuple[float, ...]]
    teacher: str | None = None

    def __post_init__(self) -> None:
        for name in ("test", "val"):
            if not getattr(self, name) or any(len(logits) != len(CLASSES) for logits in getattr(self, name).values()):
                raise ValueError(f"{name} must hold pictures with {len(CLASSES)} logits each.")

    @property
    def key(self) -> Key:
        """Row's folder name, seed and fold."""
        return self.row, self.seed, self.fold


@dataclass(frozen=True)
class Pictures:
    """The data set as far as figures need it. pictures: name -> (class, group). groups: where the groups are from."""

    data: str
    fingerprint: str
    synthetic: bool
    groups: str
    pictures: dict[str, tuple[str, str]]

    def __post_init__(self) -> None:
        unknown = {label for label, _ in self.pictures.values()} - set(CLASSES)
        if unknown:
            raise ValueError(f"{min(unknown)!r} is no class; there are {', '.join(CLASSES)}.")

    @property
    def title(self) -> str:
        """The data set's name as a page says it."""
        return f"SYNTHETIC {self.data}" if self.synthetic else self.data

    def groups_of(self, names: Iterable[str]) -> np.ndarray:
        """The group of each of the named pictures, (n,) str."""
        return np.array([self.pictures[name][1] for name in names])


@dataclass(frozen=True)
class Inputs:
    """What a job's result must have been made from. soft: SHA-256, None without; soft_known: whether it was read.
    living: whether from a living teacher, whom recipe, data and split decide."""

    recipe: Recipe
    data: str
    split: str | None = None
    soft: str | None = None
    soft_known: bool = True
    living: bool = False


def pictures_of(data: DataSet, split: Split) -> Pictures:
    """Names, labels and groups of all pictures of a data set; split: any split of it."""
    return Pictures(
        data.name,
        data.fingerprint,
        data.synthetic,
        split.groups_source,
        {picture.name: (picture.label, split.group_of[picture.name]) for picture in data.pictures},
    )


def decisive(recipe: Any) -> dict[str, Any]:
    """The part of a Recipe or SegRecipe that decides a training's result: all but its name and the conversion."""
    return {key: value for key, value in schema.dump(recipe).items() if key not in ("name", "convert")}


def identity(inputs: Inputs) -> str:
    """SHA-256 over the recipe, the data, the split and the teachers of a job."""
    parts = [decisive(inputs.recipe), inputs.data, inputs.split, inputs.soft, *(["living"] if inputs.living else [])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def difference(result: Result, inputs: Inputs) -> str | None:
    """What `result` was made from that `inputs` does not say; None when it is what is wanted.

    A key that its recipe does not have counts as at its default: recipes gain keys, and a default changes nothing.
    """
    try:
        trained = schema.load(Recipe, result.recipe, "recipe")
    except UserError:
        return "a recipe of another version of busi-kd"
    if decisive(trained) != decisive(inputs.recipe):
        return f"another recipe ({schema.first_difference(decisive(trained), decisive(inputs.recipe))})"
    if result.data != inputs.data:
        return "other data"
    if inputs.split is not None and result.split != inputs.split:
        return "another split"
    if inputs.soft_known and result.soft != inputs.soft:
        return "other soft targets"
    if (result.teacher is not None) != inputs.living:
        return "no living teacher" if inputs.living else "a living teacher"
    return None


def result_path(out: Path, key: Key) -> Path:
    """Where the result of a row's folder name, seed and fold lies."""
    slug, seed, fold = key
    return out / RESULTS / slug / f"{seed}-{fold}.json"


def write_result(out: Path, result: Result) -> Path:
    """Write a result, whole or not at all: a line per picture. Returns its path."""
    path = result_path(out, result.key)
    files.write_text(path, _lines(schema.dump(result), ("test", "val")))
    return path


def write_pictures(out: Path, pictures: Pictures) -> None:
    """Write pictures.json, whole or not at all: a line per picture."""
    files.write_text(out / PICTURES, _lines(schema.dump(pictures), ("pictures",)))


def _lines(content: dict[str, Any], long: tuple[str, ...]) -> str:
    """JSON with a line per key, and a line per entry of the keys `long`."""
    texts = []
    for key, value in content.items():
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if key in long:
            entries = (
                f"    {json.dumps(k, ensure_ascii=False)}: {json.dumps(v, allow_nan=False, ensure_ascii=False)}"
                for k, v in value.items()
            )
            text = "{\n" + ",\n".join(entries) + "\n  }"
        texts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(texts) + "\n}\n"


def read_pictures(out: Path) -> Pictures | None:
    """pictures.json of a study's folder; None when there is none. Raises UserError when it is no such file."""
    path = out / PICTURES
    return schema.load(Pictures, read_json(path), path) if path.is_file() else None


def read_result(path: Path) -> Result:
    """Read a result. Raises UserError when it is none, or lies where another job's result belongs."""
    result = schema.load(Result, read_json(path), path)
    if result_path(path.parent.parent.parent, result.key) != path:
        raise UserError(f"{path}: is the result of {result.row}, seed {result.seed}, fold {result.fold}; move it back.")
    return result


def read_json(path: Path) -> Any:
    """A file of a study as plain data. Raises UserError when it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); restore it or remove it.") from error


def read_results(out: Path, jobs: list[Job]) -> dict[Key, Result]:
    """The results that are there of these jobs."""
    return {job.key: read_result(path) for job in jobs if (path := result_path(out, job.key)).is_file()}


def unplanned(out: Path, study: Study) -> list[Path]:
    """Results of rows, seeds or folds that the study file does not name (any more)."""
    planned = {result_path(out, job.key) for job in study.jobs()}
    return sorted(path for path in (out / RESULTS).glob("*/*.json") if path not in planned)


def check_consistent(out: Path, study: Study, pictures: Pictures, results: dict[Key, Result]) -> None:
    """Raise UserError where results cannot stand in one table, as far as can be known without data.

    Made from another recipe or data than study and pictures.json say; test parts of a fold that differ; seeds of a row
    that learnt from other soft targets; a picture that pictures.json does not have.
    """
    tests: dict[int, tuple[set[str], Path]] = {}
    soft: dict[tuple[str, int], tuple[str | None, Path]] = {}
    for job in study.jobs():
        if job.key not in results:
            continue
        result, path = results[job.key], result_path(out, job.key)
        why = difference(result, Inputs(job.recipe, pictures.fingerprint, soft_known=False, living=job.row.living))
        if why:
            raise stale(path, job, why)
        unknown = (set(result.test) | set(result.val)) - set(pictures.pictures)
        if unknown:
            raise UserError(f"{path}: holds {min(unknown)!r}, which is not in {out / PICTURES}; restore the files.")
        names, first = tests.setdefault(job.fold, (set(result.test), path))
        if names != set(result.test):
            raise UserError(f"{path}: has another test part than {first}; retrain one of the two with --drop-stale.")
        sha, first = soft.setdefault((job.row.slug, job.fold), (result.soft, path))
        if sha != result.soft:
            raise UserError(f"{path}: learnt from other soft targets than {first}; retrain one with --drop-stale.")


def stale(path: Path, job: Job, why: str, others: int = 0) -> UserError:
    """The sentence about a result that is no longer what the study file says."""
    more = f" ({others} more results are so)" if others else ""
    return UserError(
        f"{path}: the row {job.row.name!r} was trained with {why}{more}; put the study file back, or train anew with "
        "--drop-stale."
    )
