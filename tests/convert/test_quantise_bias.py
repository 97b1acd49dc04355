"""A shift of a layer's mean is taken back by its bias."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import answers, calibrated, int8, opened

from convert.quantise.bias import corrected
from convert.quantise.flat import WEIGHTED, Flat

_DRAWN = np.random.default_rng(0)
SAMPLES = [_DRAWN.uniform(0.0, 4.0, (1, 16, 16, 2)).astype(np.float32) for _ in range(12)]
FIRST = _DRAWN.normal(0.0, 0.5, (3, 3, 2, 6)).astype(np.float32)
SECOND = _DRAWN.normal(0.0, 0.5, (3, 3, 6, 4)).astype(np.float32)
LAST = _DRAWN.normal(0.0, 0.5, (6, 3)).astype(np.float32)


def network(x: tf.Tensor) -> tf.Tensor:
    x = tf.nn.relu(
        tf.nn.conv2d(x, tf.constant(FIRST), 1, "SAME") + tf.constant(np.linspace(0.1, 0.6, 6, dtype=np.float32))
    )
    return tf.matmul(tf.reduce_mean(x, axis=[1, 2]), tf.constant(LAST)) + tf.constant([1.0, -1.0, 0.5])


@pytest.fixture(scope="module")
def files() -> tuple[bytes, bytes]:
    """(the calibrated float model, int8)."""
    model = calibrated(network, SAMPLES)
    return model, int8(model)


def shifted(content: bytes, layer: int, by: np.ndarray) -> bytes:
    """The file with so much added, in real values, to the bias of its `layer`th layer that has weights."""
    flat = Flat(content)
    weighted = [one for one in flat.layers() if one.kind in WEIGHTED]
    stored, unit = flat.bias(weighted[layer])
    flat.set_bias(weighted[layer], stored + np.round(by / unit).astype(int))
    return flat.content()


@pytest.mark.parametrize("layer", [0, -1])
def test_a_planted_shift_is_removed(files: tuple[bytes, bytes], layer: int) -> None:
    floating, honest = files
    wanted = answers(floating, SAMPLES)
    step = opened(honest).get_output_details()[0]["quantization"][0]
    inwards = np.sign((wanted.max() + wanted.min()) / 2 - wanted.mean(axis=0))  # where nothing is cut off
    spoilt = shifted(honest, layer, 0.3 * np.ones(6) if layer == 0 else 12 * step * inwards)
    mended = corrected(floating, spoilt, SAMPLES, SAMPLES[:4])
    wrong = {name: answers(one, SAMPLES) - wanted for name, one in (("spoilt", spoilt), ("mended", mended))}
    assert np.abs(wrong["spoilt"].mean(axis=0)).max() > 3 * step
    assert np.abs(wrong["mended"].mean(axis=0)).max() < step, "over all samples, to within one step of the answer"
    assert np.abs(wrong["mended"]).max() < 4 * step


def test_only_biases_are_changed(files: tuple[bytes, bytes]) -> None:
    floating, honest = files
    mended = corrected(floating, shifted(honest, 0, 0.3 * np.ones(6)), SAMPLES, SAMPLES[:4])
    one, other = Flat(honest), Flat(mended)
    biases = {layer.inputs[2] for layer in one.layers() if layer.kind in WEIGHTED}
    for number in range(len(one.tensors)):
        before, after = one.constant(number), other.constant(number)
        if number not in biases:
            assert (before is None and after is None) or np.array_equal(before, after)
    assert [d["quantization"] for d in opened(mended).get_tensor_details()] == [
        d["quantization"] for d in opened(honest).get_tensor_details()
    ]


def test_a_layer_without_a_bias_is_left_as_it_is() -> None:
    """As the last one of a network with its first weights: zeros, which the converter leaves away."""

    def plain(x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(tf.nn.conv2d(x, tf.constant(FIRST), 1, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, tf.constant(SECOND), 1, "SAME") + tf.constant([0.2, 0.1, 0.3, 0.0]))
        return tf.matmul(tf.reduce_mean(x, axis=[1, 2]), tf.constant(LAST[:4]))

    floating = calibrated(plain, SAMPLES)
    honest = int8(floating)
    assert [layer.has_bias for layer in Flat(honest).layers() if layer.kind in WEIGHTED] == [True, True, False]
    spoilt = shifted(honest, 1, 0.3 * np.ones(4))
    mended = corrected(floating, spoilt, SAMPLES, SAMPLES[:4])
    wanted = answers(floating, SAMPLES)
    wrong, after = (np.abs((answers(one, SAMPLES) - wanted).mean(axis=0)).max() for one in (spoilt, mended))
    assert after < wrong / 2, "what rectifiers cut off cannot be taken back here, and the last layer has no bias"
    one, other = Flat(honest), Flat(mended)
    numbers = [n for layer in one.layers() if layer.kind in WEIGHTED for n in layer.inputs[1:2]]
    assert all(np.array_equal(one.constant(n), other.constant(n)) for n in numbers)


def test_an_honest_file_is_not_made_worse(files: tuple[bytes, bytes]) -> None:
    floating, honest = files
    wanted = answers(floating, SAMPLES)
    found = np.abs((answers(corrected(floating, honest, SAMPLES, SAMPLES[:4]), SAMPLES) - wanted).mean(axis=0))
    step = opened(honest).get_output_details()[0]["quantization"][0]
    assert found.max() <= max(0.5 * step, np.abs((answers(honest, SAMPLES) - wanted).mean(axis=0)).max())
