"""No product and no mean of int8 numbers lies so near to a tie that two machines would round it apart."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import answers, calibrated, int8, opened

from convert.quantise import portable
from convert.quantise.flat import Flat
from convert.quantise.portable import clear_of_ties

_DRAWN = np.random.default_rng(0)
WHOLE = np.arange(-128, 128, dtype=np.int64)


def pictures(size: int, low: float = -3.0, high: float = 4.0) -> list[np.ndarray]:
    return [_DRAWN.uniform(low, high, (1, size, size, 4)).astype(np.float32) for _ in range(4)]


def clearance(numbers: np.ndarray, unit: float, scale: float, zero_point: int) -> float:
    """How near the int8 value of any of these whole numbers, each worth `unit`, comes to the middle of two steps."""
    steps = numbers * (unit / scale)
    steps = steps[(steps + zero_point > -128.9) & (steps + zero_point < 127.9)]
    return float(np.abs(steps % 1 - 0.5).min())


def of_product(content: bytes) -> float:
    """For a model of one MUL: its input and its output, as the interpreter has them."""
    interpreter = opened(content)
    (scale, zero_point), (to, to_zero) = (
        ends[0]["quantization"] for ends in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    numbers = np.unique(np.outer(WHOLE - zero_point, WHOLE - zero_point))
    return clearance(numbers, float(scale) ** 2, float(to), to_zero)


def of_mean(content: bytes, places: int) -> float:
    interpreter = opened(content)
    (scale, zero_point), (to, to_zero) = (
        ends[0]["quantization"] for ends in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    sums = np.arange(places * (-128 - zero_point), places * (127 - zero_point) + 1)
    return clearance(sums, float(scale) / places, float(to), to_zero)


def moved(before: bytes, after: bytes) -> float:
    """Relative change of the output's scale; nothing else of the tensors' quantisation may differ."""
    one, other = (opened(content) for content in (before, after))
    (out,) = one.get_output_details()
    for was, became in zip(one.get_tensor_details(), other.get_tensor_details()):
        if was["index"] != out["index"]:
            assert was["quantization"] == became["quantization"]
    (was, zero), (became, same) = out["quantization"], other.get_output_details()[0]["quantization"]
    assert zero == same
    return abs(became / was - 1)


@pytest.mark.parametrize("ends", [(-3.0, 4.0), (0.0, 6.0), (-1.0, 0.25)])
def test_no_reachable_product_is_near_a_tie(ends: tuple[float, float]) -> None:
    """Planted: an output scale for which every odd product is half a step."""
    samples = pictures(16, *ends)
    flat = Flat(int8(calibrated(lambda x: x * x, samples)))
    (layer,) = flat.layers()
    flat.set_scale(layer.output, 2 * flat.quantisation(layer.inputs[0])[0] ** 2)
    before = flat.content()
    after = clear_of_ties(before)
    assert of_product(before) < 1e-5 < 4e-5 < of_product(after)
    assert 0 < moved(before, after) < 1e-3
    difference = np.abs(answers(after, samples) - answers(before, samples))
    assert difference.max() < 1.1 * opened(before).get_output_details()[0]["quantization"][0]


def test_no_reachable_mean_is_near_a_tie() -> None:
    samples = [one * factor for one in pictures(28) for factor in (0.01, 1.0)]
    samples += [np.full((1, 28, 28, 4), value, np.float32) for value in (-3.0, 4.0)]
    before = int8(calibrated(lambda x: tf.reduce_mean(x, axis=[1, 2]), samples))
    after = clear_of_ties(before)
    rounded = float(np.spacing(np.float32(128)))  # of the value that is rounded, in float32
    assert of_mean(before, 28 * 28) < rounded < of_mean(after, 28 * 28)
    assert 0 < moved(before, after) < 1e-3
    assert clear_of_ties(after) == after


def test_a_mean_of_too_many_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """65,536 places: between two int8 values lie more sums than float32 can tell apart, whatever the scale."""
    monkeypatch.setattr(portable, "_MOVES", 2)
    samples = [np.full((1, 256, 256, 1), value, np.float32) for value in (-3.0, 4.0)]
    model = int8(calibrated(lambda x: tf.reduce_mean(x, axis=[1, 2]), samples))
    with pytest.raises(ValueError, match=r"^operator 0 \(MEAN\): no output scale keeps its results clear of ties\.$"):
        clear_of_ties(model)


def test_other_operators_keep_their_scales() -> None:
    samples = pictures(16)
    model = int8(calibrated(lambda x: tf.nn.relu6(x + 3.0), samples))
    assert moved(model, clear_of_ties(model)) == 0
