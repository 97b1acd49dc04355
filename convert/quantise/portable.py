"""The same int8 answers on x86-64 and on Arm: output scales for which no product or mean falls between two int8 values.

XNNPACK rounds convolutions and sums alike everywhere, but the product of two tensors in fixed point on Arm and in
float32 on x86-64, and means not alike either. Where the exact result lies within about 1e-4 of the middle between two
int8 values, the two fall on different sides, and later layers make more of it (docs/arm.md). int8 inputs can only give
so many products and sums; a scale moved by a thousandth at most keeps all of them clear of the middle.
"""

import numpy as np

from convert.quantise.flat import Flat, Layer

_CLEAR = 5e-5  # of a step: how near to the middle the two ways of computing a product may differ
_ULPS = 1.05  # of 128 * input scale / output scale, in float32: the same for a mean, which is rounded once more
_FINEST, _MOVES = 1e-6, 1_000  # relative; a scale is moved by _FINEST * _MOVES at most


def clear_of_ties(quantised: bytes) -> bytes:
    """The quantised model with output scales of MUL and MEAN moved so little that only near-ties are decided otherwise.

    Raises ValueError when no such scale is found for an operator: the file would answer otherwise on Arm.
    """
    flat = Flat(quantised)
    for number, layer in enumerate(flat.layers()):
        if not flat.is_int8(layer.output):
            continue
        if layer.kind == "PAD":  # hands its input's scale on
            flat.set_scale(layer.output, flat.quantisation(layer.inputs[0])[0])
        elif layer.kind in ("MUL", "MEAN"):
            flat.set_scale(layer.output, _clear_scale(flat, number, layer))
    return flat.content()


def _clear_scale(flat: Flat, number: int, layer: Layer) -> np.float32:
    scale, zero_point = flat.quantisation(layer.output)
    reachable, unit = _products(flat, layer) if layer.kind == "MUL" else _sums(flat, layer)
    low, high = -129 - zero_point, 128 - zero_point  # beyond them everything saturates alike
    clear = _CLEAR if layer.kind == "MUL" else _ULPS * np.spacing(np.float32(128 * _ratio(flat, layer)))
    for move in range(_MOVES):
        tried = np.float32(float(scale) * (1 + _FINEST * move * (1 if move % 2 else -1)))
        steps = reachable * float(np.float32(unit) / tried)
        steps = steps[(steps > low) & (steps < high)]
        if not steps.size or np.abs(steps - np.floor(steps) - 0.5).min() > clear:
            return tried
    raise ValueError(f"operator {number} ({layer.kind}): no output scale keeps its results clear of ties.")


def _products(flat: Flat, layer: Layer) -> tuple[np.ndarray, np.float32]:
    """(every integer product that a MUL's inputs can give, the real value of 1)."""
    factors, unit = [], np.float32(1)
    for tensor in layer.inputs:
        scale, zero_point = flat.quantisation(tensor)
        held = flat.constant(tensor)
        values = np.arange(-128, 128) if held is None else np.unique(held).astype(np.int64)
        factors.append(values - zero_point)
        unit = unit * scale
    return np.unique(np.outer(*factors)), unit


def _sums(flat: Flat, layer: Layer) -> tuple[np.ndarray, np.float32]:
    """(every integer sum that a MEAN over the places of a picture can give, the real value of 1 in the mean)."""
    scale, zero_point = flat.quantisation(layer.inputs[0])
    _, height, width, _ = flat.shape(layer.inputs[0])
    places = height * width
    return np.arange(places * (-128 - zero_point), places * (127 - zero_point) + 1), scale / np.float32(places)


def _ratio(flat: Flat, layer: Layer) -> float:
    return float(flat.quantisation(layer.inputs[0])[0]) / float(flat.quantisation(layer.output)[0])
