"""int8 activation ranges, observed by us: TensorFlow 2.19's own calibrator reads some of them too late.

The TFLite interpreter lets an element-wise operator write its result over its input. TensorFlow's calibrator looks at
that input afterwards and takes the result's values for the input's: on MobileNetV3 the first summand of every residual
addition and, worse, the first factor of every product come out with a range up to six times too wide, and that many
fewer int8 steps are left for what is really there. Here the calibrated model is run once more with every tensor kept,
and the ranges that it really had are written over the calibrator's before the model is quantised.

A range from the least to the greatest value spends most of its 255 steps on a few extreme values: one in ten thousand
may be several times as large as all others. Clipped ranges leave those out.
"""

import numpy as np

# Only imported inside the converter's child process: TensorFlow stands behind all three.
from tensorflow import lite
from tensorflow.lite.python import convert as tf_convert
from tensorflow.lite.tools import flatbuffer_utils

TAIL = 5e-5  # of a picture's values at either end; a tenfold share agrees with the float network less often


def quantise(
    converter: lite.TFLiteConverter, samples: list[np.ndarray], input_dtype, output_dtype, how: str = "observed"
) -> bytes:
    """A full-integer TFLite model (int8 weights per channel, int8 activations) from a set-up converter.

    samples: model inputs (1, H, W, C) float32, the calibration set. input_dtype, output_dtype: tf.int8.
    how: `observed` ranges, `clipped` ones, or `tensorflow`: the calibrator's own, for comparison.
    """
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    if how != "tensorflow":
        calibrated = with_ranges(calibrated, observe(calibrated, samples, TAIL if how == "clipped" else 0.0))
    return tf_convert.mlir_quantize(
        calibrated,
        fully_quantize=True,
        input_data_type=input_dtype,
        output_data_type=output_dtype,
    )


def observe(calibrated: bytes, samples: list[np.ndarray], tail: float = 0.0) -> dict[int, tuple[float, float]]:
    """The range of each calibrated tensor over `samples`: tensor number -> (min, max).

    tail: share 0..1 of a sample's values that is left out at either end, before the least and greatest over all samples
    are taken; the model's own inputs and outputs keep all of theirs.
    """
    tensors = flatbuffer_utils.convert_bytearray_to_object(bytearray(calibrated)).subgraphs[0].tensors
    ranges = {number: (np.inf, -np.inf) for number, tensor in enumerate(tensors) if _has_range(tensor)}
    interpreter = lite.Interpreter(
        model_content=calibrated,
        experimental_preserve_all_tensors=True,  # no result over an input
        experimental_op_resolver_type=lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    whole = {one["index"] for one in (*interpreter.get_input_details(), *interpreter.get_output_details())}
    for sample in samples:
        interpreter.set_tensor(place, sample)
        interpreter.invoke()
        for number, (low, high) in ranges.items():
            values = interpreter.get_tensor(number)
            ends = (0.0, 1.0) if number in whole else (tail, 1.0 - tail)
            least, greatest = np.quantile(values, ends) if tail else (values.min(), values.max())
            ranges[number] = (min(low, float(least)), max(high, float(greatest)))
    return ranges


def with_ranges(calibrated: bytes, ranges: dict[int, tuple[float, float]]) -> bytes:
    """The calibrated model with these ranges in place of the calibrator's."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(calibrated))
    for number, (low, high) in ranges.items():
        quantisation = model.subgraphs[0].tensors[number].quantization
        quantisation.min, quantisation.max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _has_range(tensor) -> bool:
    return tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min) == 1
