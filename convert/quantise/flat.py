"""A TFLite file taken apart, and an interpreter that keeps what every tensor held."""

from dataclasses import dataclass

import numpy as np

# Only imported inside the converter's child process: TensorFlow stands behind all of these.
from tensorflow import lite
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Layer:
    """One operator: its kind as the TFLite schema spells it, the numbers of its inputs and of its first output."""

    kind: str
    inputs: tuple[int, ...]
    output: int

    @property
    def has_bias(self) -> bool:
        """Whether a layer with weights has a bias, too: converters leave one away that is zero, and write -1."""
        return len(self.inputs) > 2 and self.inputs[2] >= 0


class Flat:
    """A TFLite file with one graph, to be read and changed."""

    def __init__(self, content: bytes) -> None:
        self.model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        self.tensors = self.model.subgraphs[0].tensors

    def content(self) -> bytes:
        """The file's bytes as it is now."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def numbers(self) -> dict[bytes, int]:
        """Tensor name -> number."""
        return {tensor.name: number for number, tensor in enumerate(self.tensors)}

    def layers(self) -> list[Layer]:
        """The operators in the order in which they run."""
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in self.model.operatorCodes]
        return [
            Layer(_OPERATORS[codes[op.opcodeIndex]], tuple(int(n) for n in op.inputs), int(op.outputs[0]))
            for op in self.model.subgraphs[0].operators
        ]

    def outputs(self) -> set[int]:
        """The numbers of the model's own outputs."""
        return {int(number) for number in self.model.subgraphs[0].outputs}

    def calibrated(self) -> list[int]:
        """The tensors that have one observed range, as TensorFlow's calibrator leaves them."""
        kept = [(number, tensor.quantization) for number, tensor in enumerate(self.tensors)]
        return [n for n, held in kept if held is not None and held.min is not None and len(held.min) == 1]

    def set_range(self, number: int, low: float, high: float) -> None:
        """Write the range that a tensor is to be quantised with."""
        self.tensors[number].quantization.min, self.tensors[number].quantization.max = [low], [high]

    def shape(self, number: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(int(n) for n in self.tensors[number].shape)

    def is_int8(self, number: int) -> bool:
        """Whether a tensor is stored in int8."""
        return self.tensors[number].type == schema.TensorType.INT8

    def quantisation(self, number: int) -> tuple[np.float32, int]:
        """(scale, zero point) of a tensor that has one of each."""
        held = self.tensors[number].quantization
        return np.float32(held.scale[0]), int(held.zeroPoint[0])

    def set_scale(self, number: int, scale: np.float32) -> None:
        """Give a tensor that has one scale another one."""
        self.tensors[number].quantization.scale = np.array([scale], np.float32)

    def constant(self, number: int) -> np.ndarray | None:
        """The int8 values of a tensor that the file holds; None when it is computed."""
        data = self.model.buffers[self.tensors[number].buffer].data
        return None if data is None or len(data) == 0 else np.frombuffer(bytes(data), np.int8)

    def floats(self, number: int) -> np.ndarray:
        """The float32 values of a tensor that the file holds, in its shape."""
        raw = bytes(self.model.buffers[self.tensors[number].buffer].data)
        return np.frombuffer(raw, np.float32).reshape(self.shape(number))

    def set_constant(self, number: int, values: np.ndarray) -> None:
        """Write the int8 values of a tensor that the file holds; of its shape."""
        raw = np.frombuffer(values.astype(np.int8).tobytes(), np.uint8)
        self.model.buffers[self.tensors[number].buffer].data = raw

    def bias(self, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        """(int32 (C,), scale (C,) float64) of a quantised layer that has a bias; real value = int32 * scale."""
        tensor = self.tensors[layer.inputs[2]]
        stored = np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), np.int32)
        return stored.copy(), np.asarray(tensor.quantization.scale, np.float64)

    def set_bias(self, layer: Layer, stored: np.ndarray) -> None:
        """Write the int32 (C,) bias of a quantised layer."""
        raw = stored.astype(np.int32).tobytes()
        self.model.buffers[self.tensors[layer.inputs[2]].buffer].data = np.frombuffer(raw, np.uint8)


class Tracer:
    """An interpreter that keeps every tensor: no operator writes over another's result, none is delegated."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = lite.Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        self._in = self._interpreter.get_input_details()[0]
        ends = (*self._interpreter.get_input_details(), *self._interpreter.get_output_details())
        self.ends = {detail["index"] for detail in ends}

    def run(self, sample: np.ndarray) -> None:
        """Run one input, float32 of the input's shape in real values; an int8 model's is quantised as its file says."""
        if self._in["dtype"] != np.float32:
            scale, zero_point = self._in["quantization"]
            held = np.iinfo(self._in["dtype"])
            sample = np.clip(np.round(sample / scale) + zero_point, held.min, held.max).astype(self._in["dtype"])
        self._interpreter.set_tensor(self._in["index"], sample)
        self._interpreter.invoke()

    def values(self, number: int) -> np.ndarray:
        """What a tensor held in the last run, float32 in real values."""
        held = self._interpreter.get_tensor(number)
        if held.dtype == np.float32:
            return held
        scale, zero_point = self._details[number]["quantization"]
        return (held.astype(np.float32) - zero_point) * np.float32(scale)
