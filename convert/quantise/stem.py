"""The first convolution of an int8 file, made quick: neighbouring pixels of luma become channels.

Over one channel an int8 kernel fills a part of each of its registers: XNNPACK takes seven times as long over
MobileNetV3's first layer in int8 as in float32, a third of the time of the whole network. A row of W pixels with one
channel lies in memory as W / BY places with BY channels do, so a RESHAPE of it costs nothing. The convolution then
gives the outputs of BY / stride columns at once, as so many times the channels, and a second RESHAPE lays them out as
they were. The weights are the same, with zeros where a window does not reach; so is every sum, to the bit.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.quantise.flat import Flat, schema

BY = 8  # pixels; 16 are no quicker and cost four times the zeros


def merge_columns(content: bytes) -> bytes:
    """The file with its first convolution rewritten; the file as it is where that has not the form: one channel, at
    most a PAD before it, a stride that divides BY, no dilation, outputs that fill the row."""
    flat = Flat(content)
    found = _stem(flat)
    if found is None:
        return content
    _rewrite(flat, found)
    return flat.content()


@dataclass(frozen=True)
class _Stem:
    """conv: the convolution's number among the operators. source: the input's among the tensors. pads: rows above and
    below, columns left. stride: of both sides."""

    conv: int
    source: int
    pads: tuple[int, int, int]
    stride: int


def _stem(flat: Flat) -> _Stem | None:
    layers, graph = flat.layers(), flat.model.subgraphs[0]
    source = reached = int(graph.inputs[0])
    rows, conv = np.zeros((4, 2), int), 0
    if layers[0].kind == "PAD" and layers[0].inputs[0] == source:
        held = flat.model.buffers[flat.tensors[layers[0].inputs[1]].buffer].data
        rows, conv, reached = np.frombuffer(bytes(held), np.int32).reshape(4, 2), 1, layers[0].output
    layer = layers[conv]
    if layer.kind != "CONV_2D" or not flat.is_int8(layer.output) or layer.inputs[0] != reached:
        return None
    options, (_, _, width, channels) = graph.operators[conv].builtinOptions, flat.shape(source)
    stride, columns = options.strideW, flat.shape(layer.output)[2]
    usual = options.dilationWFactor == options.dilationHFactor == 1 and options.padding == schema.Padding.VALID
    usual = usual and layer.has_bias
    fills = width % BY == 0 and BY % stride == 0 and columns * stride == width
    if channels != 1 or not usual or not fills or not flat.is_int8(source) or rows[[0, 3]].any():
        return None
    return _Stem(conv, source, (int(rows[1, 0]), int(rows[1, 1]), int(rows[2, 0])), stride)


def _rewrite(flat: Flat, stem: _Stem) -> None:
    graph, layer = flat.model.subgraphs[0], flat.layers()[stem.conv]
    (_, height, width, _), (_, rows, _, outputs) = flat.shape(stem.source), flat.shape(layer.output)
    above, below, left = stem.pads
    at_once, cells = BY // stem.stride, width // BY
    weights = flat.constant(layer.inputs[1]).reshape(outputs, *flat.shape(layer.inputs[1])[1:3])
    merged, before, behind = merged_weights(weights, stem.stride, left)

    shown = _like(flat, stem.source, (1, height, cells, BY))
    padded = _like(flat, stem.source, (1, height + above + below, before + cells + behind, BY))
    kernel = _like(flat, layer.inputs[1], merged.shape, merged)
    bias = _like(flat, layer.inputs[2], (len(merged),), np.tile(flat.bias(layer)[0], at_once))
    for number in (kernel, bias):
        held = flat.tensors[number].quantization
        if len(held.scale) > 1:  # one for each output, else one for all
            held.scale, held.zeroPoint = np.tile(held.scale, at_once), np.tile(held.zeroPoint, at_once)
    given = _like(flat, layer.output, (1, rows, cells, len(merged)))

    conv = graph.operators[stem.conv]
    conv.inputs, conv.outputs = np.array([padded, kernel, bias], np.int32), np.array([given], np.int32)
    conv.builtinOptions.strideW = 1
    around = np.array([[0, 0], [above, below], [before, behind], [0, 0]], np.int32)
    operators = [
        _reshape(flat, stem.source, shown),
        _operator(flat, "PAD", [shown, _constant(flat, around)], padded),
        conv,
    ]
    graph.operators[: stem.conv + 1] = [*operators, _reshape(flat, given, layer.output)]


def merged_weights(weights: np.ndarray, stride: int, left: int) -> tuple[np.ndarray, int, int]:
    """(outputs, kh, kw) weights over one channel -> (BY / stride * outputs, kh, places, BY) over places of BY columns,
    and how many places reach before and behind a place. left: columns of padding that the first window begins before
    the row."""
    outputs, height, width = weights.shape
    at_once = BY // stride
    before = -(-left // BY)
    behind = max(0, (stride * (at_once - 1) + width - 1 - left) // BY)
    merged = np.zeros((at_once, outputs, height, before + 1 + behind, BY), weights.dtype)
    for which in range(at_once):
        for column in range(width):
            place, channel = divmod(stride * which + column - left, BY)
            merged[which, :, :, before + place, channel] = weights[:, :, column]
    return merged.reshape(at_once * outputs, height, -1, BY), before, behind


def _like(flat: Flat, number: int, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
    """The number of a new tensor of another one's type and quantisation; values: where the file holds them."""
    tensor = copy.deepcopy(flat.tensors[number])
    tensor.name = f"{(tensor.name or b'').decode()}/columns".encode()
    tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None
    tensor.buffer = 0 if values is None else _buffer(flat, values)
    flat.tensors.append(tensor)
    return len(flat.tensors) - 1


def _constant(flat: Flat, values: np.ndarray) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.type = b"columns", schema.TensorType.INT32
    tensor.shape, tensor.buffer = np.array(values.shape, np.int32), _buffer(flat, values)
    flat.tensors.append(tensor)
    return len(flat.tensors) - 1


def _buffer(flat: Flat, values: np.ndarray) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    flat.model.buffers.append(buffer)
    return len(flat.model.buffers) - 1


def _reshape(flat: Flat, source: int, output: int) -> Any:
    return _operator(flat, "RESHAPE", [source, _constant(flat, np.array(flat.shape(output), np.int32))], output)


def _operator(flat: Flat, kind: str, inputs: list[int], output: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(flat, getattr(schema.BuiltinOperator, kind))
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    return operator


def _code(flat: Flat, builtin: int) -> int:
    codes = flat.model.operatorCodes
    for number, code in enumerate(codes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 2 if builtin == schema.BuiltinOperator.PAD else 1  # PAD in int8 since 2
    codes.append(code)
    return len(codes) - 1
