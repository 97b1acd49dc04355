"""Rounding weights and activations to int8 shifts a layer's mean, always to the same side: the bias takes it back.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, with means
that are observed on calibration pictures (appendix D there). One layer after another from the input on, each with those
before it corrected: all at once would correct the same shift in every layer behind it again.
"""

import numpy as np

from convert.quantise.flat import WEIGHTED, Flat, Layer, Tracer


def corrected(calibrated: bytes, quantised: bytes, samples: list[np.ndarray], few: list[np.ndarray]) -> bytes:
    """The quantised model with biases that make each layer's channel means those of the float model.

    calibrated: the float model that it was quantised from. few, samples: float32 inputs in real values; the few correct
    the layers within, each of which takes a run over them, and all samples the last layer of each output, whose shift
    goes straight into the answer. A layer without a bias stays as it is; those behind it take its shift back.
    """
    flat, floating = Flat(quantised), Flat(calibrated).numbers()
    weighted = [layer for layer in flat.layers() if layer.kind in WEIGHTED and flat.is_int8(layer.output)]
    layers = [layer for layer in weighted if layer.has_bias]
    if not layers:
        return quantised
    same = {layer: floating[flat.tensors[layer.output].name] for layer in layers}
    wanted = _means(calibrated, list(same.values()), few)
    for layer in layers:
        found = _means(flat.content(), [layer.output], few)[layer.output]
        _shift(flat, layer, wanted[same[layer]] - found)
    outputs = flat.outputs()
    for last in [layer for layer in layers if layer.output in outputs] or layers[-1:]:
        wanted, found = _means(calibrated, [same[last]], samples), _means(flat.content(), [last.output], samples)
        _shift(flat, last, wanted[same[last]] - found[last.output])
    return flat.content()


def _means(model: bytes, numbers: list[int], samples: list[np.ndarray]) -> dict[int, np.ndarray]:
    """Tensor number -> (C,) mean over all places of all samples."""
    tracer = Tracer(model)
    sums = dict.fromkeys(numbers, 0.0)
    for sample in samples:
        tracer.run(sample)
        for number in numbers:
            values = tracer.values(number)
            sums[number] = sums[number] + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)
    return {number: total / len(samples) for number, total in sums.items()}


def _shift(flat: Flat, layer: Layer, by: np.ndarray) -> None:
    stored, scale = flat.bias(layer)
    flat.set_bias(layer, stored + np.round(by / scale).astype(np.int64))
