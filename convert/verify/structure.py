"""Is a TFLite file what its label says? Types of its tensors and scales of its weights, read from the file itself."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPES = {number: name for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}  # of the output channels in the weights


def structure_reasons(variant: str, path: Path) -> list[str]:
    """Why the file at `path` does not deserve the label `variant`, one sentence each; empty when it does.

    int8-full: every tensor is int8, or int32 as biases and shapes are, and the weights of every convolution have a
    scale for each channel. int8-dynamic: int8 weights, float activations. float16: float16 weights. float32: nothing
    narrower.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    kinds = {_TYPES[tensor.type] for tensor in graph.tensors}
    reasons = []
    if variant == "int8-full":
        if kinds - {"INT8", "INT32"}:
            reasons.append(f"int8-full holds tensors of {', '.join(sorted(kinds - {'INT8', 'INT32'}))}.")
        single = _single_scales(model, graph)
        if single:
            reasons.append(f"int8-full has one scale for all channels in the weights of {single} convolutions.")
    else:
        wanted = {"int8-dynamic": "INT8", "float16": "FLOAT16", "float32": "FLOAT32"}[variant]
        narrow = kinds & {"INT8", "UINT8", "FLOAT16"}
        if (wanted not in kinds) or narrow - {wanted}:
            reasons.append(f"{variant} holds tensors of {', '.join(sorted(kinds))}.")
    return reasons


def _single_scales(model: schema.ModelT, graph: schema.SubGraphT) -> int:
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    found = 0
    for operator in graph.operators:
        axis = _AXIS.get(_NAMES[codes[operator.opcodeIndex]])
        if axis is None:
            continue
        weights = graph.tensors[operator.inputs[1]]
        found += np.size(weights.quantization.scale) != weights.shape[axis]
    return found
