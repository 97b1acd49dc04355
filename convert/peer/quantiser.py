"""Google's ai-edge-quantizer on our float32 file: the peer that our quantiser (`convert.quantise`) is measured by.

From a float32 TFLite file it writes a full-integer one: int8 weights per channel, int8 activations, input and output.

    python quantiser.py FLOAT32.tflite LUMA.npy OUTPUT.tflite RANGES [--centre N] [--silent-channels]

It runs in an environment of its own (requirements.txt beside it; `convert.peer.environment` makes one), because
ai-edge-quantizer wants another ai-edge-litert, numpy and protobuf than onnx2tf and than the device; so it imports
nothing of busi-kd.

RANGES says where the activations' ranges come from:

    moving-average   the quantiser's own way: each picture moves the ranges by a twentieth, so the order counts
    min-max          the quantiser's other way: least and greatest value over all pictures
    FILE.tflite      exactly those of another int8 file that was made from the same float32 file

The input's range is always that of luma, so that the device can hand its bytes over as they are.

--silent-channels gets round a defect of 0.10.0. A channel whose weights are all zero (training leaves MobileNetV3 with
dozens) gets the least weight scale there is; its bias, counted in input scale x weight scale, does not fit into int32
and is cast unchecked: every such bias becomes slightly negative, and a numpy RuntimeWarning is all that is said. What
was a gate of squeeze-and-excite that is always open is then always shut. TensorFlow's quantiser widens such a scale
until the bias is 2^30; the option gives such a channel one weight in the float model that has the same effect, and
moves its results by at most 3e-5 of the bias.
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path

import numpy as np
from ai_edge_quantizer import Quantizer, calibrator, qtyping, recipe, recipe_manager
from ai_edge_quantizer.utils import qsv_utils, tfl_flatbuffer_utils, tfl_interpreter_utils

MOST = 2.0**30  # what a bias may become in int32, as in TensorFlow's quantiser
CHANNEL_AXIS = {
    qtyping.TFLOperationName.CONV_2D: 0,
    qtyping.TFLOperationName.DEPTHWISE_CONV_2D: 3,
    qtyping.TFLOperationName.FULLY_CONNECTED: 0,
}
WAYS = ("moving-average", "min-max")

Ranges = dict[str, dict[str, np.ndarray]]  # tensor name -> {"min": ..., "max": ...}, arrays of the tensor's rank


class Unusable(Exception):
    """A file or value that the user can mend: one sentence, exit status 2."""


def main(arguments: list[str]) -> None:
    """Quantise one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("float32", type=Path, help="float32 .tflite file, one input (1, H, W, 1), one signature")
    parser.add_argument("calibration", type=Path, help=".npy of (N, H, W) luma 0..255")
    parser.add_argument("output", type=Path, help="int8 .tflite file to write")
    parser.add_argument("ranges", help=f"{', '.join(WAYS)}, or an int8 .tflite file whose ranges are taken over")
    parser.add_argument("--centre", type=int, default=0, help="what the float32 file's input is less than luma")
    parser.add_argument("--silent-channels", action="store_true", help="keep the biases of channels without weights")
    args = parser.parse_args(arguments)
    model = _read(args.float32)
    name, shape = _input(args.float32, model)
    samples = _samples(args.calibration, name, shape, args.centre)
    with contextlib.redirect_stdout(io.StringIO()):  # a report of sizes
        ranges = find_ranges(model, samples, args.ranges)
        _give(ranges, _input_tensor(model), 0.0 - args.centre, 255.0 - args.centre)
        if args.silent_channels:
            channels = widen_silent_channels(model, ranges)
            print(f"quantiser: {channels} channels got a weight that lets their bias fit.", file=sys.stderr)
        done = Quantizer(model, recipe.static_wi8_ai8()).quantize(ranges, enable_progress_bar=False)
    try:
        args.output.write_bytes(done.quantized_model)
    except OSError as error:
        raise Unusable(f"{args.output} cannot be written: {error.strerror}.") from error


def find_ranges(model: bytearray, samples: list[dict[str, np.ndarray]], how: str) -> Ranges:
    """samples: one {input name: (1, H, W, 1) float32} a picture. how: see the module's docstring."""
    if how == "moving-average":
        return _observe(model, samples)
    if how == "min-max":
        return _observe(model, samples, qsv_update_func=qsv_utils.min_max_update)
    # One picture tells which tensors need a range, and in which form.
    ranges = _observe(model, samples[:1])
    for tensor, (low, high) in _of_file(Path(how), set(ranges)).items():
        _give(ranges, tensor, low, high)
    return ranges


def _give(ranges: Ranges, tensor: str, low: float, high: float) -> None:
    ranges[tensor]["min"] = np.full_like(ranges[tensor]["min"], low)
    ranges[tensor]["max"] = np.full_like(ranges[tensor]["max"], high)


def widen_silent_channels(model: bytearray, ranges: Ranges) -> int:
    """Give channels whose bias would not fit into int32 a weight with which it does, in `model` itself; how many."""
    parsed, changed = tfl_flatbuffer_utils.read_model(model), 0
    tensors, buffers = parsed.subgraphs[0].tensors, parsed.buffers
    for op in parsed.subgraphs[0].operators:
        kind = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(parsed.operatorCodes[op.opcodeIndex].builtinCode)
        if kind not in CHANNEL_AXIS or len(op.inputs) < 3 or op.inputs[2] < 0:
            continue
        # Views of `model`, because it is a bytearray: what is written here is written there.
        weights, bias = (tfl_flatbuffer_utils.get_tensor_data(tensors[n], buffers) for n in op.inputs[1:3])
        known = ranges[tfl_flatbuffer_utils.get_tensor_name(tensors[op.inputs[0]])]
        width = max(float(np.max(known["max"])), 0.0) - min(float(np.min(known["min"])), 0.0)
        scale = max(width, 1e-9) / 255  # as the quantiser will take it
        channels = np.moveaxis(weights, CHANNEL_AXIS[kind], 0)
        least = 127 * np.abs(bias) / (scale * MOST)
        for number in np.flatnonzero(np.abs(channels).max(axis=tuple(range(1, channels.ndim))) < least):
            channels[(number, *[0] * (channels.ndim - 1))] = least[number]
            changed += 1
    return changed


def _observe(model: bytearray, samples: list[dict[str, np.ndarray]], **how) -> Ranges:
    """The quantiser's own observation; `Quantizer.calibrate` takes no update rule, the class behind it does."""
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    observer = calibrator.Calibrator(bytes(model), num_threads=1, **how)
    # A list, not a generator: the quantiser counts the pictures first, and would find none left.
    observer.calibrate({_signature(model): samples}, rules)
    return observer.get_model_qsvs()


def _of_file(path: Path, wanted: set[str]) -> dict[str, tuple[float, float]]:
    """The ranges that scales and zero points of an int8 file stand for."""
    if path.suffix != ".tflite":
        raise Unusable(f"{str(path)!r} is no way to ranges: use {', '.join(WAYS)}, or an int8 .tflite file.")
    interpreter = tfl_interpreter_utils.create_tfl_interpreter(_read(path), use_xnnpack=False, num_threads=1)
    ranges = {}
    for one in interpreter.get_tensor_details():
        scale, zero = one["quantization"]
        if one["name"] in wanted and one["dtype"] == np.int8 and scale:
            ranges[one["name"]] = ((-128 - zero) * scale, (127 - zero) * scale)
    if missing := wanted - set(ranges):
        raise Unusable(f"{path} has no int8 range for {len(missing)} of {len(wanted)} tensors, such as {min(missing)}.")
    return ranges


def _read(path: Path) -> bytearray:
    try:
        return bytearray(path.read_bytes())
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}.") from error


def _input(path: Path, model: bytearray) -> tuple[str, tuple[int, ...]]:
    """Name in the signature, and shape, of the only input."""
    try:
        runner = tfl_interpreter_utils.create_tfl_interpreter(model, num_threads=1).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise Unusable(f"{path} is no TFLite file with one signature: {error}.") from error
    inputs = list(runner.get_input_details().items())
    if len(inputs) != 1 or inputs[0][1]["dtype"] != np.float32:
        raise Unusable(f"{path} does not take one float32 input: give the float32 file.")
    return inputs[0][0], tuple(int(side) for side in inputs[0][1]["shape"])


def _input_tensor(model: bytearray) -> str:
    interpreter = tfl_interpreter_utils.create_tfl_interpreter(model, use_xnnpack=False, num_threads=1)
    return interpreter.get_input_details()[0]["name"]


def _signature(model: bytearray) -> str:
    return next(iter(tfl_interpreter_utils.create_tfl_interpreter(model, num_threads=1).get_signature_list()))


def _samples(path: Path, name: str, shape: tuple[int, ...], centre: int) -> list[dict[str, np.ndarray]]:
    try:
        pictures = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Unusable(f"{path} cannot be read as an array (.npy).") from error
    if pictures.ndim != 3 or not len(pictures) or shape != (1, *pictures.shape[1:], 1):
        raise Unusable(f"{path} has shape {pictures.shape}, the model takes {shape}: give (N, H, W) of that size.")
    return [{name: picture[None, :, :, None].astype(np.float32) - centre} for picture in pictures]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Unusable as error:
        print(f"quantiser: {error}", file=sys.stderr)
        sys.exit(2)
