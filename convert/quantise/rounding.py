"""Weights rounded together: what one of them is rounded off, those that are still to come make up for.

Each rounded to its nearest step, the weights of a channel make errors that do not average out where their inputs rise
and fall together, as neighbouring pixels and the channels of one tensor do. Here they are rounded one after another,
and each error is laid on the weights left, by as much as their inputs tell of its own.

Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023, algorithm
1, the input that varies most first, with the steps that the quantiser has set. Inputs are taken about their means, for
what rounding does to a layer's mean its bias takes back (bias.py).
"""

from dataclasses import dataclass

import numpy as np

from convert.quantise.flat import WEIGHTED, Flat, Layer, Tracer, schema
from convert.spread import spread

_PICTURES, _PLACES = 50, 200  # from so many pictures, so many places of each layer's
_DAMPING = 0.01  # of the mean variance is added to each: the paper's
_MOST = 127  # TFLite's int8 weights go from -127 to 127


@dataclass
class Inputs:
    """What the G groups of a layer have taken, K numbers at a time: how often, sums (G, K), of products (G, K, K)."""

    count: int = 0
    sums: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0

    def add(self, taken: np.ndarray) -> None:
        """taken: (G, N, K) float64."""
        self.count += taken.shape[1]
        self.sums = self.sums + taken.sum(axis=1)
        self.products = self.products + taken.transpose(0, 2, 1) @ taken

    def moments(self, centred: bool) -> np.ndarray:
        """(G, K, K): mean products, about the means where `centred`."""
        mean = self.sums / self.count
        return self.products / self.count - (mean[:, :, None] * mean[:, None, :] if centred else 0.0)


def rounded_together(calibrated: bytes, quantised: bytes, samples: list[np.ndarray]) -> bytes:
    """The quantised model with weights rounded together; scales and biases stay as they are.

    calibrated: the float model that it was quantised from; layers are found in it by what their outputs are called.
    samples: float32 inputs in real values, the calibration set.
    """
    flat, floating = Flat(quantised), Flat(calibrated)
    numbered = {floating.tensors[layer.output].name: (n, layer) for n, layer in enumerate(floating.layers())}
    layers = [layer for layer in flat.layers() if layer.kind in WEIGHTED and _in_int8(flat, layer)]
    twins = [numbered[flat.tensors[layer.output].name] for layer in layers]
    tracer, seen = Tracer(calibrated), [Inputs() for _ in layers]
    for place in spread(len(samples), _PICTURES):
        tracer.run(samples[place])
        for (number, twin), inputs in zip(twins, seen):
            inputs.add(taken(floating, number, tracer.values(twin.inputs[0]), place))
    for layer, (_, twin), inputs in zip(layers, twins, seen):
        weights = floating.floats(twin.inputs[1]).astype(np.float64)
        apart = layer.kind == "DEPTHWISE_CONV_2D"  # (1, kh, kw, outputs), else (outputs, ...)
        rows = weights.reshape(-1, weights.shape[-1]).T if apart else weights.reshape(len(weights), -1)
        steps = np.asarray(flat.tensors[layer.inputs[1]].quantization.scale, np.float64)[:, None]
        moments = inputs.moments(layer.has_bias)
        grouped = (rows / steps).reshape(len(moments), -1, moments.shape[-1])  # outputs of a group are neighbours
        stored = rounded(grouped, moments).reshape(rows.shape)
        flat.set_constant(layer.inputs[1], (stored.T if apart else stored).reshape(weights.shape))
    return flat.content()


def rounded(weights: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(G, R, K) weights in steps -> whole numbers from -127 to 127.

    moments: (G, K, K) of the inputs. Of a row w that becomes q, (w - q) moments (w - q)' is small: the mean square of
    what the output is changed by.
    """
    varies = np.einsum("gkk->gk", moments)
    order = np.argsort(-varies, axis=1, kind="stable")
    mean = varies.mean(axis=1)
    held = moments + np.where(mean > 0, _DAMPING * mean, 1.0)[:, None, None] * np.eye(moments.shape[-1])
    held = np.take_along_axis(np.take_along_axis(held, order[:, :, None], 1), order[:, None, :], 2)
    # held^-1 = upper' upper; row k of it says what an error of weight k is to those behind it.
    upper = np.linalg.cholesky(np.linalg.inv(held)).transpose(0, 2, 1)
    left = np.take_along_axis(weights, order[:, None, :], 2)
    stored = np.zeros_like(left)
    for k in range(left.shape[-1]):
        stored[:, :, k] = np.clip(np.round(left[:, :, k]), -_MOST, _MOST)
        error = (left[:, :, k] - stored[:, :, k]) / upper[:, k, k, None]
        left[:, :, k:] -= error[:, :, None] * upper[:, None, k, k:]
    return np.take_along_axis(stored, np.argsort(order, axis=1)[:, None, :], 2)


def taken(flat: Flat, number: int, values: np.ndarray, seed: int = 0) -> np.ndarray:
    """What the outputs of the layer that is operator `number` are made of: (G, N, K) float64, G groups of outputs, N
    places, K numbers in the order of a row of weights.

    values: (1, H, W, C) or (1, K) of its input. Of more than _PLACES places so many are drawn, by `seed`.
    """
    layer = flat.layers()[number]
    shape = flat.shape(layer.inputs[1])
    if layer.kind == "FULLY_CONNECTED":
        return values.reshape(1, -1, shape[1]).astype(np.float64)
    (_, high, wide, inner), (_, rows, columns, _) = shape, flat.shape(layer.output)
    options = flat.model.subgraphs[0].operators[number].builtinOptions
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    reach = [(kernel - 1) * dilation + 1 for kernel, dilation in zip((high, wide), dilations)]
    image = values[0]
    if options.padding == schema.Padding.SAME:
        short = [
            max((out - 1) * stride + extent - length, 0)
            for out, stride, extent, length in zip((rows, columns), strides, reach, image.shape)
        ]
        image = np.pad(image, [*((by // 2, by - by // 2) for by in short), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, (0, 1))
    windows = windows[:: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]][:rows, :columns]
    places = np.arange(rows * columns)
    if places.size > _PLACES:
        places = np.random.default_rng((seed, places.size)).choice(places, _PLACES, replace=False)
    drawn = windows[places // columns, places % columns].astype(np.float64)  # (N, C, kh, kw)
    inner = 1 if layer.kind == "DEPTHWISE_CONV_2D" else inner  # fewer than C: a convolution in groups
    drawn = drawn.reshape(len(places), -1, inner, high, wide).transpose(1, 0, 3, 4, 2)
    return drawn.reshape(drawn.shape[0], len(places), -1)


def _in_int8(flat: Flat, layer: Layer) -> bool:
    return flat.is_int8(layer.output) and flat.is_int8(layer.inputs[0])
