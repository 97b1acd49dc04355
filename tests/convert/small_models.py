"""TFLite files of a few operators, made by TensorFlow's own converter, and what its interpreter says of them."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import convert as tf_convert

Samples = list[np.ndarray]


def scaled(x: tf.Tensor, factor: float) -> tf.Tensor:
    """A 1x1 convolution that multiplies each of four channels by `factor`."""
    return tf.nn.conv2d(x, tf.constant(np.eye(4, dtype=np.float32)[None, None] * factor), 1, "SAME")


def converter_of(function: Callable, samples: Samples) -> tf.lite.TFLiteConverter:
    """A converter of a function of one tensor that has the samples' shape."""
    signature = [tf.TensorSpec(samples[0].shape, tf.float32)]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete])


def calibrated(function: Callable, samples: Samples) -> bytes:
    """The float model with the ranges of TensorFlow's calibrator."""
    converter = converter_of(function, samples)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter._experimental_calibrate_only = True
    return converter.convert()


def int8(model: bytes, per_channel: bool = True) -> bytes:
    """A calibrated model in int8 throughout."""
    return tf_convert.mlir_quantize(
        model,
        fully_quantize=True,
        input_data_type=tf.int8,
        output_data_type=tf.int8,
        disable_per_channel=not per_channel,
    )


def opened(content: bytes) -> tf.lite.Interpreter:
    """An interpreter that runs every operator by itself, as the file says."""
    kinds = tf.lite.experimental.OpResolverType
    interpreter = tf.lite.Interpreter(
        model_content=content, experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    return interpreter


def answers(content: bytes, samples: Samples) -> np.ndarray:
    """(samples, ...) outputs in real values, of a float or of an int8 model."""
    interpreter = opened(content)
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for sample in samples:
        if into["dtype"] == np.int8:
            scale, zero_point = into["quantization"]
            sample = np.clip(np.round(sample / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(into["index"], sample)
        interpreter.invoke()
        one = interpreter.get_tensor(out["index"])
        if out["dtype"] == np.int8:
            scale, zero_point = out["quantization"]
            one = (one.astype(np.float64) - zero_point) * scale
        found.append(one[0])
    return np.stack(found)
