"""ONNX graphs of a few operators, made by hand, and what they answer."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def made(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], size: tuple[int, ...]) -> onnx.ModelProto:
    """A model from `x` of this size to `y`; everything in float32 but the constants of whole numbers."""
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", size), ("y", None))]
    graph = helper.make_graph(nodes, "made by hand", ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(kind: str, inputs: str, output: str, **attributes) -> onnx.NodeProto:
    """An operator; inputs: their names, with blanks between."""
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.0, shape).astype(np.float32)


def answer(model: onnx.ModelProto, x: np.ndarray, *values: str) -> list[np.ndarray]:
    """The outputs for `x`, and what the named tensors within hold."""
    import onnxruntime

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    outputs = [one.name for one in seen.graph.output]
    seen.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values if value not in outputs)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([*outputs, *values], {session.get_inputs()[0].name: x})


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def kinds(model: onnx.ModelProto) -> list[str]:
    return [one.op_type for one in model.graph.node]


def with_a_number(model: onnx.ModelProto, kind: str) -> int:
    """How many operators of a kind have a constant number as one of their inputs."""
    held = constants_of(model)
    return sum(
        any(name in held and held[name].size == 1 for name in one.input)
        for one in model.graph.node
        if one.op_type == kind
    )
