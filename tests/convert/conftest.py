"""A MobileNetV3 with the statistics of a trained one, exported once for all tests of this folder."""

from pathlib import Path

import numpy as np
import onnx
import pytest


@pytest.fixture(scope="session")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Its ONNX graph, hard-swish through relu6, luma 64 x 64; tests must not change it."""
    import torch

    from convert.export import deployable, export_onnx
    from train.networks.backbone import build
    from train.recipe import NetworkRecipe

    torch.manual_seed(3)
    network = build(NetworkRecipe("mobilenetv3_small_050", "random"), (64, 64), None, classes=3).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, 0, 0.2)  # equal ones, all zero, would be one constant of the graph
    path: Path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(deployable(network, relu_activations=True), (64, 64), path)
    return onnx.load(path)


@pytest.fixture(scope="session")
def inputs() -> list[np.ndarray]:
    """What it takes: noise, black, white, and a ramp."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.float32)
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.float32), (64, 1))
    return [one[None, None] for one in (*noise, np.zeros_like(ramp), np.full_like(ramp, 255), ramp)]
