"""int8 ranges are those that the tensors really had, also where the interpreter works in place."""

import numpy as np
import pytest
import tensorflow as tf

from convert import ranges


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(-9.0, 12.0, (1, 32, 32, 4)).astype(np.float32) for _ in range(10)]


def scaled(x: tf.Tensor, factor: float) -> tf.Tensor:
    """A 1x1 convolution that multiplies each channel by `factor`."""
    return tf.nn.conv2d(x, tf.constant(np.eye(4, dtype=np.float32)[None, None] * factor), 1, "SAME")


def quantised(function, samples: list[np.ndarray]) -> list[dict]:
    """Tensor details of `function` (of one (1, 32, 32, 4) tensor) after full-integer quantisation."""
    concrete = tf.function(
        function, input_signature=[tf.TensorSpec((1, 32, 32, 4), tf.float32)]
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    interpreter = tf.lite.Interpreter(model_content=ranges.quantise(converter, samples, tf.int8, tf.int8))
    interpreter.allocate_tensors()
    return interpreter.get_tensor_details()


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
    concrete = tf.function(
        lambda x: x * 2.0 + 1.0, input_signature=[tf.TensorSpec((1, 32, 32, 4), tf.float32)]
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter._experimental_calibrate_only = True
    found = ranges.observe(converter.convert(), samples)
    x = np.stack(samples)
    wanted = [(x.min(), x.max()), (2 * x.min() + 1, 2 * x.max() + 1)]
    for low, high in wanted:
        assert any(a == pytest.approx(low, rel=1e-5) and b == pytest.approx(high, rel=1e-5) for a, b in found.values())


def test_clipped_ranges_leave_rare_extremes_out_but_not_those_of_the_input() -> None:
    rng = np.random.default_rng(2)
    samples = [rng.uniform(-1.0, 1.0, (1, 200, 200, 1)).astype(np.float32) for _ in range(3)]
    for sample, extreme in zip(samples, (50.0, -30.0, 2.0)):
        sample[0, 7, 9, 0] = extreme  # one of 40,000 values
    concrete = tf.function(
        lambda x: tf.nn.avg_pool2d(x * 2.0, 4, 4, "VALID"),
        input_signature=[tf.TensorSpec((1, 200, 200, 1), tf.float32)],
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    whole, clipped = (ranges.observe(calibrated, samples, tail) for tail in (0.0, ranges.TAIL))
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
