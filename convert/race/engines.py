"""Who takes part: engines, precisions and threads, each with the environment that it lives in."""

from dataclasses import dataclass, field
from typing import Any

THREADS = (1, 2)
BASE = "torch-float32/1"  # what the others are compared with: the paper's way of measuring
HOST = ""  # the environment that busi-kd runs in

_LITERT = {"module": "ai_edge_litert.interpreter", "distribution": "ai-edge-litert"}
_TFLITE = {"module": "tflite_runtime.interpreter", "distribution": "tflite-runtime"}
_BUILTIN = {"xnnpack": False}


@dataclass(frozen=True)
class Engine:
    """key: how rows are named. name, precision: as the table shows them; precision also decides what its answers may
    differ by (convert.race.agreement). kind, options: of runner.py. file: of convert.race.models. environment: HOST, or
    a file of requirements/ without its suffix."""

    key: str
    name: str
    precision: str
    kind: str
    file: str
    environment: str = HOST
    options: dict[str, Any] = field(default_factory=dict)
    threads: tuple[int, ...] = THREADS

    @property
    def is_peak(self) -> bool:
        """Not a competitor, but what this CPU can do at best."""
        return self.kind == "peak"


def _tflite(key: str, name: str, environment: str, options: dict[str, Any], files: tuple[str, ...]) -> list[Engine]:
    return [Engine(f"{key}-{file}", name, file, "tflite", f"{file}.tflite", environment, options) for file in files]


_VARIANTS = ("float32", "float16", "int8-dynamic", "int8-full")
ENGINES: tuple[Engine, ...] = (
    Engine("torch-float32", "PyTorch eager", "float32", "torch", "eager.pt"),
    Engine("torch-bfloat16", "PyTorch eager", "bfloat16", "torch", "eager.pt", HOST, {"dtype": "bfloat16"}, (1,)),
    Engine("torch-float16", "PyTorch eager", "float16", "torch", "eager.pt", HOST, {"dtype": "float16"}, (1,)),
    Engine("torch-int8", "PyTorch eager", "int8-full", "torch", "int8.pt", HOST, {"quantised": "onednn"}),
    Engine("torch-compile", "torch.compile", "float32", "torch", "eager.pt", HOST, {"compiled": True}),
    Engine("ort-float32", "ONNX Runtime", "float32", "onnxruntime", "student.onnx"),
    Engine("ort-float16", "ONNX Runtime", "float16", "onnxruntime", "float16.onnx"),
    Engine("ort-int8", "ONNX Runtime", "int8-full", "onnxruntime", "int8.onnx"),
    Engine("openvino-float32", "OpenVINO", "float32", "openvino", "student.onnx", "openvino"),
    Engine("openvino-float16", "OpenVINO", "float16", "openvino", "student.onnx", "openvino", {"half": True}),
    Engine("openvino-int8", "OpenVINO", "int8-full", "openvino", "int8.onnx", "openvino"),
    Engine("ncnn-float32", "ncnn", "float32", "ncnn", "ncnn-float32.param", "ncnn"),
    Engine("ncnn-float16", "ncnn", "float16", "ncnn", "ncnn-float16.param", "ncnn", {"half": True}),
    Engine("ncnn-int8", "ncnn", "int8-full", "ncnn", "ncnn-int8.param", "ncnn"),
    *_tflite("litert", "LiteRT with XNNPACK", HOST, _LITERT, _VARIANTS),
    *_tflite("litert-plain", "LiteRT without XNNPACK", HOST, _LITERT | _BUILTIN, ("float32", "int8-full")),
    *_tflite("litert-new", "newest LiteRT with XNNPACK", "litert", _LITERT, ("float32", "int8-full")),
    *_tflite("tflite", "tflite-runtime with XNNPACK", "tflite-runtime", _TFLITE, _VARIANTS),
    *_tflite(
        "tflite-plain",
        "tflite-runtime without XNNPACK",
        "tflite-runtime",
        _TFLITE | _BUILTIN,
        ("float32", "int8-full"),
    ),
    Engine("peak-float32", "PyTorch, product of two matrices", "float32", "peak", "", HOST, {"what": "float32"}),
    Engine("peak-int8", "oneDNN, product of two matrices", "int8-full", "peak", "", HOST, {"what": "int8"}),
    Engine(
        "peak-memory", "copies of 256 MiB", "", "peak", "", HOST, {"what": "copy", "mebibytes": 256, "times": 1}, (1,)
    ),
    Engine("peak-cache", "copies of half a MiB", "", "peak", "", HOST, {"what": "copy", "mebibytes": 0.5, "times": 64}),
)
