"""What a segmentation study keeps: one small file per training, enough for every table, and the outlines as PNG."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device import files, schema
from device.errors import UserError
from device.preprocess import read_picture
from train.data.busi import Picture, write_picture
from train.segmentation.recipe import SegRecipe
from train.segmentation.scores import Score
from train.studies.grid.results import RUNS, read_json, result_path
from train.studies.grid.study import Job, Key

OUTLINES = "outlines"


@dataclass(frozen=True)
class SegResult:
    """One finished training. scores: picture of the test part -> its score; classes: its class logits, of two heads.

    val: class logits of the validation part, {} in a result that was written before they were kept. teachers: row ->
    SHA-256 of its weights. data, split: SHA-256 of the data set and of the parts' names.
    """

    row: str
    seed: int
    fold: int
    recipe: dict[str, Any]
    data: str
    split: str
    teachers: dict[str, str]
    parameters: int
    mebibytes: float
    multiply_adds: int
    validation: dict[str, float | None]
    seconds: float
    hardware: str
    versions: dict[str, str]
    scores: dict[str, Score]
    classes: dict[str, tuple[float, ...]]
    val: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Row's folder name, seed and fold."""
        return self.row, self.seed, self.fold

    @property
    def test(self) -> dict[str, tuple[float, ...]]:
        """The class logits of the test part, by the name that a classifier's result has for them."""
        return self.classes


def run_folder(out: Path, key: Key) -> Path:
    """Where the network of a job lies."""
    slug, seed, fold = key
    return out / RUNS / slug / f"{seed}-{fold}"


def outline_path(out: Path, key: Key, picture: str, label: str) -> Path:
    """Where the outline of a test picture lies."""
    slug, seed, fold = key
    return out / OUTLINES / slug / f"{seed}-{fold}" / label / picture


def write_result(out: Path, result: SegResult) -> None:
    """Write a result, whole or not at all."""
    files.write_json(result_path(out, result.key), schema.dump(result))


def read_result(path: Path) -> SegResult:
    """Read a result. Raises UserError when it is none."""
    return schema.load(SegResult, read_json(path), path)


def read_results(out: Path, jobs: list[Job]) -> dict[Key, SegResult]:
    """The results that are there of these jobs. Raises UserError on one that was made from another recipe."""
    found = {job.key: read_result(path) for job in jobs if (path := result_path(out, job.key)).is_file()}
    for job in jobs:
        if job.key in found:
            check_current(out, job, found[job.key])
    return found


def check_current(out: Path, job: Job, result: SegResult, data: str | None = None, split: str | None = None) -> None:
    """Raise UserError when a result was made from something else than the job says; None is not compared.

    A key that its recipe does not have counts as at its default: recipes gain keys, and a default changes nothing.
    """
    path = result_path(out, job.key)
    why = None
    if schema.load(SegRecipe, result.recipe, path) != job.recipe:
        why = "another recipe"
    elif data is not None and result.data != data:
        why = "other data"
    elif split is not None and result.split != split:
        why = "another split"
    if why:
        raise UserError(f"{path}: {job} was trained with {why}; choose another --out, or remove its results and runs.")


def write_outline(out: Path, key: Key, picture: Picture, outline: np.ndarray) -> None:
    """Keep an outline (H, W) bool as a PNG of 0 and 255."""
    write_picture(outline_path(out, key, picture.name, picture.label), outline.astype(np.uint8) * 255)


def read_outline(out: Path, key: Key, picture: Picture) -> np.ndarray | None:
    """The kept outline (H, W) bool; None when it is gone."""
    path = outline_path(out, key, picture.name, picture.label)
    return read_picture(path) > 0 if path.is_file() else None
