"""Channels of one tensor made alike in size, so that one int8 scale serves them all; the function stays the same.

A tensor's channels share one int8 scale: a channel whose values are a tenth of the largest one's keeps three bits less.
Between two layers that are linear, or bent by ReLU alone, each channel may be divided by a number of its own, which the
weights behind take back. A depthwise convolution takes it for nothing, as its weights have a scale per channel anyway;
in front of other layers the division is shared between activation and weights.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1 (scaling
across ReLU); Xiao et al., SmoothQuant, ICML 2023, equation 4 (observed activations, and the share).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx

from convert.graph import WEIGHTED, Graph

_PASSES = ("GlobalAveragePool", "Identity", "Relu")  # each channel by itself, in proportion
SHARE = 1.0  # of the division that goes to the activation in front of a layer whose weights do not take it for nothing
_FEWEST = 1e-3  # of the largest channel: smaller ones are noise, or dead


@dataclass
class _Group:
    """Tensors whose channels are divided by the same numbers. free: whether a division is possible at all."""

    values: set[str] = field(default_factory=set)
    free: bool = True


def equalised(model: onnx.ModelProto, inputs: Iterable[np.ndarray], share: float = SHARE) -> onnx.ModelProto:
    """A copy whose tensors have channels of more equal size, and which gives the same outputs up to rounding.

    inputs: what the network takes, (1, C, H, W) float32 each; their values decide what a channel's size is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    groups = [group for group in _groups(graph) if group.free]
    # What goes into ReLU counts too, although int8 holds only what comes out: channels that are mostly off would else
    # be blown up, and with them the weights behind (agreement with PyTorch 98 % -> 94 % on one student).
    sizes = _sizes(copy, sorted({value for group in groups for value in group.values}), inputs)
    for group in groups:
        _divide(graph, group, np.max([sizes[value] for value in group.values], axis=0), share)
    return copy


def _groups(graph: Graph) -> list[_Group]:
    """Every tensor behind a convolution in the group of those that are scaled with it."""
    belongs: dict[str, _Group] = {}
    for node in graph.graph.node:
        if node.op_type == "Conv":
            belongs[node.output[0]] = _Group({node.output[0]})
            continue
        known = [belongs[name] for name in node.input if name in belongs]
        passes = (node.op_type in _PASSES or _spatial_mean(graph, node)) and known
        summed = node.op_type == "Add" and len(known) == 2
        gated = node.op_type == "Mul" and len(known) == 1  # squeeze-and-excite: the gate stays as it is
        if passes or summed or gated:
            _join(belongs, known, node.output[0])
        else:
            for group in known:  # something that no division passes
                group.free = False
    for value in graph.outputs & set(belongs):
        belongs[value].free = False
    return list({id(group): group for group in belongs.values()}.values())


def _spatial_mean(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether the operator takes the mean over height and width alone."""
    if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in graph.constants:
        return False
    return {int(axis) % 4 for axis in graph.array(node.input[1])} == {2, 3}


def _join(belongs: dict[str, _Group], groups: list[_Group], value: str) -> None:
    first = groups[0]
    for other in groups[1:]:
        first.free &= other.free
        first.values |= other.values
    first.values.add(value)
    for name in first.values:
        belongs[name] = first


def _sizes(model: onnx.ModelProto, values: list[str], inputs: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """value -> (C,) largest absolute value of each channel."""
    import onnxruntime

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    largest: dict[str, np.ndarray] = {}
    for one in inputs:
        for value, found in zip(values, session.run(values, {name: one})):
            size = np.abs(found).max(axis=(0, 2, 3))
            largest[value] = np.maximum(largest.get(value, size), size)
    return largest


def _divide(graph: Graph, group: _Group, size: np.ndarray, share: float) -> None:
    consumers = [node for value in group.values for node in graph.consumers(value) if node.op_type in WEIGHTED]
    producers = [node for value in group.values for node in [graph.producer(value)] if node.op_type == "Conv"]
    named = [graph.owned(node, place) for node in producers for place in (1, 2) if len(node.input) > place]
    named += [graph.owned(node, 1) for node in consumers]
    if not consumers or None in named or not size.any():
        return
    size = np.maximum(size, _FEWEST * size.max())
    mixing = [node for node in consumers if not _depthwise(graph, node)]
    if mixing:
        weights = np.max([np.abs(graph.array(node.input[1])).max(axis=(0, 2, 3)) for node in mixing], axis=0)
        weights = np.maximum(weights, _FEWEST * weights.max())
        by = size**share / weights ** (1 - share)
    else:
        by = size
    by = by / np.exp(np.log(by).mean())
    for node in producers:
        graph.put(node.input[1], graph.array(node.input[1]) / by[:, None, None, None])
        if len(node.input) > 2:
            graph.put(node.input[2], graph.array(node.input[2]) / by)
    for node in consumers:
        along = by[:, None, None, None] if _depthwise(graph, node) else by[None, :, None, None]
        graph.put(node.input[1], graph.array(node.input[1]) * along)


def _depthwise(graph: Graph, node: onnx.NodeProto) -> bool:
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return groups > 1 and groups == graph.array(node.input[1]).shape[0]
