"""Channels of one tensor become alike in size, and the network answers as before."""

import numpy as np
import onnx
import pytest
from small_graphs import answer, constants_of, made, node, number, weights

from convert.equalise import equalised
from convert.fold import centred, folded

SIZE = (1, 2, 8, 8)
PICTURES = [np.random.default_rng(seed).uniform(-1, 1, SIZE).astype(np.float32) for seed in range(4)]
UNEQUAL = np.array([100.0, 10.0, 1.0, 0.5], np.float32)[:, None, None, None]
FIRST = {"w": weights(1, 4, 2, 3, 3) * UNEQUAL, "b": weights(2, 4) * UNEQUAL[:, 0, 0, 0]}
LAST = {"v": weights(3, 3, 4, 1, 1) / UNEQUAL[:, 0, 0, 0][None, :, None, None]}


def ratio(model: onnx.ModelProto, *values: str) -> float:
    """Largest channel of these tensors over the smallest: both are largest absolute values over all pictures."""
    found = [np.abs(tensor).max(axis=(0, 2, 3)) for x in PICTURES for tensor in answer(model, x, *values)[1:]]
    size = np.max(found, axis=0)
    return size.max() / size.min()


def same_answers(model: onnx.ModelProto, found: onnx.ModelProto) -> None:
    for x in PICTURES:
        wanted = answer(model, x)[0]
        np.testing.assert_allclose(answer(found, x)[0], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_channels_between_two_convolutions_become_equal() -> None:
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "r"), node("Conv", "r v", "y")]
    model = made(nodes, FIRST | LAST, SIZE)
    before = model.SerializeToString()
    found = equalised(model, PICTURES)
    assert model.SerializeToString() == before
    same_answers(model, found)
    assert ratio(model, "c", "r") > 50
    assert ratio(found, "c", "r") == pytest.approx(1.0, rel=1e-4)


def test_the_division_has_a_geometric_mean_of_one_and_can_be_shared() -> None:
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "r"), node("Conv", "r v", "y")]
    model = made(nodes, FIRST | LAST, SIZE)
    for share, least, most in ((1.0, 1.0, 1.01), (0.5, 2.0, 100.0)):
        found = equalised(model, PICTURES, share)
        same_answers(model, found)
        assert least - 1e-3 < ratio(found, "c", "r") < most
        by = FIRST["w"] / constants_of(found)["w"]
        np.testing.assert_allclose(by, by[:, :1, :1, :1].repeat(2, 1).repeat(3, 2).repeat(3, 3), rtol=1e-4)
        assert np.log(by[:, 0, 0, 0]).mean() == pytest.approx(0.0, abs=1e-5)
        np.testing.assert_allclose(constants_of(found)["v"], LAST["v"] * by[:, 0, 0, 0][None, :, None, None], rtol=1e-4)


def test_a_depthwise_convolution_takes_the_division_by_its_own_channel() -> None:
    nodes = [
        *(node("Conv", "x w b", "c"), node("Relu", "c", "r")),
        *(node("Conv", "r d e", "m", group=4), node("Conv", "m v", "y")),
    ]
    model = made(nodes, FIRST | LAST | {"d": weights(4, 4, 1, 3, 3), "e": weights(5, 4)}, SIZE)
    found = equalised(model, PICTURES)
    same_answers(model, found)
    for values in (("c", "r"), ("m",)):
        assert ratio(model, *values) > 20
        assert ratio(found, *values) == pytest.approx(1.0, rel=1e-4)


def test_both_summands_of_a_residual_addition_are_divided_alike() -> None:
    nodes = [
        *(node("Conv", "x w b", "c"), node("Conv", "c u e", "d", pads=[1, 1, 1, 1])),
        *(node("Add", "c d", "s"), node("Conv", "s v", "y")),
    ]
    model = made(nodes, FIRST | LAST | {"u": weights(4, 4, 4, 3, 3), "e": weights(5, 4)}, SIZE)
    found = equalised(model, PICTURES)
    same_answers(model, found)
    assert ratio(found, "c", "d", "s") < ratio(model, "c", "d", "s") / 2
    assert ratio(found, "c", "d", "s") == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(  # the same numbers for all three
        answer(model, PICTURES[0], "c")[1] / answer(found, PICTURES[0], "c")[1],
        answer(model, PICTURES[0], "s")[1] / answer(found, PICTURES[0], "s")[1],
        rtol=1e-2,
    )


def test_a_channel_that_is_always_zero_does_no_harm() -> None:
    first = {"w": FIRST["w"].copy(), "b": FIRST["b"].copy()}
    first["w"][1], first["b"][1] = 0.0, 0.0
    model = made([node("Conv", "x w b", "c"), node("Conv", "c v", "y")], first | LAST, SIZE)
    found = equalised(model, PICTURES)
    assert all(np.isfinite(array).all() for array in constants_of(found).values())
    same_answers(model, found)


STAYS = {
    "hard-swish": "Conv x w b c; Mul c sixth a; Add c three p; Clip p low high q; Mul a q h; Conv h v y",
    "hard-swish beside a convolution": "Conv x w b c; HardSwish c h; Conv c v k; Conv h u l; Add k l y",
    "the answer": "Conv x w b c; Relu c y; Conv y v z",
    "an addition with something else": "Conv x w b c; Sigmoid c g; Add c g s; Conv s v y",
    "weights of two layers": "Conv x w b c; Conv c v k; Conv c v l; Add k l y",
    "nothing behind it": "Conv x w b c; MaxPool c y",
}


@pytest.mark.parametrize("case", STAYS)
def test_what_a_division_does_not_pass_is_left_alone(case: str) -> None:
    nodes = []
    for one in STAYS[case].split("; "):
        kind, *inputs, output = one.split()
        more = {"kernel_shape": [2, 2]} if kind == "MaxPool" else {}
        nodes.append(node(kind, " ".join(inputs), output, **more))
    numbers = {"sixth": number(1 / 6), "three": number(3), "low": number(0), "high": number(6)}
    held = FIRST | LAST | {"u": LAST["v"] * 2} | numbers
    used = {name for one in nodes for name in one.input}
    model = made(nodes, {name: array for name, array in held.items() if name in used}, SIZE)
    found = equalised(model, PICTURES)
    for name, array in constants_of(model).items():
        np.testing.assert_array_equal(constants_of(found)[name], array)


def test_a_trained_network_answers_as_before(mobilenet: onnx.ModelProto, inputs: list[np.ndarray]) -> None:
    model, centre = centred(folded(mobilenet))
    shown = [one - centre for one in inputs]
    found = equalised(model, shown)
    changed = [name for name, a in constants_of(model).items() if not np.array_equal(a, constants_of(found)[name])]
    assert len(changed) > 20
    for x in shown:
        np.testing.assert_allclose(answer(found, x)[0], answer(model, x)[0], atol=1e-4)

    def spread(one: onnx.ModelProto, values: list[str]) -> np.ndarray:
        """Of each tensor: its largest channel over its median one."""
        sizes = [[np.abs(tensor).max(axis=(0, 2, 3)) for tensor in answer(one, x, *values)[1:]] for x in shown]
        largest = [np.max(of, axis=0) for of in zip(*sizes)]
        return np.array([size.max() / np.median(size) for size in largest])

    divided = [n.output[0] for n in model.graph.node if n.op_type == "Conv" and n.input[2] in changed]
    before, after = spread(model, divided), spread(found, divided)
    assert len(divided) >= 10
    assert np.median(after) < 1.5 < 2 < np.median(before)
