"""What each step towards int8 costs and gains, one on top of the other.

`python -m convert.int8_study STUDENT --data DATA` converts one student as many ways as there are steps, loads each file
with the device's interpreter and prints one row each: agreement with PyTorch on the held-out pictures, logit error,
accuracy and AUC minus PyTorch's, latency against float32 in interleaved rounds, and into how many pieces XNNPACK's
delegation leaves the graph. `--file NAME=FILE` adds a file that another converter wrote, `--peer FOLDER` what
ai-edge-quantizer makes of the float file of the last step.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from convert import calibration, tflite, two_heads
from convert.int8_network import how_of, write_float_onnx, write_int8_onnx
from convert.peer import environment
from convert.pipeline import FLOAT_ONNX, Subject, subject_of
from convert.script import ended
from convert.verify.examine import examine
from device import RESEARCH_NOTICE
from device.errors import UserError
from device.runtime import Model
from train.data.busi import read_dataset
from train.data.splits import Split
from train.evaluation.intervals import signed
from train.evaluation.models import candidate, run_model, split_of

ROUNDS, RUNS = 7, 60

# Each step keeps those above it.
_PLAIN = {
    "relu_activations": False,
    "fold": False,
    "equalise": False,
    "int8_ranges": "tensorflow",
    "int8_bias_pictures": 0,
    "int8_rounding": "nearest",
}
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as TensorFlow converts it", {}),
    ("activations through relu6", {"relu_activations": True}),
    ("ranges observed", {"int8_ranges": "observed"}),
    ("ranges clipped", {"int8_ranges": "clipped"}),
    ("ranges of least error", {"int8_ranges": "least-error"}),
    ("constants folded", {"fold": True}),
    ("channels equalised", {"equalise": True}),
    ("biases corrected", {"int8_bias_pictures": 40}),
    ("weights rounded together", {"int8_rounding": "together"}),
)
# Each of these is the last step with one thing otherwise.
BESIDE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("but weights with one scale per tensor", {"per_channel": False}),
    ("but the noisiest operator in float32", {"float_operators": 1}),
    ("but the three noisiest operators in float32", {"float_operators": 3}),
    ("but the eight noisiest operators in float32", {"float_operators": 8}),
)


# Whose ranges, and whether channels without weights keep their bias. OURS: those of the last step's file.
OURS = "ours"
PEER: tuple[tuple[str, str, bool], ...] = (
    ("ai-edge-quantizer", "moving-average", False),
    ("ai-edge-quantizer, biases kept", "moving-average", True),
    ("ai-edge-quantizer, biases kept, least and greatest values", "min-max", True),
    ("ai-edge-quantizer, biases kept, our ranges", OURS, True),
)


def main(arguments: list[str]) -> int:
    """Convert each way, measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m convert.int8_study", description=__doc__)
    parser.add_argument("student", type=Path, help="run folder of a trained student, or of two heads")
    parser.add_argument("--data", type=Path, required=True, help="data folder of the training")
    parser.add_argument(
        "--file", action="append", default=[], metavar="NAME=FILE", help="another int8 file; repeatable"
    )
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="its environment, made when it is not there")
    args = parser.parse_args(arguments)
    peer = environment.prepared(args.peer) if args.peer else None
    others = dict(named(text) for text in args.file)
    data = read_dataset(args.data)
    run = two_heads.load(args.student, data)
    split = split_of(candidate(run), data)
    subject = subject_of(run, split, run.meta.recipe.convert, None)
    with tempfile.TemporaryDirectory() as work:
        files = _convert(subject, split, Path(work), peer) | others
        models, broken = opened(files)
        latency = latencies(list(models.values()), subject.held_out.lumas)
        print(f"{RESEARCH_NOTICE} {len(subject.held_out.names)} held-out pictures against PyTorch.\n")
        print("| step | agree | root mean square of the logit error | accuracy | AUC | time, float32 = 1 | pieces |")
        print("|---|---|---|---|---|---|---|")
        for (name, model), seconds in zip(models.items(), latency):
            print(_row(name, model, seconds / latency[0], subject), flush=True)
        for name, why in broken.items():
            print(f"\n{name}: {why}")
    return 0


def named(text: str) -> tuple[str, Path]:
    """NAME=FILE taken apart. Raises UserError when one of the two is missing."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise UserError(f"--file {text}: write a name, '=' and the path of a .tflite file.")
    return name, Path(path)


def _row(name: str, model: Model, time_ratio: float, subject: Subject) -> str:
    answer = partial(run_model, model)
    size, temperature = model.path.stat().st_size, subject.theirs.temperature
    row, logits = examine(name, size, answer, subject.held_out, subject.hard, temperature, subject.recipe)
    error = float(np.sqrt(((logits - subject.held_out.reference) ** 2).mean()))
    lost = " | ".join(signed(found) for found in row.differences.values())
    return (
        f"| {name} | {100 * row.parity.agreement:.1f} % | {error:.3f} | {lost} | {time_ratio:.2f} | {pieces(model)} |"
    )


def opened(files: dict[str, Path]) -> tuple[dict[str, Model], dict[str, str]]:
    """(the models, why the others cannot be opened): XNNPACK does not take every file that a converter writes."""
    models, broken = {}, {}
    for name, path in files.items():
        try:
            models[name] = Model(path)
        except UserError as error:
            broken[name] = str(error).removeprefix(f"{path}: ")
    return models, broken


def _convert(subject: Subject, split: Split, work: Path, peer: Path | None) -> dict[str, Path]:
    """float32 and an int8-full file for each step. peer: the Python that has ai-edge-quantizer."""
    preprocess, recipe = subject.run.meta.recipe.preprocess, replace(subject.recipe, **_PLAIN)
    drawn, _ = calibration.draw(split.train, preprocess, recipe.calibration_pictures, subject.run.meta.recipe.seed)
    np.save(work / "calibration.npy", drawn.lumas)
    write_float_onnx(subject.run.network, preprocess, work / FLOAT_ONNX)
    files: dict[str, Path] = {}
    ways = [(name, change, {}) for name, change in STEPS] + [(name, {}, how) for name, how in BESIDE]
    for number, (name, change, how) in enumerate(ways):
        recipe, folder = replace(recipe, **change), work / str(number)
        folder.mkdir()
        centre = write_int8_onnx(subject.run.network, recipe, preprocess, drawn.lumas, folder / "student-int8.onnx")
        job = tflite.Job(
            str(work / FLOAT_ONNX),
            str(folder / "student-int8.onnx"),
            centre,
            (str(work / "calibration.npy"),),
            replace(how_of(recipe), **how),
            keep_float=peer is not None and name == STEPS[-1][0],
        )
        wanted = ["int8-full"] if files else ["float32", "int8-full"]
        made = tflite.write_variants(job, folder, wanted, work / "convert.log")
        if not files:
            files["float32"] = made["float32"]
        files[f"int8-full, {name}"] = made["int8-full"]
        if peer and name == STEPS[-1][0]:
            files |= _of_peer(peer, job, made["int8-full"], folder)
    return files


def _of_peer(peer: Path, job: tflite.Job, ours: Path, folder: Path) -> dict[str, Path]:
    files = {}
    for number, (name, ranges, silent) in enumerate(PEER):
        out = folder / f"peer-{number}.tflite"
        environment.quantise(
            peer,
            folder / tflite.FLOAT,
            Path(job.calibration[0]),
            out,
            str(ours) if ranges == OURS else ranges,
            job.centre,
            silent,
        )
        files[name] = out
    return files


def latencies(models: list[Model], lumas: np.ndarray) -> list[float]:
    """Median seconds of each model's thread per inference: the median of rounds' medians, the models in turn in every
    round. Of the thread, that other work on the machine counts less."""
    medians: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, collected in zip(models, medians):
            times = []
            for n in range(RUNS):
                begun = time.thread_time()
                model.logits(lumas[n % len(lumas)])
                times.append(time.thread_time() - begun)
            collected.append(float(np.median(times)))
    return [float(np.median(rounds)) for rounds in medians]


def pieces(model: Model) -> int:
    """Delegated parts of the graph: 1 means that XNNPACK runs all of it."""
    return sum(op["op_name"] == "DELEGATE" for op in model._interpreter._get_ops_details())


if __name__ == "__main__":
    ended(main)
