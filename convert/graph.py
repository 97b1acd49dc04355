"""An ONNX graph with what a rewrite asks of it."""

import numpy as np
import onnx
from onnx import numpy_helper

WEIGHTED = ("Conv", "Gemm")


class Graph:
    """A model's graph. Rewrites change it in place; its constants are the initialisers, by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {one.name: one for one in self.graph.initializer}
        self.outputs = {one.name for one in self.graph.output}

    def consumers(self, value: str) -> list[onnx.NodeProto]:
        """The operators that take `value`."""
        return [node for node in self.graph.node if value in node.input]

    def producer(self, value: str) -> onnx.NodeProto | None:
        """The operator that gives `value`; None for an input or a constant."""
        return next((node for node in self.graph.node if value in node.output), None)

    def array(self, name: str) -> np.ndarray:
        """A constant's value."""
        return numpy_helper.to_array(self.constants[name])

    def put(self, name: str, array: np.ndarray) -> None:
        """Give a constant another value, in the type that it has."""
        kind = self.array(name).dtype
        self.constants[name].CopyFrom(numpy_helper.from_array(array.astype(kind), name))

    def scalar(self, node: onnx.NodeProto) -> tuple[str, float] | None:
        """(the other input, the number) of a node one of whose two inputs is a single constant number."""
        for this, other in ((0, 1), (1, 0)):
            name = node.input[this]
            if name in self.constants and node.input[other] not in self.constants and self.array(name).size == 1:
                return node.input[other], float(self.array(name).reshape(()))
        return None

    def owned(self, node: onnx.NodeProto, place: int) -> str | None:
        """The name of a node's constant input, when no other node uses it."""
        name = node.input[place] if len(node.input) > place else ""
        return name if name in self.constants and len(self.consumers(name)) == 1 else None

    def bypass(self, node: onnx.NodeProto, value: str) -> None:
        """Take `node` away: whoever took its output takes `value`."""
        for other in self.consumers(node.output[0]):
            for place, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[place] = value
        self.graph.node.remove(node)

    def tidy(self) -> None:
        """Leave out constants that nobody uses any more."""
        used = {name for node in self.graph.node for name in node.input}
        for name in [name for name in self.constants if name not in used]:
            self.graph.initializer.remove(self.constants.pop(name))
