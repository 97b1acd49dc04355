"""The first convolution over merged columns: the weights by hand, the same bytes of output, and what is left alone."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from small_models import converter_of

from convert.quantise.full import quantise
from convert.quantise.how import How
from convert.quantise.stem import BY, merge_columns, merged_weights
from device.bundle import load_bundle
from device.shipped import shipped


def test_the_weights_by_hand() -> None:
    """Stride 4, a window of 3 columns that begins one before the row: output 0 of a place sees columns -1, 0, 1, output
    1 sees 3, 4, 5."""
    merged, before, behind = merged_weights(np.array([[[1, 2, 3]]], np.int8), 4, 1)
    assert (merged.shape, before, behind) == ((2, 1, 2, BY), 1, 0)
    assert merged[0, 0].tolist() == [[0, 0, 0, 0, 0, 0, 0, 1], [2, 3, 0, 0, 0, 0, 0, 0]]
    assert merged[1, 0].tolist() == [[0] * 8, [0, 0, 0, 1, 2, 3, 0, 0]]


@given(
    kernel=st.integers(1, 7),
    stride=st.sampled_from([1, 2, 4, 8]),
    left=st.integers(0, 3),
    places=st.integers(2, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_row_is_convolved_as_before(kernel: int, stride: int, left: int, places: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, row = rng.integers(-9, 10, (3, 1, kernel)), rng.integers(-9, 10, places * BY)
    wide = np.pad(row, (left, kernel + stride))
    starts = range(0, places * BY, stride)
    expected = np.array([[(wide[n : n + kernel] * one[0]).sum() for one in weights] for n in starts])
    merged, before, behind = merged_weights(weights, stride, left)
    cells = np.pad(row, (before * BY, behind * BY)).reshape(-1, BY)
    width = before + 1 + behind
    found = np.array([[(cells[n : n + width] * one[0]).sum() for one in merged] for n in range(places)])
    assert found.reshape(expected.shape).tolist() == expected.tolist()


def int8(
    size: tuple[int, int, int],
    weights: tuple[int, ...],
    stride: int,
    pads: list[list[int]] | None,
    how: How | None = None,
) -> bytes:
    """A convolution, a mean and three logits, in int8."""
    rng = np.random.default_rng(5)
    first = rng.normal(0, 0.05, weights).astype(np.float32)
    last = rng.normal(0, 0.3, (weights[3], 3)).astype(np.float32)

    def network(x: tf.Tensor) -> tf.Tensor:
        x = x if pads is None else tf.pad(x, pads)
        x = tf.nn.relu(tf.nn.conv2d(x, first, stride, "VALID") + 0.1 * np.arange(weights[3], dtype=np.float32))
        return tf.reduce_mean(x, axis=[1, 2]) @ last

    samples = [rng.uniform(-1, 1, (1, *size)).astype(np.float32) for _ in range(8)]
    samples[0].flat[:2] = -1, 1
    return quantise(converter_of(network, samples[:1]), samples, tf.int8, tf.int8, how or How("observed"))[0]


def kinds(content: bytes) -> list[str]:
    interpreter = Interpreter(model_content=content)
    return [one["op_name"] for one in interpreter._get_ops_details() if one["op_name"] != "DELEGATE"]


ONE = [[0, 0], [1, 1], [1, 1], [0, 0]]


def test_a_converted_file_begins_with_merged_columns() -> None:
    assert kinds(int8((32, 32, 1), (3, 3, 1, 6), 2, ONE))[:4] == ["RESHAPE", "PAD", "CONV_2D", "RESHAPE"]


@pytest.mark.parametrize(
    ("size", "weights", "stride", "pads"),
    [
        ((32, 36, 1), (3, 3, 1, 6), 2, ONE),  # 36 columns are no whole number of places
        ((32, 32, 3), (3, 3, 3, 6), 2, ONE),
        ((32, 32, 1), (3, 3, 1, 6), 3, ONE),
        ((33, 33, 1), (6, 6, 1, 6), 4, None),
        ((32, 32, 1), (6, 6, 1, 6), 4, None),  # seven outputs in a row of 32
    ],
)
def test_another_form_is_left_alone(size, weights, stride, pads) -> None:
    assert "RESHAPE" not in kinds(int8(size, weights, stride, pads))


def test_weights_with_one_scale_for_all_are_merged_too() -> None:
    content = int8((32, 32, 1), (3, 3, 1, 6), 2, ONE, How("observed", per_channel=False))
    assert kinds(content)[:3] == ["RESHAPE", "PAD", "CONV_2D"]
    assert answers(content, np.zeros((1, 32, 32), np.int8), plain=False).shape == (1, 3)


def test_merged_twice_is_merged_once() -> None:
    content = int8((32, 32, 1), (3, 3, 1, 6), 2, ONE)
    assert merge_columns(content) == content


def answers(content: bytes, lumas: np.ndarray, plain: bool) -> np.ndarray:
    kind = tf.lite.experimental.OpResolverType
    how = kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kind.AUTO
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=how)
    interpreter.allocate_tensors()
    found = []
    for luma in lumas:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], luma[None, :, :, None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(found)


@pytest.mark.parametrize("plain", [False, True], ids=["XNNPACK", "reference"])
@pytest.mark.parametrize("folder", shipped(), ids=lambda path: path.name)
def test_a_shipped_file_answers_as_before_to_the_byte(folder: Path, plain: bool) -> None:
    content, size = (folder / "model.tflite").read_bytes(), load_bundle(folder).meta.preprocess
    merged = merge_columns(content)
    rng = np.random.default_rng(0)
    lumas = rng.integers(-128, 128, (12, size.height, size.width), np.int8)
    lumas[0], lumas[1], lumas[2, :112] = -128, 127, 0
    assert kinds(merged)[:4] == ["RESHAPE", "PAD", "CONV_2D", "RESHAPE"]
    assert np.array_equal(answers(content, lumas, plain), answers(merged, lumas, plain))
