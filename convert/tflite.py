"""ONNX -> TFLite float32, float16, int8-dynamic, int8-full, in a process of its own.

TensorFlow beside torch in one process costs memory and prints pages of notes; the child's output goes to a log file
and its last lines are shown only when it fails. Run as `python -m convert.tflite ONNX CALIBRATION.npy FOLDER`.
"""

import os
import subprocess
import sys
from pathlib import Path

from device.bundle import VARIANTS
from device.errors import UserError


def write_variants(onnx: Path, calibration: Path, folder: Path) -> dict[str, Path]:
    """Write the four variants into `folder`; returns variant -> file.

    calibration: .npy of (N, H, W) uint8 luma. Raises UserError with the converter's last line when it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "convert.log"
    # Absolute, because the child works in `folder`: onnx2tf drops files into the working directory.
    command = [sys.executable, "-m", "convert.tflite", *(str(p.absolute()) for p in (onnx, calibration, folder))]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    with open(log, "wb") as stream:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    files = {variant: folder / f"{variant}.tflite" for variant in VARIANTS}
    if done.returncode or not all(file.is_file() for file in files.values()):
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(f"{onnx}: the TFLite conversion failed ({lines[-1] if lines else 'no output'}); see {log}.")
    return files


def _convert(onnx: Path, calibration: Path, folder: Path) -> None:
    import numpy as np
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

    dynamic = tf.lite.TFLiteConverter.from_saved_model(str(model))
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "int8-dynamic.tflite").write_bytes(dynamic.convert())

    lumas = np.load(calibration)
    full = tf.lite.TFLiteConverter.from_saved_model(str(model))
    full.optimizations = [tf.lite.Optimize.DEFAULT]
    full.representative_dataset = lambda: ([luma[None, :, :, None].astype(np.float32)] for luma in lumas)
    full.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    full.inference_input_type, full.inference_output_type = tf.uint8, tf.int8
    (folder / "int8-full.tflite").write_bytes(full.convert())


if __name__ == "__main__":
    _convert(*(Path(argument) for argument in sys.argv[1:4]))
