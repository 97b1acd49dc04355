"""ONNX -> TFLite float32, float16, int8-dynamic, int8-full, in a process of its own.

TensorFlow beside torch in one process costs memory and prints pages of notes; the child's output goes to a log file
and its last line is shown only when it fails. It also lends the interpreter operators that the Pi does not have, so the
parent, which verifies the files, must be free of it.

Run as `python -m convert.tflite ONNX CALIBRATION.npy FOLDER RANGES VARIANT...`.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device.bundle import Variant
from device.errors import UserError


def write_variants(
    onnx: Path, calibration: Path, folder: Path, wanted: Sequence[Variant], log: Path, int8_ranges: str = "observed"
) -> dict[Variant, Path]:
    """Write the wanted variants into `folder`; returns variant -> file. int8_ranges: see ConvertRecipe.

    calibration: .npy of (N, H, W) uint8 luma. log: file for the converters' output. Raises UserError with its last line
    when they fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Absolute, because the child works in `folder`: onnx2tf drops files into the working directory.
    paths = [str(path.absolute()) for path in (onnx, calibration, folder)]
    command = [sys.executable, "-m", "convert.tflite", *paths, int8_ranges, *wanted]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    with open(log, "wb") as stream:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    files = {variant: folder / f"{variant}.tflite" for variant in wanted}
    if done.returncode or not all(file.is_file() for file in files.values()):
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(
            f"the TFLite conversion failed ({lines[-1] if lines else 'no output'}); the reason is in {log}."
        )
    return files


def _convert(onnx: Path, calibration: Path, folder: Path, int8_ranges: str, wanted: Sequence[str]) -> None:
    import onnx2tf
    import tensorflow as tf

    model = folder / "saved_model"
    # One input channel: for three, onnx2tf would fetch sample pictures from the internet first.
    onnx2tf.convert(
        input_onnx_file_path=str(onnx),
        output_folder_path=str(model),
        output_signaturedefs=True,
        copy_onnx_input_output_names_to_tflite=True,
        non_verbose=True,
    )
    (model / f"{onnx.stem}_float32.tflite").replace(folder / "float32.tflite")
    (model / f"{onnx.stem}_float16.tflite").replace(folder / "float16.tflite")

    if "int8-dynamic" in wanted:
        _int8_dynamic(tf, model, folder / "int8-dynamic.tflite")
    if "int8-full" in wanted:
        _int8_full(tf, model, np.load(calibration), folder / "int8-full.tflite", int8_ranges)


def _int8_dynamic(tf: Any, model: Path, path: Path) -> None:
    """Weights in int8, activations in float32 and quantised on the fly."""
    dynamic = tf.lite.TFLiteConverter.from_saved_model(str(model))
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(dynamic.convert())


def _int8_full(tf: Any, model: Path, lumas: np.ndarray, path: Path, how: str) -> None:
    """Everything in int8, ranges from `lumas` (N, H, W) uint8; takes luma - 128 as int8, gives int8 logits."""
    from convert import ranges

    samples = [luma[None, :, :, None].astype(np.float32) for luma in lumas]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model))
    path.write_bytes(ranges.quantise(converter, samples, tf.int8, tf.int8, how))


if __name__ == "__main__":
    _convert(*(Path(argument) for argument in sys.argv[1:4]), sys.argv[4], sys.argv[5:])
