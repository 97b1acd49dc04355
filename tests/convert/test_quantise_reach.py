"""Weights beyond XNNPACK's reach: the file opens, and answers as it did where it could be asked."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from small_models import converter_of

from convert.quantise.flat import Flat
from convert.quantise.full import quantise
from convert.quantise.how import How
from convert.quantise.reach import within_reach

_SILENT = 1e-5  # of a channel beside others that reach 1


def _samples() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.uniform(0, 1, (1, 8, 8, 1)).astype(np.float32) for _ in range(8)]


def _network(undo: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """Four channels, the first next to silent, and made loud again by `undo`."""
    spread = np.array([_SILENT, 1, 1, 1], np.float32).reshape(1, 1, 1, 4)
    kernel = np.array([undo, 1, 1, 1], np.float32).reshape(1, 1, 4, 1)

    def network(x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(tf.nn.conv2d(x, spread, 1, "VALID") + tf.constant([0, 0.1, 0.1, 0.1]))
        x = tf.nn.relu(tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + 0.25)
        return tf.reshape(x, (1, 256))[:, :12] @ tf.constant(np.eye(12, 3, dtype=np.float32)) + 0.1

    return network


def _raw(monkeypatch: pytest.MonkeyPatch, undo: float) -> bytes:
    """An int8 file of it as TensorFlow makes it."""
    monkeypatch.setattr("convert.quantise.full.within_reach", lambda content: content)
    converter = converter_of(_network(undo), _samples()[:1])
    return quantise(converter, _samples(), tf.int8, tf.int8, How("observed"))[0]


def _answers(content: bytes) -> np.ndarray:
    """Without XNNPACK."""
    model = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    model.allocate_tensors()
    found = []
    for sample in _samples():
        given = model.get_input_details()[0]
        scale, zero = given["quantization"]
        model.set_tensor(given["index"], np.clip(np.round(sample / scale) + zero, -128, 127).astype(np.int8))
        model.invoke()
        found.append(model.get_tensor(model.get_output_details()[0]["index"]))
    return np.stack(found)


def _factors(content: bytes) -> np.ndarray:
    flat = Flat(content)
    (layer,) = [layer for layer in flat.layers() if layer.kind == "DEPTHWISE_CONV_2D"]
    source, output = (float(flat.quantisation(n)[0]) for n in (layer.inputs[0], layer.output))
    return np.asarray(flat.tensors[layer.inputs[1]].quantization.scale, np.float64) * source / output


def test_a_file_that_xnnpack_refuses_opens_and_answers_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _raw(monkeypatch, 1e6)
    assert _factors(before).max() > 256
    with pytest.raises((RuntimeError, ValueError)):
        Interpreter(model_content=before).allocate_tensors()
    after = within_reach(before)
    assert _factors(after).max() <= 1.0 + 1e-6
    Interpreter(model_content=after).allocate_tensors()
    np.testing.assert_array_equal(_answers(after), _answers(before))
    flat = Flat(after)
    (layer,) = [layer for layer in flat.layers() if layer.kind == "DEPTHWISE_CONV_2D"]
    stored, scale = flat.bias(layer)
    np.testing.assert_allclose((stored * scale)[1:], 0.25, rtol=0.01)  # of the first TensorFlow had made 0 already
    assert flat.constant(layer.inputs[1]).tolist() == [0, 127, 127, 127]


def test_a_conversion_sets_the_mean_of_the_silent_channel_right() -> None:
    found, _ = quantise(converter_of(_network(1e6), _samples()[:1]), _samples(), tf.int8, tf.int8, How(bias_pictures=8))
    flat = Flat(found)
    (number,) = flat.outputs()
    scale, zero = flat.quantisation(number)
    answers = (_answers(found).astype(np.float32)[:, 0] - zero) * scale
    true = np.stack([_network(1e6)(tf.constant(sample)).numpy()[0] for sample in _samples()])
    np.testing.assert_allclose(answers[:, 0].mean(), true[:, 0].mean(), atol=2 * scale)


def test_a_convolution_that_hears_others_is_cut_and_saturates_as_before() -> None:
    """By hand: 1x1 convolution of two channels; the first is silent, its weight is enormous."""
    spread, mix = np.array([[_SILENT, 1]], np.float32), np.array([[1e6, 0], [0, 1]], np.float32)

    def network(x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(tf.nn.conv2d(x, spread.reshape(1, 1, 1, 2), 1, "VALID"))
        x = tf.nn.relu(tf.nn.conv2d(x, mix.reshape(1, 1, 2, 2), 1, "VALID"))
        return tf.reshape(x, (1, 128))[:, :6] @ tf.constant(np.eye(6, 3, dtype=np.float32))

    found, _ = quantise(converter_of(network, _samples()[:1]), _samples(), tf.int8, tf.int8, How("observed"))
    Interpreter(model_content=found).allocate_tensors()


def test_a_file_within_reach_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _raw(monkeypatch, 1.0)
    assert within_reach(content) is content
