"""Weights of one channel that are too large beside its neighbours.

An int8 layer's sums are multiplied by a factor: input scale * weight scale / output scale. Where a channel is next to
silent while others of its tensor are loud, its input is a fraction of a step and the weights that undo it are enormous:
from a factor of 2 on, one step of its input through its largest weight crosses all of int8's range. The input of such a
channel never moves by a step, and its bias, which is stored in steps of the factor, is lost. From 256 on XNNPACK does
not even open the file.
"""

import numpy as np

from convert.quantise.flat import WEIGHTED, Flat, Layer

MOST, LOUD = 255.0, 2.0


def within_reach(quantised: bytes) -> bytes:
    """The int8 model with no factor above LOUD in depthwise convolutions and none above MOST elsewhere; the very same
    bytes where none is.

    A channel of a depthwise convolution hears one channel: where that is silent, its weights become zero and its bias,
    now in steps of the output, says all (bias.corrected sets the mean right). Elsewhere a channel hears others, too,
    and the scale of its weights is cut: from a factor of 255 on, the smallest sum that is not zero crosses the whole
    range, so what saturates saturates still. Biases keep their values as far as int32 holds them.
    """
    flat, changed = Flat(quantised), False
    for layer in flat.layers():
        if layer.kind not in WEIGHTED or not flat.is_int8(layer.output) or not flat.is_int8(layer.inputs[0]):
            continue
        source, output = (float(flat.quantisation(n)[0]) for n in (layer.inputs[0], layer.output))
        scales = np.asarray(flat.tensors[layer.inputs[1]].quantization.scale, np.float64)
        factors = scales * source / output
        apart = layer.kind == "DEPTHWISE_CONV_2D" and len(scales) > 1
        beyond = factors > (LOUD if apart else MOST)
        if not beyond.any():
            continue
        changed = True
        if apart:
            _silence(flat, layer, beyond)
            over = np.where(beyond, factors, 1.0)
        else:
            over = np.maximum(1.0, factors / MOST)
        _rescale(flat, layer, source, scales, over)
    return flat.content() if changed else quantised


def _silence(flat: Flat, layer: Layer, channels: np.ndarray) -> None:
    weights = flat.constant(layer.inputs[1]).reshape(flat.shape(layer.inputs[1])).copy()  # (1, kh, kw, C)
    weights[..., channels] = 0
    flat.set_constant(layer.inputs[1], weights)


def _rescale(flat: Flat, layer: Layer, source: float, scales: np.ndarray, over: np.ndarray) -> None:
    """Divide the weights' scales (C,) by `over`, and keep the real values of the biases."""
    cut = (scales / over).astype(np.float32)
    flat.tensors[layer.inputs[1]].quantization.scale = cut
    if layer.has_bias:
        stored, _ = flat.bias(layer)
        most = np.iinfo(np.int32)
        flat.set_bias(layer, np.clip(np.round(stored * over), most.min, most.max))
        flat.tensors[layer.inputs[2]].quantization.scale = (source * cut).astype(np.float32)
