"""Pictures and small TFLite files for the tests of the interpreter."""

from collections.abc import Callable

import numpy as np
from tiny_bundle import SIZE, _calibration


def flat(luma: int) -> np.ndarray:
    """A picture of one grey level."""
    return np.full((SIZE, SIZE), luma, np.uint8)


def pictures() -> list[np.ndarray]:
    """Noise, a ramp, and single grey levels."""
    noise = np.random.default_rng(3).integers(0, 256, (4, SIZE, SIZE), dtype=np.uint8)
    ramp = np.tile(np.linspace(0, 255, SIZE).astype(np.uint8), (SIZE, 1))
    return [*noise, noise[0] // 3, ramp, *map(flat, (0, 40, 84, 128, 216, 255))]


def tflite(
    function: Callable,
    *shapes: tuple,
    dtype: str = "float32",
    int8: str | None = None,
    top: float = 255.0,
    centre: float = 0.0,
) -> bytes:
    """A real TFLite file of `function`; int8: quantised with this input type, calibrated on -centre..top - centre.

    Without `int8`, operations that TFLite itself lacks are written as TensorFlow's.
    """
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, dtype) for shape in shapes]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(function).get_concrete_function(*specs)])
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.dtypes.as_dtype(int8), tf.int8
        converter.representative_dataset = lambda: (
            [picture * np.float32(top / 255.0) - np.float32(centre) for picture in one] for one in _calibration()
        )
    else:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter.convert()
