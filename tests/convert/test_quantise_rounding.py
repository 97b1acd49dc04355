"""Weights of one channel are rounded together, by what their inputs have in common."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from small_models import answers, calibrated, converter_of, int8

from convert.quantise.flat import WEIGHTED, Flat
from convert.quantise.full import quantise
from convert.quantise.how import How
from convert.quantise.rounding import rounded, rounded_together, taken

_DRAWN = np.random.default_rng(0)


def _smooth(seed: int) -> np.ndarray:
    """(1, 24, 24, 3): pixels and channels that rise and fall together, as a picture's do."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.0, 4.0, (4, 4)).repeat(6, 0).repeat(6, 1)[..., None] * [1.0, 0.8, 0.6]
    return (coarse + rng.normal(0.0, 0.1, coarse.shape))[None].astype(np.float32)


SAMPLES = [_smooth(seed) for seed in range(12)]
FIRST = _DRAWN.normal(0.0, 0.5, (3, 3, 3, 8)).astype(np.float32)
APART = _DRAWN.normal(0.0, 0.5, (3, 3, 8, 1)).astype(np.float32)
LAST = _DRAWN.normal(0.0, 0.5, (8, 3)).astype(np.float32)


def network(x: tf.Tensor) -> tf.Tensor:
    x = tf.nn.relu(tf.nn.conv2d(x, tf.constant(FIRST), 2, "SAME") + tf.constant(np.linspace(0.1, 0.8, 8), tf.float32))
    x = tf.nn.relu(
        tf.nn.depthwise_conv2d(x, tf.constant(APART), (1, 1, 1, 1), "SAME") + tf.constant(np.full(8, 0.2), tf.float32)
    )
    return tf.matmul(tf.reduce_mean(x, axis=[1, 2]), tf.constant(LAST)) + tf.constant([1.0, -1.0, 0.5])


# --- the rounding


def test_two_inputs_that_are_one_share_what_is_rounded_off() -> None:
    """0.4 and 0.4 of the same input are 0.8 of it: 0 and 1, not 0 and 0."""
    found = rounded(np.array([[[0.4, 0.4]]]), np.array([[[1.0, 1.0], [1.0, 1.0]]]))
    np.testing.assert_array_equal(found, [[[0.0, 1.0]]])


def test_inputs_with_nothing_in_common_are_rounded_to_the_nearest() -> None:
    weights = _DRAWN.uniform(-120, 120, (2, 5, 7))
    found = rounded(weights, np.stack([np.diag(_DRAWN.uniform(0.5, 2.0, 7)) for _ in range(2)]))
    np.testing.assert_array_equal(found, np.round(weights))


def test_inputs_that_never_differ_leave_the_nearest() -> None:
    weights = _DRAWN.uniform(-120, 120, (1, 2, 4))
    np.testing.assert_array_equal(rounded(weights, np.zeros((1, 4, 4))), np.round(weights))


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_it_is_what_solving_for_the_weights_left_gives(size: int, seed: int) -> None:
    """The same by another way: after each weight the best real values of those left, from the normal equations."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(40, size)) @ rng.normal(size=(size, size))
    moments = inputs.T @ inputs / 40
    weights = rng.uniform(-20, 20, size)
    damped = moments + 0.01 * np.trace(moments) / size * np.eye(size)
    order = np.argsort(-np.diag(moments), kind="stable")
    stored, best = np.zeros(size), weights.copy()
    for n, k in enumerate(order):
        stored[k] = np.round(best[k])
        done, left = order[: n + 1], order[n + 1 :]
        owed = damped[np.ix_(left, done)] @ (weights[done] - stored[done])
        best[left] = weights[left] + np.linalg.solve(damped[np.ix_(left, left)], owed)
    np.testing.assert_array_equal(rounded(weights[None, None], moments[None])[0, 0], stored)


@given(st.integers(0, 2**32 - 1))
def test_no_weight_leaves_int8(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    found = rounded(rng.uniform(-127, 127, (1, 3, 6)) * rng.choice([0.1, 1.0, 3.0]), (inputs.T @ inputs / 50)[None])
    assert np.abs(found).max() <= 127
    np.testing.assert_array_equal(found, np.round(found))


# --- what a layer takes


def _of(kind: str) -> tuple[Callable, np.ndarray]:
    """A layer alone, and its weights as one row for each output, by group: (G, R, K)."""
    kernel = _DRAWN.normal(size=(3, 3, 4, 6)).astype(np.float32)
    rows = kernel.transpose(3, 0, 1, 2).reshape(1, 6, -1)
    if kind == "depthwise":
        held = kernel[..., :2]
        return lambda x: tf.nn.depthwise_conv2d(x, tf.constant(held), (1, 1, 1, 1), "SAME"), (
            held.transpose(2, 3, 0, 1).reshape(4, 2, -1)
        )
    if kind == "groups":
        held = kernel[:, :, :2]
        return lambda x: tf.nn.conv2d(x, tf.constant(held), 1, "VALID"), (held.transpose(3, 0, 1, 2).reshape(2, 3, -1))
    if kind == "matmul":
        held = kernel[0, 0]
        return lambda x: tf.matmul(tf.reshape(x[:, :1, :1], (1, 4)), tf.constant(held)), held.T[None]
    stride, padding, dilation = {"same": (2, "SAME", 1), "valid": (2, "VALID", 1), "wide": (1, "SAME", 2)}[kind]
    return lambda x: tf.nn.conv2d(x, tf.constant(kernel), stride, padding, dilations=dilation), rows


@pytest.mark.parametrize("kind", ["same", "valid", "wide", "depthwise", "groups", "matmul"])
def test_what_a_layer_takes_times_its_weights_is_its_output(kind: str) -> None:
    layer, weights = _of(kind)
    samples = [_DRAWN.normal(size=(1, 11, 12, 4)).astype(np.float32)]
    model = calibrated(layer, samples)
    flat = Flat(model)
    (number,) = [n for n, one in enumerate(flat.layers()) if one.kind in WEIGHTED]
    source = samples[0][:, :1, :1] if kind == "matmul" else samples[0]
    inputs = taken(flat, number, source)
    given_out = np.einsum("gnk,grk->ngr", inputs, weights)
    np.testing.assert_allclose(
        given_out.reshape(-1, weights.shape[0] * weights.shape[1]),
        answers(model, samples).reshape(len(given_out), -1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_of_many_places_some_are_drawn_always_the_same() -> None:
    kernel = tf.constant(_DRAWN.normal(size=(1, 1, 4, 6)).astype(np.float32))
    sample = _DRAWN.normal(size=(1, 40, 40, 4)).astype(np.float32)
    flat = Flat(calibrated(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), [sample]))
    (number,) = [n for n, one in enumerate(flat.layers()) if one.kind in WEIGHTED]
    found = taken(flat, number, sample, 3)
    assert found.shape == (1, 200, 4)
    np.testing.assert_array_equal(found, taken(flat, number, sample, 3))
    assert not np.array_equal(found, taken(flat, number, sample, 4))
    assert len(np.unique(found[0], axis=0)) == 200


# --- a whole file


def test_only_weights_change_and_the_answers_are_nearer() -> None:
    floating = calibrated(network, SAMPLES)
    nearest = int8(floating)
    together = rounded_together(floating, nearest, SAMPLES)
    one, other = Flat(nearest), Flat(together)
    weights = {layer.inputs[1] for layer in one.layers() if layer.kind in WEIGHTED}
    changed = set()
    for number in range(len(one.tensors)):
        before, after = one.constant(number), other.constant(number)
        assert (before is None) == (after is None)
        if before is not None and not np.array_equal(before, after):
            changed.add(number)
            assert np.abs(before.astype(int) - after).max() < 20
    assert changed == weights
    assert rounded_together(floating, nearest, SAMPLES) == together


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_whole_way_gives_answers_nearer_to_the_float_model(per_channel: bool) -> None:
    fresh = [_smooth(seed) for seed in range(100, 130)]
    wanted, error = answers(calibrated(network, SAMPLES), fresh), {}
    for rounding in ("nearest", "together"):
        how = How("observed", bias_pictures=12, per_channel=per_channel, rounding=rounding)
        content, _ = quantise(converter_of(network, SAMPLES[:1]), SAMPLES, tf.int8, tf.int8, how)
        error[rounding] = float(((answers(content, fresh) - wanted) ** 2).mean())
    assert error["together"] < error["nearest"], error
