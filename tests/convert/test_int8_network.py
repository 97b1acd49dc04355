"""The network as int8 likes it, from the calibration pictures it is given."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_graphs import answer

from convert.int8_network import write_int8_onnx
from device.preprocess import Preprocess
from train.networks.backbone import build
from train.recipe import ConvertRecipe, NetworkRecipe

SIZE = (96, 96)


@pytest.mark.parametrize("odd", [0, 1, 57, 118, 119])
def test_a_channel_that_one_picture_alone_excites_counts(tmp_path: Path, odd: int) -> None:
    torch.manual_seed(0)
    student = build(NetworkRecipe("hand_cnn", "random", mean=0.5, std=0.5, stem="luma"), SIZE, None, 3)
    for layer in student.modules():  # untrained, all shifts are 0, and the export leaves the biases out
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
    lumas = np.random.default_rng(0).integers(120, 136, (120, *SIZE), dtype=np.uint8)
    lumas[odd] = 255 * (np.indices(SIZE).sum(axis=0) // 2 % 2)
    centre = write_int8_onnx(student.eval(), ConvertRecipe(), Preprocess(*SIZE), lumas, tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    first = next(one for one in model.graph.node if one.op_type == "Conv")
    inputs = [luma[None, None].astype(np.float32) - centre for luma in lumas]
    sizes = [np.abs(answer(model, x, first.output[0])[1]).max(axis=(0, 2, 3)) for x in inputs]
    largest = np.max(sizes, axis=0)
    assert largest.max() / largest.min() == pytest.approx(1.0, rel=1e-3), "equal over all pictures, the odd one too"
    quiet = np.max(np.delete(sizes, odd, axis=0), axis=0)
    assert quiet.max() / quiet.min() > 1.1, "without the odd one they are not"
