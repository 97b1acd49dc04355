"""int8 activation ranges, observed by us: TensorFlow 2.19's own calibrator reads some of them too late.

The TFLite interpreter lets an element-wise operator write its result over its input. TensorFlow's calibrator looks at
that input afterwards and takes the result's values for the input's: on MobileNetV3 the first summand of every residual
addition and, worse, the first factor of every product come out with a range up to six times too wide, and that many
fewer int8 steps are left for what is really there. Here the calibrated model is run once more with every tensor kept,
and the ranges that it really had are written over the calibrator's before the model is quantised.

A range from the least to the greatest value spends most of its 255 steps on a few extreme values: one in ten thousand
may be several times as large as all others. Clipped ranges leave those out, the same share in each tensor; ranges of
least error weigh what is cut against the finer steps, tensor by tensor.
"""

import numpy as np

from convert.quantise.flat import Flat, Tracer
from convert.spread import spread

Ranges = dict[int, tuple[float, float]]  # tensor number -> (min, max)

TAIL = 5e-5  # of a picture's values at either end; a tenfold share agrees with the float network less often
_PICTURES, _VALUES = 50, 4000  # from so many pictures, so many values of each tensor weigh a range
_TOPS, _BOTTOMS = np.linspace(1.0, 0.2, 17), np.linspace(1.0, 0.2, 9)  # shares of the whole range that are tried


def observe(calibrated: bytes, samples: list[np.ndarray], tail: float = 0.0) -> Ranges:
    """The range of each calibrated tensor over `samples`: tensor number -> (min, max).

    tail: share 0..1 of a sample's values that is left out at either end, before the least and greatest over all samples
    are taken; the model's own inputs and outputs keep all of theirs.
    """
    found = {number: (np.inf, -np.inf) for number in Flat(calibrated).calibrated()}
    tracer = Tracer(calibrated)
    for sample in samples:
        tracer.run(sample)
        for number, (low, high) in found.items():
            cut = 0.0 if number in tracer.ends else tail
            least, greatest = np.quantile(tracer.values(number), (cut, 1.0 - cut))
            found[number] = (min(low, float(least)), max(high, float(greatest)))
    return found


def with_ranges(calibrated: bytes, found: Ranges) -> bytes:
    """The calibrated model with these ranges in place of the calibrator's."""
    flat = Flat(calibrated)
    for number, (low, high) in found.items():
        flat.set_range(number, low, high)
    return flat.content()


def least_error(calibrated: bytes, samples: list[np.ndarray], seed: int = 0) -> Ranges:
    """The range of each calibrated tensor with the least mean squared error of its int8 values.

    Ends are tried between a fifth of those observed and all of them, on values drawn from samples all over the list.
    Sung, Shin and Hwang, Resiliency of Deep Neural Networks under Quantization, 2015 (L2 error minimisation). The
    model's own inputs and outputs keep all of theirs.
    """
    found = observe(calibrated, samples)
    drawn: dict[int, list[np.ndarray]] = {number: [] for number in found}
    tracer = Tracer(calibrated)
    for place in spread(len(samples), _PICTURES):
        tracer.run(samples[place])
        for number, values in drawn.items():
            held = tracer.values(number).ravel()
            # Drawn for each tensor by itself: their numbers depend on what else the converter has made before.
            rng = np.random.default_rng((seed, place, held.size))
            values.append(held[rng.integers(0, held.size, min(held.size, _VALUES))])
    inner = [number for number, (low, high) in found.items() if number not in tracer.ends and low < high]
    return found | {number: _best(np.concatenate(drawn[number]), *found[number]) for number in inner}


def _best(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)  # TFLite's ranges hold 0
    tried = [(bottom * low, top * high) for top in _TOPS for bottom in (_BOTTOMS if low else (1.0,))]
    return min(tried, key=lambda ends: _error(values, *ends))


def _error(values: np.ndarray, low: float, high: float) -> float:
    if not low < high:
        return np.inf
    scale = (high - low) / 255
    zero_point = np.round(-128 - low / scale)
    stored = np.clip(np.round(values / scale) + zero_point, -128, 127)
    return float((((stored - zero_point) * scale - values) ** 2).mean())
