"""int8 ranges are those that the tensors really had, also where the interpreter works in place."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import calibrated, converter_of, opened, scaled

from convert.quantise import ranges
from convert.quantise.flat import Flat
from convert.quantise.full import quantise
from convert.quantise.how import How


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(-9.0, 12.0, (1, 32, 32, 4)).astype(np.float32) for _ in range(10)]


def quantised(function, samples: list[np.ndarray]) -> list[dict]:
    """Tensor details of `function` (of one (1, 32, 32, 4) tensor) after full-integer quantisation."""
    content, _ = quantise(converter_of(function, samples), samples, tf.int8, tf.int8, How("observed"))
    return opened(content).get_tensor_details()


def spans(details: list[dict]) -> list[float]:
    """Width of the real values that each int8 tensor can hold."""
    return [d["quantization"][0] * 255 for d in details if d["dtype"] == np.int8 and len(d["shape"]) == 4]


def test_first_factor_of_a_product_keeps_its_own_range(samples: list[np.ndarray]) -> None:
    """hard-swish as (x / 6) * relu6(x + 3): the product, up to 12, must not widen x / 6, which is at most 2."""

    def hardswish(x):
        x = scaled(x, 1.0)
        # A convolution after it, as in the network: a model's output is never written in place.
        return scaled((x * (1 / 6)) * tf.nn.relu6(x + 3.0), 0.7)

    found = spans(quantised(hardswish, samples))
    x = np.stack(samples)
    sixth = (x.max() - x.min()) / 6
    product = x / 6 * np.clip(x + 3, 0, 6)
    assert any(span == pytest.approx(sixth, rel=0.01) for span in found), (sixth, found)
    assert any(span == pytest.approx(product.max() - product.min(), rel=0.01) for span in found)


def test_first_summand_of_a_residual_addition_keeps_its_own_range(samples: list[np.ndarray]) -> None:
    def residual(x):
        return scaled(scaled(x, 0.5) + scaled(x, 3.0), 0.1)

    found = spans(quantised(residual, samples))
    width = np.stack(samples).max() - np.stack(samples).min()
    for factor in (0.5, 3.0, 3.5, 0.35):
        assert any(span == pytest.approx(factor * width, rel=0.01) for span in found), (factor * width, found)


def test_observed_ranges_are_those_of_the_samples(samples: list[np.ndarray]) -> None:
    found = ranges.observe(calibrated(lambda x: x * 2.0 + 1.0, samples), samples)
    x = np.stack(samples)
    wanted = [(x.min(), x.max()), (2 * x.min() + 1, 2 * x.max() + 1)]
    for low, high in wanted:
        assert any(a == pytest.approx(low, rel=1e-5) and b == pytest.approx(high, rel=1e-5) for a, b in found.values())


def test_clipped_ranges_leave_rare_extremes_out_but_not_those_of_the_input() -> None:
    rng = np.random.default_rng(2)
    samples = [rng.uniform(-1.0, 1.0, (1, 200, 200, 1)).astype(np.float32) for _ in range(3)]
    for sample, extreme in zip(samples, (50.0, -30.0, 2.0)):
        sample[0, 7, 9, 0] = extreme  # one of 40,000 values
    model = calibrated(lambda x: tf.nn.avg_pool2d(x * 2.0, 4, 4, "VALID"), samples)
    whole, clipped = (ranges.observe(model, samples, tail) for tail in (0.0, ranges.TAIL))
    spans = {number: (low, high) for number, (low, high) in clipped.items() if whole[number] == (-60.0, 100.0)}
    assert len(spans) == 1, "the product: twice the input"
    (low, high) = next(iter(spans.values()))
    assert -2.01 < low < -1.99
    assert 1.99 < high < 2.01
    inputs = [number for number, span in whole.items() if span == (-30.0, 50.0)]
    outputs = [number for number, span in whole.items() if span not in ((-30.0, 50.0), (-60.0, 100.0))]
    assert len(inputs) == len(outputs) == 1
    for number in (*inputs, *outputs):
        assert clipped[number] == whole[number], "nothing of the input or of the answers is cut"


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of `values` as int8 numbers of this range: 256 levels, one of which is 0."""
    step = (high - low) / 255
    levels = np.arange(256) * step + np.round(low / step) * step
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
    return float(((nearest - values) ** 2).mean())


@pytest.mark.parametrize(
    ("values", "cut"),
    [
        (np.append(np.random.default_rng(4).normal(0.0, 1.0, 200_000), 16.0), True),
        (np.append(np.random.default_rng(5).normal(0.0, 1.0, 200_000).clip(0), 16.0), True),
        (np.random.default_rng(6).uniform(-1.0, 3.0, 200_000), False),
        (np.append(np.random.default_rng(7).normal(0.0, 1.0, 2000), 16.0), False),
    ],
    ids=["an extreme", "an extreme of what is never negative", "even", "an extreme that is not rare"],
)
def test_the_range_of_least_error_is_that_of_a_search_by_hand(values: np.ndarray, cut: bool) -> None:
    low, high = min(0.0, values.min()), values.max()
    tops = [1 - 0.05 * step for step in range(17)]  # 1 to 0.2
    bottoms = [1 - 0.1 * step for step in range(9)] if low < 0 else [1]
    best = min(error(values, bottom * low, top * high) for top in tops for bottom in bottoms)
    found = ranges._best(values, values.min(), high)
    assert error(values, *found) == pytest.approx(best, rel=1e-6)
    if cut:
        assert found[1] < 0.95 * high
        assert best < 0.97 * error(values, low, high)
    else:
        assert found[1] == high


def test_ranges_of_least_error_leave_the_ends_of_the_model_alone() -> None:
    """One value in 640,000 is 25 times as large as the others: within, all but a fifth of its range goes."""
    rng = np.random.default_rng(2)
    samples = [rng.uniform(-2.0, 2.0, (1, 200, 200, 4)).astype(np.float32) for _ in range(4)]
    samples[0][0, 7, 9, 0] = 50.0
    model = calibrated(lambda x: scaled(tf.nn.relu(scaled(x, 2.0)), -1.0), samples)
    whole, found = ranges.observe(model, samples), ranges.least_error(model, samples)
    assert set(whole) == set(found)
    (inner,) = (number for number, span in whole.items() if span == (0.0, 100.0))
    assert len(whole) == 3
    assert {number: span for number, span in found.items() if span != whole[number]} == {inner: (0.0, 20.0)}
    assert ranges.least_error(model, samples) == found


def test_a_tensors_range_of_least_error_depends_on_no_other_tensor() -> None:
    """Its values are heavy-tailed, so that its range depends on which of them are drawn."""
    rng = np.random.default_rng(8)
    samples = [rng.standard_t(2.5, (1, 100, 100, 4)).astype(np.float32) for _ in range(6)]

    def alone(x: tf.Tensor) -> tf.Tensor:
        return scaled(tf.nn.relu(scaled(x, 2.0)), -1.0)

    def behind_another(x: tf.Tensor) -> tf.Tensor:
        return alone(scaled(tf.nn.relu(scaled(x, 3.0)) - tf.nn.relu(scaled(x, -3.0)), 1 / 3))

    ends = []
    for function in (alone, behind_another):
        model = calibrated(function, samples)
        whole, found = ranges.observe(model, samples), ranges.least_error(model, samples)
        top = 2 * max(float(sample.max()) for sample in samples)
        (inner,) = (number for number, (low, high) in whole.items() if (low, round(high / top, 4)) == (0.0, 1.0))
        ends.append(found[inner])
        assert found[inner][1] < whole[inner][1]
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)


def test_the_calibrators_own_ranges_are_there_for_comparison(samples: list[np.ndarray]) -> None:
    """`tensorflow` keeps the calibrator's range of the first factor, which is that of the product."""

    def hardswish(x):
        x = scaled(x, 1.0)
        return scaled((x * (1 / 6)) * tf.nn.relu6(x + 3.0), 0.7)

    sixth = (np.max(samples) - np.min(samples)) / 6
    for way in ("tensorflow", "observed", "clipped", "least-error"):
        content, _ = quantise(converter_of(hardswish, samples), samples, tf.int8, tf.int8, How(way))
        found = any(span == pytest.approx(sixth, rel=0.01) for span in spans(opened(content).get_tensor_details()))
        assert found == (way != "tensorflow"), way


def test_weights_per_tensor_have_one_scale(samples: list[np.ndarray]) -> None:
    def unequal(x):
        return tf.nn.conv2d(
            x, tf.constant(np.diag([1.0, 10.0, 100.0, 1000.0]).astype(np.float32)[None, None]), 1, "SAME"
        )

    for per_channel, wanted in ((True, 4), (False, 1)):
        how = How("observed", per_channel=per_channel)
        content, _ = quantise(converter_of(unequal, samples), samples, tf.int8, tf.int8, how)
        scales = [d["quantization_parameters"]["scales"] for d in opened(content).get_tensor_details()]
        assert max(len(one) for one in scales) == wanted


def test_the_noisiest_operators_stay_in_float(samples: list[np.ndarray]) -> None:
    """A fourth power loses most: its small values share the few steps that its largest leave."""

    def fourth_power(x):
        x = scaled(x, 1.0)
        square = x * x
        return tf.reduce_mean(square * square, axis=[1, 2])

    int8, mixed, floating = (
        quantise(
            converter_of(fourth_power, samples),
            samples,
            tf.int8,
            tf.int8,
            How("observed", bias_pictures=4, float_operators=count),
        )[0]
        for count in (0, 1, 9)
    )
    kinds = {
        name: [(layer.kind, flat.is_int8(layer.output)) for layer in flat.layers()]
        for name, flat in (("int8", Flat(int8)), ("mixed", Flat(mixed)), ("floating", Flat(floating)))
    }
    assert kinds["int8"] == [("CONV_2D", True), ("MUL", True), ("MUL", True), ("MEAN", True)]
    kept = [("DEQUANTIZE", False), ("MUL", False), ("QUANTIZE", True)]
    assert kinds["mixed"] == [*kinds["int8"][:2], *kept, ("MEAN", True)]
    assert [kind for kind, is_int8 in kinds["floating"] if is_int8] == ["QUANTIZE"]
