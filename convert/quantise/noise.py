"""How much noise int8 adds, layer by layer: the signal-to-quantisation-noise ratio against the float model."""

from dataclasses import dataclass

import numpy as np

from convert.quantise.flat import Flat, Tracer


@dataclass(frozen=True)
class Noise:
    """One operator's output. decibel: 10 log10(sum of squares of the float values / of the differences), None when the
    values or the differences are all zero. low, high: what its int8 numbers can stand for. mean: of the differences, in
    units of the float values' standard deviation."""

    number: int
    kind: str
    shape: tuple[int, ...]
    low: float
    high: float
    decibel: float | None
    mean: float | None


def of_layers(calibrated: bytes, quantised: bytes, samples: list[np.ndarray]) -> list[Noise]:
    """Each int8 operator's output against the same tensor of the float model, in the order in which they run.

    calibrated: the float model; its tensors are found by their names. samples: float32 inputs in real values.
    """
    flat, floating = Flat(quantised), Flat(calibrated).numbers()
    numbered = [
        (n, layer)
        for n, layer in enumerate(flat.layers())
        if flat.is_int8(layer.output) and flat.tensors[layer.output].name in floating
    ]
    one, other = Tracer(calibrated), Tracer(quantised)
    sums = np.zeros((len(numbered), 4))  # squares of the float values, of the differences; sums of both
    counts = np.zeros(len(numbered))
    for sample in samples:
        one.run(sample)
        other.run(sample)
        for row, (_, layer) in enumerate(numbered):
            wanted = one.values(floating[flat.tensors[layer.output].name]).astype(np.float64)
            wrong = other.values(layer.output) - wanted
            sums[row] += (wanted**2).sum(), (wrong**2).sum(), wanted.sum(), wrong.sum()
            counts[row] += wanted.size
    return [
        _noise(number, layer.kind, flat.shape(layer.output), flat.quantisation(layer.output), *row)
        for (number, layer), row in zip(numbered, np.c_[sums, counts])
    ]


def _noise(
    number: int,
    kind: str,
    shape: tuple[int, ...],
    quantisation: tuple[float, int],
    signal: float,
    noise: float,
    total: float,
    shift: float,
    count: float,
) -> Noise:
    scale, zero_point = quantisation
    spread = np.sqrt(max(signal / count - (total / count) ** 2, 0.0))
    decibel = float(10 * np.log10(signal / noise)) if signal > 0 and noise > 0 else None
    mean = float(shift / count / spread) if spread else None
    return Noise(
        number, kind, shape, float(scale * (-128 - zero_point)), float(scale * (127 - zero_point)), decibel, mean
    )
