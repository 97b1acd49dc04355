"""ONNX -> TFLite float32, float16, int8-dynamic, int8-full, in a process of its own.

TensorFlow beside torch in one process costs memory and prints pages of notes; the child's output goes to a log file
and its last line is shown only when it fails. It also lends the interpreter operators that the Pi does not have, so the
parent, which verifies the files, must be free of it.

Run as `python -m convert.tflite JOB.json`, which `write_variants` does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convert.quantise.how import How
from device.bundle import Variant
from device.errors import UserError

AGAIN = "int8-full-again"  # int8-full from the second draw of calibration pictures
NOISE = "noise.json"
FLOAT = "int8-float.tflite"  # what int8-full is quantised from, for another quantiser


@dataclass(frozen=True)
class Job:
    """What the child converts. Paths are absolute.

    onnx: the float network of luma 0..255. int8_onnx: the network of luma - centre that int8-full is made from.
    calibration: .npy files of (N, H, W) uint8 luma; of the second, where there is one, int8-full is made again.
    keep_float: FLOAT is written beside int8-full.
    """

    onnx: str
    int8_onnx: str
    centre: int
    calibration: tuple[str, ...]
    how: How = field(default_factory=How)
    keep_float: bool = False


def write_variants(job: Job, folder: Path, wanted: Sequence[Variant], log: Path) -> dict[str, Path]:
    """Write the wanted variants into `folder`; returns name -> file: the variants, and AGAIN for a second calibration.

    With int8-full, NOISE in `folder` holds the noise of its layers. log: file for the converters' output. Raises
    UserError with its last line when they fail.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps({**asdict(job), "wanted": list(wanted)}))
    root = str(Path(__file__).resolve().parent.parent)
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    with open(log, "wb") as stream:  # the child works in `folder`: onnx2tf drops files into the working directory
        call = [sys.executable, "-m", "convert.tflite", str(path)]
        done = subprocess.run(call, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    names = [*wanted, *([AGAIN] if "int8-full" in wanted and len(job.calibration) > 1 else [])]
    files = {name: folder / f"{name}.tflite" for name in names}
    if done.returncode or not all(file.is_file() for file in files.values()):
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(
            f"the TFLite conversion failed ({lines[-1] if lines else 'no output'}); the reason is in {log}."
        )
    return files


def _convert(job: Job, folder: Path, wanted: Sequence[str]) -> None:
    if set(wanted) - {"int8-full"}:
        model = _saved_model(Path(job.onnx), folder)
        (model / f"{Path(job.onnx).stem}_float32.tflite").replace(folder / "float32.tflite")
        (model / f"{Path(job.onnx).stem}_float16.tflite").replace(folder / "float16.tflite")
        if "int8-dynamic" in wanted:
            _int8_dynamic(model, folder / "int8-dynamic.tflite")
    if "int8-full" in wanted:
        model = _saved_model(Path(job.int8_onnx), folder)
        noise = _int8_full(model, job, job.calibration[0], folder / "int8-full.tflite")
        (folder / NOISE).write_text(json.dumps([asdict(layer) for layer in noise]))
        if job.keep_float:
            _float(model, folder / FLOAT)
        for again in job.calibration[1:]:
            _int8_full(model, job, again, folder / f"{AGAIN}.tflite")


def _saved_model(onnx: Path, folder: Path) -> Path:
    import onnx2tf

    model = folder / onnx.stem
    # One input channel: for three, onnx2tf would fetch sample pictures from the internet first.
    onnx2tf.convert(
        input_onnx_file_path=str(onnx),
        output_folder_path=str(model),
        output_signaturedefs=True,
        copy_onnx_input_output_names_to_tflite=True,
        non_verbose=True,
    )
    return model


def _float(model: Path, path: Path) -> None:
    """By the same converter as int8-full, which names tensors otherwise than onnx2tf."""
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(model)).convert())


def _int8_dynamic(model: Path, path: Path) -> None:
    """Weights in int8, activations in float32 and quantised on the fly."""
    import tensorflow as tf

    dynamic = tf.lite.TFLiteConverter.from_saved_model(str(model))
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(dynamic.convert())


def _int8_full(model: Path, job: Job, calibration: str, path: Path) -> list[Any]:
    """Everything in int8; takes luma - 128 as int8, gives int8 logits. Returns the noise of its layers."""
    import tensorflow as tf

    from convert.quantise.full import quantise

    samples = [luma[None, :, :, None].astype(np.float32) - job.centre for luma in np.load(calibration)]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model))
    content, noise = quantise(converter, samples, tf.int8, tf.int8, job.how)
    path.write_bytes(content)
    return noise


if __name__ == "__main__":
    _told = json.loads(Path(sys.argv[1]).read_text())
    _wanted = _told.pop("wanted")
    _told["how"] = How(**_told["how"])
    _convert(Job(**_told), Path(sys.argv[1]).parent, _wanted)
