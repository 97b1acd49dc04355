"""What int8 costs and gains: hard-swish as it is or through relu6; ranges of TensorFlow, observed, or clipped.

`python -m convert.int8_study STUDENT --data DATA` converts one student six ways, loads each file with
the device's interpreter and prints one row each: agreement with PyTorch on the held-out pictures, test metrics,
latency in interleaved rounds, and into how many pieces XNNPACK's delegation leaves the graph.
"""

import argparse
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from convert import calibration, export, tflite, verify
from device import RESEARCH_NOTICE
from device.errors import UserError
from device.runtime import Model
from train import fit, runs
from train.data.busi import CLASSES, load_lumas, read_dataset
from train.data.torch_data import targets_of
from train.evaluation.metrics import measure, percent
from train.evaluation.models import candidate, split_of

ROUNDS, RUNS = 7, 60


def main(arguments: list[str]) -> int:
    """Convert each way, measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m convert.int8_study", description=__doc__)
    parser.add_argument("student", type=Path, help="run folder of a trained student")
    parser.add_argument("--data", type=Path, required=True, help="data folder of the training")
    args = parser.parse_args(arguments)
    run = runs.load_run(args.student, "student")
    data = read_dataset(args.data)
    split = split_of(candidate(run), data)
    preprocess, pictures = run.meta.recipe.preprocess, split.val + split.test
    lumas, names = load_lumas(pictures, preprocess), [picture.name for picture in pictures]
    reference, test = fit.predict(run.network, lumas), slice(len(split.val), None)
    drawn = calibration.draw(
        split.train, preprocess, run.meta.recipe.convert.calibration_pictures, run.meta.recipe.seed
    )
    with tempfile.TemporaryDirectory() as work:
        models = _convert(run, (preprocess.height, preprocess.width), drawn.lumas, Path(work))
        latency = _latencies(list(models.values()), lumas)
        print(f"{RESEARCH_NOTICE} {len(names)} held-out pictures against PyTorch; {len(split.test)} test pictures.\n")
        print("| activations, ranges | agree | mean logit difference | accuracy | AUC | ms, 1 thread | pieces |")
        print("|---|---|---|---|---|---|---|")
        for (name, model), ms in zip(models.items(), latency):
            logits = np.stack([model.logits(luma) for luma in lumas])
            parity = verify.compare(reference, logits, names, CLASSES)
            found = measure(logits[test], targets_of(split.test), split.groups(split.test))
            metrics = " | ".join(percent(found[metric]) for metric in ("accuracy", "auc_benign_malignant"))
            cells = f"{100 * parity.agreement:.1f} % | {parity.mean_difference:.3f} | {metrics}"
            print(f"| {name} | {cells} | {ms:.2f} | {_pieces(model)} |")
    return 0


def _convert(run: runs.Run, size: tuple[int, int], lumas: np.ndarray, work: Path) -> dict[str, Model]:
    """Float32 and the int8-full files, opened."""
    np.save(work / "calibration.npy", lumas)
    models = {}
    for relu, ranges in product((False, True), ("tensorflow", "observed", "clipped")):
        name = f"{'relu6' if relu else 'hard-swish'}, {ranges}"
        folder = work / name
        folder.mkdir()
        export.export_onnx(export.deployable(run.network, relu), size, folder / "student.onnx")
        made = tflite.write_variants(
            folder / "student.onnx",
            work / "calibration.npy",
            folder,
            ["float32", "int8-full"],
            work / "convert.log",
            ranges,
        )
        if not models:
            models["float32, hard-swish"] = Model(made["float32"])
        models[f"int8-full, {name}"] = Model(made["int8-full"])
    return models


def _latencies(models: list[Model], lumas: np.ndarray) -> list[float]:
    """Median ms per inference of each model: the median of rounds' medians, the models in turn in every round."""
    medians: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, collected in zip(models, medians):
            times = []
            for n in range(RUNS):
                begun = time.perf_counter()
                model.logits(lumas[n % len(lumas)])
                times.append(time.perf_counter() - begun)
            collected.append(1e3 * float(np.median(times)))
    return [float(np.median(rounds)) for rounds in medians]


def _pieces(model: Model) -> int:
    """Delegated parts of the graph: 1 means that XNNPACK runs all of it."""
    return sum(op["op_name"] == "DELEGATE" for op in model._interpreter._get_ops_details())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"busi-kd: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
