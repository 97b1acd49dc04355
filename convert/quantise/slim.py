"""A TFLite file without what no interpreter reads: for networks whose file is mostly description.

Gone are the names of inner tensors, the observed ranges, signatures, descriptions and the converter's notes; equal
constants, shapes and zero points are stored once. What is computed stays the same to the byte. Each layer of a file
costs about 0.4 kB beside its weights, of which 0.2 kB go so.
"""

from typing import Any

import flatbuffers
import numpy as np

from convert.quantise.flat import Flat

IDENTIFIER = b"TFL3"  # of TFLite's schema


def slim(content: bytes) -> bytes:
    """The same graph in fewer bytes. Input and output keep their names."""
    flat = Flat(content)
    model, (graph,) = flat.model, flat.model.subgraphs
    model.description = model.metadata = model.metadataBuffer = model.signatureDefs = graph.name = None
    ends = {*map(int, graph.inputs), *map(int, graph.outputs)}
    for number, tensor in enumerate(graph.tensors):
        tensor.shapeSignature = None
        if tensor.quantization is not None:
            tensor.quantization.min = tensor.quantization.max = None
            if np.size(tensor.quantization.scale) == 0:
                tensor.quantization = None
        if number not in ends:
            tensor.name = None
    _share_buffers(model, graph)
    builder = _Sharing(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class _Sharing(flatbuffers.Builder):
    """Writes each vector once: several tables may point to one (FlatBuffers Internals, "Encoding example")."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def _share_buffers(model: Any, graph: Any) -> None:
    """One buffer for each content; the first is the empty one, as the format wants it."""
    empty = model.buffers[0]
    kept, places = [empty], {b"": 0}
    for tensor in graph.tensors:
        buffer = model.buffers[tensor.buffer]
        data = b"" if buffer.data is None else bytes(buffer.data)
        if data not in places:
            places[data] = len(kept)
            kept.append(buffer)
        tensor.buffer = places[data]
    model.buffers = kept
