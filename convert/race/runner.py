"""One competitor in a process of its own, asked line by line in JSON; the engines' interpreters and nothing else.

    python runner.py            # requests on standard input, answers on standard output, a line each

It runs in the engine's own environment, so it imports nothing of busi-kd (only what `torch` unpickles and `ways` may).
What libraries print goes to standard error, or it would be taken for an answer. Requests:

    {"do": "load", "kind": of LOADERS, "file": path, "threads": n, "options": {}}  ->  {"version": "onnxruntime 1.23.0",
        "pieces": delegated parts of the graph, null where there is no such thing}
    {"do": "answer", "inputs": path}  ->  {"answers": [...]}, for each input; they are kept for the next request
    {"do": "time", "count": n}  ->  {"wall": [...], "cpu": [...]} seconds of n inferences, the inputs in turn

inputs: an .npy file of (N, H, W) uint8 luma, or a folder of .jpg files. cpu: of all threads. What is timed is from the
engine's own input (luma in its layout and type) to its logits as a numpy array. On any failure it dies,
and the last line of its standard error says why.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Ready, Answer = Callable[[Any], Any], Callable[[Any], Any]
Loaded = tuple[str, int | None, Ready, Answer]  # version, pieces, input -> the engine's own, that -> answer


def load_tflite(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """options: module and distribution of the interpreter; xnnpack: False for the built-in kernels alone."""
    import numpy as np

    module = importlib.import_module(options["module"])
    kinds = module.OpResolverType
    kind = kinds.AUTO if options.get("xnnpack", True) else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(model_path=file, num_threads=threads, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = out["quantization"]

    def ready(luma: Any) -> Any:
        batch = luma[None, :, :, None]
        return (batch ^ 0x80).view(np.int8) if into["dtype"] == np.int8 else batch.astype(into["dtype"])

    def answer(batch: Any) -> Any:
        interpreter.set_tensor(into["index"], batch)
        interpreter.invoke()
        raw = interpreter.get_tensor(out["index"])[0]
        return (raw.astype(np.float32) - zero_point) * np.float32(scale) if scale else raw

    pieces = sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return _version(options["distribution"]), pieces, ready, answer


def load_onnxruntime(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """options: centre, what the network's input is less than luma."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return (
        _version("onnxruntime"),
        None,
        _planes(options),
        lambda batch: session.run(None, {name: batch})[0][0],
    )


def load_openvino(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """options: centre; half: the weights are stored as float16."""
    import openvino

    core = openvino.Core()
    network = core.read_model(file)
    if options.get("half"):
        from openvino import save_model

        stored = f"{file}.half.{os.getpid()}.xml"
        save_model(network, stored, compress_to_fp16=True)
        network = core.read_model(stored)
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"  # on a CPU with AMX it would compute in bfloat16
    request = core.compile_model(network, "CPU", settings).create_infer_request()

    def answer(batch: Any) -> Any:
        return request.infer({0: batch}, share_inputs=True, share_outputs=False)[0][0]

    return _version("openvino"), None, _planes(options), answer


def load_ncnn(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """file: the .param, beside its .bin. options: half, whether weights and sums may be held as float16."""
    import ncnn
    import numpy as np

    net = ncnn.Net()
    half = bool(options.get("half"))
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
    if net.load_param(file) or net.load_model(str(Path(file).with_suffix(".bin"))):
        raise RuntimeError("the file does not load")

    def ready(luma: Any) -> Any:
        plane = luma[None].astype(np.float32)
        return ncnn.Mat(plane).clone()  # a Mat does not keep numpy's memory alive

    def answer(batch: Any) -> Any:
        extractor = net.create_extractor()
        extractor.input("in0", batch)
        status, found = extractor.extract("out0")
        if status:
            raise RuntimeError(f"extract gave {status}")
        return np.array(found)

    return _version("ncnn"), None, ready, answer


def load_torch(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """A pickled network. options: compiled; dtype; channels_last; quantised, with the engine `onednn` or `fbgemm`."""
    from train import torchvision_shim  # noqa: F401  before timm, which the network is made of

    # isort: split
    import torch

    torch.set_num_threads(threads)
    if "quantised" in options:
        torch.backends.quantized.engine = options["quantised"]
    dtype = getattr(torch, options.get("dtype", "float32"))
    layout = torch.channels_last if options.get("channels_last") else torch.contiguous_format
    scripted = "quantised" in options  # as a module it cannot be pickled
    network = torch.jit.load(file) if scripted else torch.load(file, weights_only=False)
    if dtype != torch.float32:
        network = network.to(dtype)
    network = network if scripted else network.to(memory_format=layout)
    run = torch.compile(network) if options.get("compiled") else network

    def ready(luma: Any) -> Any:
        return torch.from_numpy(luma[None, None]).to(dtype).contiguous(memory_format=layout)

    def answer(batch: Any) -> Any:
        with torch.inference_mode():
            return run(batch)[0].float().numpy()

    return _version("torch"), None, ready, answer


def load_way(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """A frame's whole way: `open_way(file, threads, **options)` of the script beside this one that options names."""
    options = dict(options)
    script = Path(__file__).parent / options.pop("script")
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return script.name, None, lambda data: data, module.open_way(file, threads, **options)


SIDE = 1024  # of the square matrices: large enough that all but the multiplications is little


def load_peak(file: str, threads: int, options: dict[str, Any]) -> Loaded:
    """No engine. what = float32 or int8: the product of two matrices; copy: `times` so many mebibytes in each thread.
    Its answers are empty."""
    if options["what"] != "copy":
        import torch

        torch.set_num_threads(threads)
        real = options["what"] == "float32"
        whole = torch.rand(SIDE, SIDE) if real else torch.randint(-128, 128, (SIDE, SIDE), dtype=torch.int8)
        product = torch.mm if real else torch._int_mm
        return _version("torch"), None, lambda luma: luma, lambda _: [product(whole, whole)][:0]
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    pairs = [np.ones((2, int(options["mebibytes"] * 2**20)), np.uint8) for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def copy(pair: Any) -> None:
        for _ in range(options["times"]):
            np.copyto(pair[0], pair[1])  # lets go of Python's lock

    return _version("numpy"), None, lambda luma: luma, lambda _: list(pool.map(copy, pairs))[:0]


LOADERS = {
    "tflite": load_tflite,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
    "ncnn": load_ncnn,
    "torch": load_torch,
    "way": load_way,
    "peak": load_peak,
}


def _version(distribution: str) -> str:
    return f"{distribution} {importlib.metadata.version(distribution)}"


def _planes(options: dict[str, Any]) -> Ready:
    """(H, W) uint8 luma -> (1, 1, H, W) float32, less the centre."""
    import numpy as np

    centre = np.float32(options.get("centre", 0))
    return lambda luma: luma[None, None].astype(np.float32) - centre


def _inputs(path: Path) -> list[Any]:
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.glob("*.jpg"))]
    import numpy as np

    return list(np.load(path, allow_pickle=False))


class _Competitor:
    """What is kept between requests."""

    def __init__(self) -> None:
        self._ready: Ready | None = None
        self._answer: Answer | None = None
        self._inputs: list[Any] = []
        self._at = 0

    def load(self, kind: str, file: str, threads: int, options: dict[str, Any]) -> dict[str, Any]:
        version, pieces, self._ready, self._answer = LOADERS[kind](file, threads, options)
        return {"version": version, "pieces": pieces}

    def answer(self, inputs: str) -> dict[str, Any]:
        self._inputs = [self._ready(one) for one in _inputs(Path(inputs))]
        found = [self._answer(one) for one in self._inputs]
        return {"answers": [one if isinstance(one, dict) else [float(x) for x in one] for one in found]}

    def time(self, count: int) -> dict[str, Any]:
        wall, cpu = [], []
        for _ in range(count):
            one = self._inputs[self._at % len(self._inputs)]
            self._at += 1
            cpu_began, began = time.process_time(), time.perf_counter()
            self._answer(one)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
        return {"wall": wall, "cpu": cpu}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    competitor = _Competitor()
    jobs = {"load": competitor.load, "answer": competitor.answer, "time": competitor.time}
    for line in sys.stdin:
        request = json.loads(line)
        said = jobs[request.pop("do")](**request)
        answers.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
