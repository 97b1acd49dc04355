"""The noise of a layer is what two interpreters, one float and one int8, say of the same pictures."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import answers, calibrated, int8, opened, scaled

from convert.quantise.flat import Flat
from convert.quantise.noise import of_layers

_DRAWN = np.random.default_rng(0)
SAMPLES = [_DRAWN.normal(1.0, 2.0, (1, 16, 16, 4)).astype(np.float32) for _ in range(6)]


def test_decibels_and_shift_by_hand() -> None:
    model = calibrated(lambda x: scaled(x, 0.7), SAMPLES)
    quantised = int8(model)
    wanted, found = answers(model, SAMPLES).astype(np.float64), answers(quantised, SAMPLES)
    (layer,) = of_layers(model, quantised, SAMPLES)
    assert (layer.kind, layer.shape) == ("CONV_2D", (1, 16, 16, 4))
    assert layer.decibel == pytest.approx(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()), rel=1e-4)
    assert layer.mean == pytest.approx((found - wanted).mean() / wanted.std(), abs=1e-5)
    scale, zero_point = opened(quantised).get_output_details()[0]["quantization"]
    assert (layer.low, layer.high) == pytest.approx((scale * (-128 - zero_point), scale * (127 - zero_point)))
    # Rounding to steps of S / 255 has the variance (S / 255)^2 / 12; the output's grid is the input's times 0.7.
    span = wanted.max() - wanted.min()
    assert layer.decibel == pytest.approx(10 * np.log10((wanted**2).mean() / ((span / 255) ** 2 / 12)), abs=0.3)


def test_a_shift_is_told_in_standard_deviations_of_the_signal() -> None:
    """A bias of seven steps more: a mean error of seven steps, where no value is cut off."""
    wide = [*SAMPLES, np.full((1, 16, 16, 4), 12.0, np.float32)]  # room above
    model = calibrated(lambda x: scaled(x, 0.7), wide)
    honest = int8(model)
    step = opened(honest).get_output_details()[0]["quantization"][0]
    flat = Flat(honest)
    (layer,) = flat.layers()
    stored, unit = flat.bias(layer)
    flat.set_bias(layer, stored + np.round(7 * step / unit).astype(int))
    before, after = (of_layers(model, content, SAMPLES)[0].mean for content in (honest, flat.content()))
    assert after - before == pytest.approx(7 * step / answers(model, SAMPLES).std(), rel=1e-3)


def test_every_operator_has_a_row_in_the_order_in_which_it_runs() -> None:
    def network(x: tf.Tensor) -> tf.Tensor:
        x = scaled(x, 2.0)
        return tf.reduce_mean(x * tf.nn.relu6(x + 3.0), axis=[1, 2])

    model = calibrated(network, SAMPLES)
    layers = of_layers(model, int8(model), SAMPLES)
    assert [layer.kind for layer in layers] == ["CONV_2D", "ADD", "MUL", "MEAN"]
    assert [layer.number for layer in layers] == [0, 1, 2, 3]
    assert all(10 < layer.decibel < 60 for layer in layers)


def test_unknown_is_none() -> None:
    """A layer whose values are all zero, and one without any error."""
    whole = [_DRAWN.integers(0, 256, (1, 16, 16, 4)).astype(np.float32) for _ in range(3)]
    whole[0].flat[:2] = 0, 255
    zero = calibrated(lambda x: tf.nn.relu(scaled(x, -1.0)), whole)
    (layer,) = of_layers(zero, int8(zero), whole)
    assert (layer.decibel, layer.mean) == (None, None)
    exact = calibrated(lambda x: scaled(x, 1.0), whole)
    (layer,) = of_layers(exact, int8(exact), whole)
    assert layer.decibel is None
    assert layer.mean == 0.0
