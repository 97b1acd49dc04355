"""int8 activation ranges, observed by us: TensorFlow 2.19's own calibrator reads some of them too late.

The TFLite interpreter lets an element-wise operator write its result over its input. TensorFlow's calibrator looks at
that input afterwards and takes the result's values for the input's: on MobileNetV3 the first summand of every residual
addition and, worse, the first factor of every product come out with a range up to six times too wide, and that many
fewer int8 steps are left for what is really there. Here the calibrated model is run once more with every tensor kept,
and the ranges that it really had are written over the calibrator's before the model is quantised.
"""

import numpy as np

# Only imported inside the converter's child process: TensorFlow stands behind all three.
from tensorflow import lite
from tensorflow.lite.python import convert as tf_convert
from tensorflow.lite.tools import flatbuffer_utils


def quantise(
    converter: lite.TFLiteConverter, samples: list[np.ndarray], input_dtype, output_dtype, observed: bool = True
) -> bytes:
    """A full-integer TFLite model (int8 weights per channel, int8 activations) from a set-up converter.

    samples: model inputs (1, H, W, C) float32, the calibration set. input_dtype, output_dtype: tf.int8.
    observed: False keeps the calibrator's own ranges, for comparison.
    """
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    return tf_convert.mlir_quantize(
        with_ranges(calibrated, observe(calibrated, samples)) if observed else calibrated,
        fully_quantize=True,
        input_data_type=input_dtype,
        output_data_type=output_dtype,
    )


def observe(calibrated: bytes, samples: list[np.ndarray]) -> dict[int, tuple[float, float]]:
    """Least and greatest value of each calibrated tensor over `samples`: tensor number -> (min, max)."""
    tensors = flatbuffer_utils.convert_bytearray_to_object(bytearray(calibrated)).subgraphs[0].tensors
    ranges = {number: (np.inf, -np.inf) for number, tensor in enumerate(tensors) if _has_range(tensor)}
    interpreter = lite.Interpreter(
        model_content=calibrated,
        experimental_preserve_all_tensors=True,  # no result over an input
        experimental_op_resolver_type=lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    for sample in samples:
        interpreter.set_tensor(place, sample)
        interpreter.invoke()
        for number, (low, high) in ranges.items():
            values = interpreter.get_tensor(number)
            ranges[number] = (min(low, float(values.min())), max(high, float(values.max())))
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
