"""Constants fold into the weights beside them where that is the same function, and stay where it is not."""

import numpy as np
import onnx
import pytest
from small_graphs import answer, constants_of, kinds, made, node, number, weights, with_a_number

from convert.fold import centred, folded

PICTURE = (1, 2, 6, 6)
X = np.random.default_rng(5).uniform(-4, 4, PICTURE).astype(np.float32)
CONV = {"w": weights(1, 3, 2, 3, 3), "b": weights(2, 3)}


def same_function(model: onnx.ModelProto, found: onnx.ModelProto) -> None:
    np.testing.assert_allclose(answer(found, X)[0], answer(model, X)[0], rtol=1e-5, atol=1e-5)


def test_a_trained_network_loses_its_constants_and_keeps_its_answers(
    mobilenet: onnx.ModelProto, inputs: list[np.ndarray]
) -> None:
    """19 hard-swishes of three operators, 9 gates of squeeze-and-excite: 28 products and 28 sums with a number."""
    before = mobilenet.SerializeToString()
    found = folded(mobilenet)
    assert mobilenet.SerializeToString() == before
    assert (with_a_number(mobilenet, "Mul"), with_a_number(mobilenet, "Add")) == (28, 28)
    assert (with_a_number(found, "Mul"), with_a_number(found, "Add")) == (0, 19), "x + 3 of hard-swish has to stay"
    assert kinds(mobilenet).count("Mul") - kinds(found).count("Mul") == 28
    assert kinds(mobilenet).count("Add") - kinds(found).count("Add") == 9
    used = {name for one in found.graph.node for name in one.input}
    assert set(constants_of(found)) <= used
    for one in inputs:
        np.testing.assert_allclose(answer(found, one)[0], answer(mobilenet, one)[0], atol=1e-4)


def test_a_product_goes_into_the_weights_and_a_sum_into_the_bias() -> None:
    model = made(
        [
            *(node("Mul", "x half", "a"), node("Relu", "a", "r"), node("Conv", "r w b", "c")),
            node("Add", "c three", "y0"),
            node("Relu", "y0", "y"),
        ],
        {**CONV, "half": number(0.5), "three": number(3)},
        PICTURE,
    )
    found = folded(model)
    assert kinds(found) == ["Relu", "Conv", "Relu"]
    assert set(constants_of(found)) == {"w", "b"}
    np.testing.assert_array_equal(constants_of(found)["w"], CONV["w"] * 0.5)
    np.testing.assert_array_equal(constants_of(found)["b"], CONV["b"] + 3)
    same_function(model, found)


def test_a_product_reaches_every_layer_behind_it() -> None:
    """x / 6 is taken by two convolutions; each gets the sixth once."""
    model = made(
        [
            *(node("Mul", "sixth x", "a"), node("Conv", "a w b", "c"), node("Conv", "a v b2", "d")),
            node("Add", "c d", "y"),
        ],
        {**CONV, "v": weights(3, 3, 2, 3, 3), "b2": weights(4, 3), "sixth": number(1 / 6)},
        PICTURE,
    )
    found = folded(model)
    assert kinds(found) == ["Conv", "Conv", "Add"]
    same_function(model, found)


def test_a_factor_on_both_sides_of_a_product_counts_twice() -> None:
    """y = conv(a * mean(a)) with a = x / 2 is a quarter of that with x."""
    model = made(
        [
            *(node("Mul", "x half", "a"), node("ReduceMean", "a axes", "m"), node("Mul", "a m", "p")),
            node("Conv", "p w b", "y"),
        ],
        {**CONV, "half": number(0.5), "axes": np.array([2, 3])},
        PICTURE,
    )
    found = folded(model)
    assert with_a_number(found, "Mul") == 0
    np.testing.assert_allclose(constants_of(found)["w"], CONV["w"] / 4, rtol=1e-6)
    same_function(model, found)


STAYS = {
    "a clipped product": ("Mul x half a; Clip a low high r; Conv r w b y", {"low": number(0), "high": number(1)}),
    "a product that something is added to": ("Mul x half a; Add a x r; Conv r w b y", {}),
    "a product that is an answer": ("Mul x half y; Conv y w b c", {}),
    "a product of which one reader is an answer": ("Mul x half a; Conv a w b c; Relu a y", {}),
    "weights of two layers": ("Mul x half a; Conv a w b c; Conv x w b d; Add c d y", {}),
    "a negative product before ReLU": ("Mul x minus a; Relu a r; Conv r w b y", {"minus": number(-2)}),
    "a sum beside another reader": ("Conv x w b c; Add c half a; Mul c a y", {}),
    "a sum behind an answer": ("Conv x w b y; Add y half a; Relu a r", {}),
    "a sum into a bias of two layers": ("Conv x w b c; Conv x v b d; Add c half a; Mul a d y", {"v": CONV["w"] * 2}),
    "a sum without a bias": ("Conv x w c; Add c half a; Relu a y", {}),
    "a sum that is an answer": ("Conv x w b c; Add c half y", {}),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_would_change_the_function_is_left_alone(case: str) -> None:
    text, more = STAYS[case]
    nodes = []
    for one in text.split("; "):
        kind, *inputs, output = one.split()
        nodes.append(node(kind, " ".join(inputs), output))
    used = {name for one in nodes for name in one.input}
    held = {name: array for name, array in {**CONV, "half": number(0.5), **more}.items() if name in used}
    model = made(nodes, held, PICTURE)
    found = folded(model)
    assert kinds(found) == kinds(model)
    same_function(model, found)
    for name, array in constants_of(model).items():
        np.testing.assert_array_equal(constants_of(found)[name], array)


LUMA = (1, 1, 8, 8)


def begins_with(*nodes: onnx.NodeProto, mean: float = 0.449 * 255, **more: np.ndarray) -> onnx.ModelProto:
    held = {"mean": number(mean), "w": np.ones((2, 1, 3, 3), np.float32), "b": weights(7, 2), **more}
    used = {name for one in nodes for name in one.input}
    return made(list(nodes), {name: array for name, array in held.items() if name in used}, LUMA)


@pytest.mark.parametrize(("mean", "centre"), [(0.449, 114), (0.5, 128), (0.0, 0), (1.0, 255)])
def test_the_input_is_centred_at_the_nearest_luma(mean: float, centre: int) -> None:
    """255 * 0.449 = 114.495. Inside, nothing changes; in a corner five of nine weights see the padding."""
    convolution = node("Conv", "s w b", "y", pads=[1, 1, 1, 1])
    model = begins_with(node("Sub", "x mean", "s"), convolution, mean=255 * mean)
    luma = np.random.default_rng(1).integers(0, 256, LUMA).astype(np.float32)
    found, told = centred(model)
    assert told == centre
    assert kinds(found) == ["Conv"]
    wanted, got = answer(model, luma)[0], answer(found, luma - centre)[0]
    np.testing.assert_allclose(got[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-3)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_allclose((got - wanted)[..., row, column], 5 * (centre - 255 * mean), atol=1e-3)


def test_a_trained_network_is_centred_up_to_its_outermost_pixels(
    mobilenet: onnx.ModelProto, inputs: list[np.ndarray]
) -> None:
    found, centre = centred(folded(mobilenet))
    assert centre == 114
    assert kinds(found).count("Sub") == 0
    for one in inputs:
        wanted = answer(mobilenet, one)[0]
        np.testing.assert_allclose(answer(found, one - centre)[0], wanted, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "nodes",
    [
        ("Add x mean s", "Conv s w b y"),
        ("Sub mean x s", "Conv s w b y"),
        ("Conv x w b y",),
        ("Sub x mean s", "Conv s w b c", "Relu x r", "Add c r y"),
    ],
    ids=["another operator", "the other way round", "nothing subtracted", "luma goes elsewhere too"],
)
def test_a_network_that_begins_otherwise_is_refused(nodes: tuple[str, ...]) -> None:
    parts = [one.split() for one in nodes]
    model = begins_with(*(node(kind, " ".join(inputs), output) for kind, *inputs, output in parts))
    with pytest.raises(ValueError, match=r"^the network does not begin with luma - mean; export it with .*\.$"):
        centred(model)


@pytest.mark.parametrize("behind", ["Conv s w y", "Relu s y"])
def test_what_is_no_convolution_with_a_bias_is_refused(behind: str) -> None:
    kind, *inputs, output = behind.split()
    model = begins_with(node("Sub", "x mean", "s"), node(kind, " ".join(inputs), output))
    with pytest.raises(ValueError, match=r"does not begin with a convolution with a bias; .*\.$"):
        centred(model)
