"""Fewer operators, the same function: constant factors and summands of an ONNX graph move into the weights beside them.

An int8 interpreter pays for every operator with a pass over the tensor and a rounding. hard-swish written as
(x / 6) * relu6(x + 3) has three of them, and one goes: what follows is linear in its result up to the next convolution,
whose weights take the 1/6. In squeeze-and-excite the 1/6 of hard-sigmoid goes the same way, and its 3 into the bias of
the convolution before it.
"""

from collections.abc import Iterator

import onnx

from convert.graph import WEIGHTED, Graph

# factor * f(x) = f(factor * x); Relu for a factor that is not negative
_HOMOGENEOUS = ("AveragePool", "Dropout", "Flatten", "GlobalAveragePool", "Identity", "ReduceMean", "Relu", "Reshape")


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that gives the same outputs, up to rounding, with fewer operators.

    A product with a constant number goes into the weights of the convolutions and fully connected layers behind it
    when everything between is homogeneous; a sum with a constant number goes into the bias of the one before it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    for node in [node for node in graph.graph.node if node.op_type == "Mul"]:
        _fold_product(graph, node)
    for node in [node for node in graph.graph.node if node.op_type == "Add"]:
        _fold_sum(graph, node)
    graph.tidy()
    return copy


def _fold_product(graph: Graph, node: onnx.NodeProto) -> None:
    found = graph.scalar(node)
    weights = None if found is None or found[1] < 0 else _linear_weights(graph, node.output[0])
    if weights is None:
        return
    value, factor = found
    for name in weights:  # twice where two factors of a product both hold it
        graph.put(name, graph.array(name) * factor)
    graph.bypass(node, value)


def _linear_weights(graph: Graph, value: str) -> list[str] | None:
    """The weights that take over a factor of `value`; None when some consumer is not homogeneous in it."""
    if value in graph.outputs:
        return None
    found: list[str] = []
    for node in graph.consumers(value):
        at = [place for place, name in enumerate(node.input) if name == value]
        if node.op_type in WEIGHTED:
            weights = graph.owned(node, 1) if at == [0] else None
            more = None if weights is None else [weights]
        elif (node.op_type in _HOMOGENEOUS and at == [0]) or (node.op_type == "Mul" and len(at) == 1):
            more = _linear_weights(graph, node.output[0])
        else:
            more = None
        if more is None:
            return None
        found += more
    return found


def _fold_sum(graph: Graph, node: onnx.NodeProto) -> None:
    found = graph.scalar(node)
    if found is None:
        return
    value, summand = found
    before = graph.producer(value)
    if before is None or before.op_type not in WEIGHTED or len(graph.consumers(value)) != 1 or value in graph.outputs:
        return
    bias = graph.owned(before, 2)
    if bias is not None and node.output[0] not in graph.outputs:
        graph.put(bias, graph.array(bias) + summand)
        graph.bypass(node, value)


def centred(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """(a copy whose input is luma - centre, centre): nothing is subtracted any more before the first convolution.

    `model` begins with a subtraction of a constant mean from its one input, as OneChannel's export does; centre is the
    mean rounded to a luma level, and the bias takes the rest of it. Exact but for the outermost pixels, where the
    padding is now of luma `centre` instead of `mean`, half a level away at most. For int8, whose input then has scale 1
    and zero point centre - 128 and takes a camera's luma by flipping one bit.
    Raises ValueError when the graph does not begin so.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    luma = graph.graph.input[0].name
    first = graph.consumers(luma)
    found = graph.scalar(first[0]) if len(first) == 1 and first[0].op_type == "Sub" else None
    if found is None or found[0] != luma or first[0].input[0] != luma:
        raise ValueError("the network does not begin with luma - mean; export it with convert.export.")
    mean = found[1]
    centre = round(mean)
    layers = list(_convolutions(graph, first[0]))
    for bias, weights in layers:  # conv(luma - mean) = conv(luma - centre) + (centre - mean) * sum of weights
        shift = (centre - mean) * graph.array(weights).sum(axis=(1, 2, 3))
        graph.put(bias, graph.array(bias) + shift)
    graph.bypass(first[0], luma)
    graph.tidy()
    return copy, centre


def _convolutions(graph: Graph, subtraction: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    """(bias, weights) of each convolution behind the subtraction. Raises ValueError when something else is there."""
    for node in graph.consumers(subtraction.output[0]):
        bias, weights = graph.owned(node, 2), graph.owned(node, 1)
        if node.op_type != "Conv" or bias is None or weights is None:
            raise ValueError(
                "the network does not begin with a convolution with a bias; export it with convert.export."
            )
        yield bias, weights
