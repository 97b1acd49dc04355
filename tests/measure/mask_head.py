"""What the mask head costs in int8: pieces of the graph, bytes, time beside the classifier (docs/segmentation.md).

    python -m tests.measure.mask_head --width 64 32

First weights, and noise for calibration: neither time nor pieces depend on them. Thread time of one inference on one
thread, the files in turn in every round.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor, nn

from convert.export import OPSET, rewrite_activations
from convert.tflite import Job, write_variants
from device import RESEARCH_NOTICE
from train.networks.backbone import build
from train.segmentation.networks.make import MOBILENET, make
from train.segmentation.recipe import SegNetwork

SIZE = (224, 224)
ROUNDS, RUNS = 9, 30


class Outputs(nn.Module):
    """The network with its outputs in a row: classes, and the mask where there is one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> tuple[Tensor, ...]:
        answer = self.network(luma)
        return (answer,) if isinstance(answer, Tensor) else (answer.classes, answer.mask)


def converted(network: nn.Module, name: str, work: Path) -> Path:
    """The network as int8-full TFLite, its gates in operators that XNNPACK takes."""
    rewrite_activations(network)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's deprecation notes
        path = work / f"{name}.onnx"
        shown = {"input_names": ["luma"], "opset_version": OPSET, "dynamo": True, "external_data": False}
        torch.onnx.export(Outputs(network).eval(), (torch.zeros(1, 1, *SIZE),), str(path), **shown, verbose=False)
    noise = work / "noise.npy"
    np.save(noise, np.random.default_rng(0).integers(0, 256, (8, *SIZE), np.uint8))
    job = Job(str(path), str(path), 0, (str(noise),))
    return write_variants(job, work / name, ["int8-full"], work / f"{name}.log")["int8-full"]


def main() -> None:
    """Convert, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[64], help="of the decoder (default 64)")
    widths = parser.parse_args().width
    networks = {"classifier": build(MOBILENET, SIZE, None, 3)}
    networks |= {f"two heads, width {w}": make(SegNetwork("two-heads", width=w), SIZE, None) for w in widths}
    print(RESEARCH_NOTICE)
    with tempfile.TemporaryDirectory() as work:
        paths = [converted(net, f"n{number}", Path(work)) for number, net in enumerate(networks.values())]
        models = [Interpreter(str(path), num_threads=1) for path in paths]
        sizes = [path.stat().st_size for path in paths]
        for model in models:
            model.allocate_tensors()
        medians: list[list[float]] = [[] for _ in models]
        for _ in range(ROUNDS):
            for model, found in zip(models, medians, strict=True):
                times = []
                for _ in range(RUNS):
                    begun = time.thread_time()
                    model.invoke()
                    times.append(time.thread_time() - begun)
                found.append(float(np.median(times)))
        seconds = [float(np.median(found)) for found in medians]
        for name, model, size, one in zip(networks, models, sizes, seconds, strict=True):
            pieces = sum(op["op_name"] == "DELEGATE" for op in model._get_ops_details())
            print(f"{name}: {pieces} piece(s), {size:,} bytes, {1e3 * one:.2f} ms, ratio {one / seconds[0]:.2f}")


if __name__ == "__main__":
    main()
