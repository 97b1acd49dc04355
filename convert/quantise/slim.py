"""A TFLite file without what no interpreter reads: for networks whose file is mostly description.

Gone are the names of inner tensors, the observed ranges, signatures, descriptions and the converter's notes; equal
constants are stored once. What is computed stays the same to the byte. Each layer of a file costs about 0.4 kB beside
its weights, of which 0.1 kB go so.
"""

from typing import Any

import numpy as np

from convert.quantise.flat import Flat


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
    return flat.content()


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
