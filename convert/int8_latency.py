"""int8-full of a bundle against the float32 file of the network as it is published, in interleaved rounds.

`python -m convert.int8_latency [BUNDLE]` converts timm's MobileNetV3-Small 1.0 with its own hard-swish, three classes
and random first weights (time does not depend on them) to float32 TFLite, and prints the median thread time of both
for one inference, one thread, and their ratio.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from convert import tflite
from convert.int8_network import write_float_onnx
from convert.int8_study import latencies, pieces
from convert.script import ended
from device import RESEARCH_NOTICE
from device.bundle import load_bundle
from device.runtime import Model
from device.shipped import FOLDER
from train.networks.backbone import build
from train.recipe import NetworkRecipe

NETWORK = "mobilenetv3_small_100"


def main(arguments: list[str]) -> int:
    """Convert, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m convert.int8_latency", description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", help="an int8-full bundle (default: the classifier that ships)")
    bundle = load_bundle(parser.parse_args(arguments).bundle or FOLDER / "busi-ship")
    preprocess = bundle.meta.preprocess
    network = build(
        NetworkRecipe(NETWORK, "random"), (preprocess.height, preprocess.width), None, len(bundle.meta.classes)
    )
    lumas = np.random.default_rng(0).integers(0, 256, (40, preprocess.height, preprocess.width), np.uint8)
    with tempfile.TemporaryDirectory() as work:
        onnx = Path(work) / "float.onnx"
        write_float_onnx(network.eval(), preprocess, onnx)
        job = tflite.Job(str(onnx), "", 0, ())
        plain = Model(tflite.write_variants(job, Path(work) / "tflite", ["float32"], Path(work) / "log")["float32"])
        ours = Model(bundle.model_path)
        seconds = latencies([plain, ours], lumas)
    print(RESEARCH_NOTICE)
    names = (f"{NETWORK}, float32, hard-swish", f"{bundle.meta.name}, {bundle.meta.variant}")
    for name, model, one in zip(names, (plain, ours), seconds, strict=True):
        print(f"{name}: {1e3 * one:.2f} ms, {pieces(model)} piece(s)")
    print(f"ratio {seconds[1] / seconds[0]:.2f}")
    return 0


if __name__ == "__main__":
    ended(main)
