"""The TFLite files of a trained network, without gates: a comparison shows what a gate would refuse."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from convert import calibration, tflite
from convert.int8_network import how_of, write_float_onnx, write_int8_onnx
from convert.pipeline import FLOAT_ONNX, INT8_ONNX
from device import files, schema
from device.bundle import Variant
from device.errors import UserError
from device.runtime import Model
from train import runs
from train.data.busi import DataSet, load_lumas
from train.evaluation.models import candidate, run_model, split_of
from train.networks.cost import cost
from train.studies.grid.results import DIGITS, RUNS, decisive
from train.studies.grid.study import Job

ANSWERS = "answers.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """One training's files. weights: SHA-256 of what they were made from. test: variant -> picture's name -> logits.

    size: (height, width) of the input; multiply_adds: of one picture, of the network before quantisation;
    kilobytes: variant -> size of the file / 1000. broken: variant -> why there is no answer of it.
    """

    weights: str
    convert: dict[str, Any]
    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    kilobytes: dict[str, float]
    test: dict[str, dict[str, tuple[float, ...]]]
    broken: dict[str, str]


def run_of(results: Path, job: Job) -> runs.Run:
    """The kept run folder of a finished training. Raises UserError when it was not kept, or is of another recipe."""
    slug, seed, fold = job.key
    for folder in sorted((results / RUNS / slug).glob(f"{seed}-{fold}-*")):
        if (folder / runs.META).is_file():
            run = runs.load_run(folder, "student")
            if decisive(run.meta.recipe) == decisive(job.recipe):
                return run
    raise UserError(f"{job}: its network was not kept; train it anew with busi-kd train grid --keep-runs.")


def made(run: runs.Run, data: DataSet, folder: Path, wanted: Sequence[Variant]) -> Made:
    """Convert `run` into `folder`, once: `VARIANT.tflite` for each wanted variant, and ANSWERS to its test pictures.

    What is there of the same weights and the same recipe's [convert] stays, of other variants, too. Raises UserError as
    a conversion does.
    """
    there = kept(Made, folder / ANSWERS)
    recipe = schema.dump(run.meta.recipe.convert)
    if there and (there.weights, there.convert) != (run.meta.weights_sha256, recipe):
        there = None
    missing = [variant for variant in wanted if there is None or variant not in there.test]
    if there and not missing:
        return there
    split, preprocess = split_of(candidate(run), data), run.meta.recipe.preprocess
    drawn, _ = calibration.draw(
        split.train, preprocess, run.meta.recipe.convert.calibration_pictures, run.meta.recipe.seed
    )
    lumas, names = load_lumas(split.test, preprocess), [picture.name for picture in split.test]
    size = (preprocess.height, preprocess.width)
    with files.folder_beside(folder) as aside, tempfile.TemporaryDirectory() as work:
        found = there or Made(run.meta.weights_sha256, recipe, size, *cost(run.network, size), {}, {}, {})
        if there:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
        written = _written(run, drawn.lumas, Path(work), missing)
        for variant in missing:
            file = aside / f"{variant}.tflite"
            file.write_bytes(written[variant].read_bytes())
            test, why = _answers(file, names, lumas)
            found = replace(
                found,
                kilobytes=found.kilobytes | {variant: file.stat().st_size / 1000},
                test=found.test | {variant: test},
                broken=found.broken | ({variant: why} if why else {}),
            )
        files.write_json(aside / ANSWERS, schema.dump(found))
        files.replace_folder(aside, folder)
    return found


def _answers(file: Path, names: list[str], lumas: np.ndarray) -> tuple[dict[str, tuple[float, ...]], str | None]:
    """A file's logits by picture's name; none, and why, when it gives no answer."""
    try:
        logits = run_model(Model(file), lumas)
    except UserError as error:
        return {}, str(error).removeprefix(f"{file}: ")
    return {name: tuple(round(float(v), DIGITS) for v in one) for name, one in zip(names, logits, strict=True)}, None


def _written(run: runs.Run, lumas: np.ndarray, work: Path, wanted: Sequence[Variant]) -> dict[str, Path]:
    recipe, preprocess, centre = run.meta.recipe.convert, run.meta.recipe.preprocess, 0
    if set(wanted) - {"int8-full"}:
        write_float_onnx(run.network, preprocess, work / FLOAT_ONNX)
    if "int8-full" in wanted:
        centre = write_int8_onnx(run.network, recipe, preprocess, lumas, work / INT8_ONNX)
    np.save(work / "calibration.npy", lumas)
    onnx_files = [str(work / name) for name in (FLOAT_ONNX, INT8_ONNX)]
    job = tflite.Job(*onnx_files, centre, (str(work / "calibration.npy"),), how_of(recipe))
    return tflite.write_variants(job, work / "tflite", wanted, work / "log")


def kept(cls: type[T], path: Path) -> T | None:
    """A `cls` that was kept as JSON; None when there is none. Raises UserError when the file is something else."""
    if not path.is_file():
        return None
    try:
        return schema.load(cls, json.loads(path.read_text(encoding="utf-8")), path)
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); remove its folder, and it is made anew.") from error
