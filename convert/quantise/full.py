"""A full-integer TFLite model from a set-up converter: ranges, int8, weights, biases, and what noise is left."""

from functools import partial
from typing import Any

import numpy as np
from tensorflow import lite
from tensorflow.lite.python import convert as tf_convert

from convert.quantise import noise
from convert.quantise.bias import corrected
from convert.quantise.flat import Flat
from convert.quantise.how import How
from convert.quantise.portable import clear_of_ties
from convert.quantise.ranges import TAIL, least_error, observe, with_ranges
from convert.quantise.reach import within_reach
from convert.quantise.rounding import rounded_together
from convert.quantise.slim import slim
from convert.quantise.stem import merge_columns
from convert.spread import spread

NOISE_PICTURES = 16  # of the calibration set, for the table of layers


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
    few = [samples[i] for i in spread(len(samples), NOISE_PICTURES)]
    int8 = partial(
        tf_convert.mlir_quantize,
        calibrated,
        fully_quantize=True,
        input_data_type=input_type,
        output_data_type=output_type,
        disable_per_channel=not how.per_channel,
    )
    quantised = int8()
    if how.float_operators:
        quantised = int8(denylisted_nodes=_noisiest(calibrated, quantised, few, how.float_operators))
    if how.rounding == "together":
        quantised = rounded_together(calibrated, quantised, samples)
    quantised = clear_of_ties(within_reach(quantised))
    if how.bias_pictures:
        quantised = corrected(
            calibrated, quantised, samples, [samples[i] for i in spread(len(samples), how.bias_pictures)]
        )
    found = noise.of_layers(calibrated, quantised, few)
    quantised = merge_columns(quantised)
    return (slim(quantised) if how.slim else quantised), found


def _noisiest(calibrated: bytes, quantised: bytes, samples: list[np.ndarray], count: int) -> set[str]:
    """Names of the `count` operators with the least signal for their noise."""
    flat, found = Flat(quantised), noise.of_layers(calibrated, quantised, samples)
    worst = sorted((layer for layer in found if layer.decibel is not None), key=lambda layer: layer.decibel)
    layers = flat.layers()
    return {flat.tensors[layers[layer.number].output].name.decode() for layer in worst[:count]}
