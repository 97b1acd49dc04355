"""A full-integer TFLite model from a set-up converter: ranges, int8, biases, and what noise is left."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow import lite
from tensorflow.lite.python import convert as tf_convert

from convert.quantise import noise
from convert.quantise.bias import corrected
from convert.quantise.portable import clear_of_ties
from convert.quantise.ranges import TAIL, least_error, observe, with_ranges
from convert.spread import spread

NOISE_PICTURES = 16  # of the calibration set, for the table of layers


@dataclass(frozen=True)
class How:
    """How a model is quantised.

    ranges: `observed`, `clipped`, of `least-error`, or `tensorflow`: the calibrator's own. bias_pictures: so many
    correct the biases, 0: none do. per_channel: False is for comparison and for planted faults.
    """

    ranges: str = "observed"
    bias_pictures: int = 0
    per_channel: bool = True


def quantise(
    converter: Any, samples: list[np.ndarray], input_type: Any, output_type: Any, how: How
) -> tuple[bytes, list[noise.Noise]]:
    """(int8 weights per channel and int8 activations, the noise of each layer).

    converter: a lite.TFLiteConverter. samples: model inputs (1, H, W, C) float32, the calibration set. input_type,
    output_type: tf.int8.
    """
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    if how.ranges == "least-error":
        calibrated = with_ranges(calibrated, least_error(calibrated, samples))
    elif how.ranges != "tensorflow":
        calibrated = with_ranges(calibrated, observe(calibrated, samples, TAIL if how.ranges == "clipped" else 0.0))
    quantised = tf_convert.mlir_quantize(
        calibrated,
        fully_quantize=True,
        input_data_type=input_type,
        output_data_type=output_type,
        disable_per_channel=not how.per_channel,
    )
    quantised = clear_of_ties(quantised)
    if how.bias_pictures:
        quantised = corrected(
            calibrated, quantised, samples, [samples[i] for i in spread(len(samples), how.bias_pictures)]
        )
    return quantised, noise.of_layers(calibrated, quantised, [samples[i] for i in spread(len(samples), NOISE_PICTURES)])
