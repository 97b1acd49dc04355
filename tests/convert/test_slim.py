"""A file without names and notes: smaller, and the same answers to the byte."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convert.int8_network import write_int8_onnx
from convert.quantise.flat import Flat
from convert.quantise.how import How
from convert.quantise.slim import slim
from convert.tflite import Job, write_variants
from convert.verify.structure import structure_reasons
from device.bundle import load_bundle
from device.preprocess import Preprocess
from device.runtime import Model
from device.shipped import shipped
from train.networks.backbone import Luma, build
from train.recipe import ConvertRecipe, NetworkRecipe

SIZE = Preprocess(height=96, width=96)


def answers(file: Path, shape: tuple[int, int], count: int = 20) -> list[list[float]]:
    rng, model = np.random.default_rng(3), Model(file)
    return [list(model.logits(rng.integers(0, 256, shape, dtype=np.uint8))) for _ in range(count)]


@pytest.mark.parametrize("bundle", shipped(), ids=lambda path: path.name)
def test_a_model_that_ships_answers_the_same_without_its_names(bundle: Path, tmp_path: Path) -> None:
    file = bundle / "model.tflite"
    size = load_bundle(bundle).meta.preprocess
    content = slim(file.read_bytes())
    (tmp_path / "slim.tflite").write_bytes(content)
    before, after = Flat(file.read_bytes()), Flat(content)
    assert len(content) < file.stat().st_size - sum(len(tensor.name) for tensor in before.tensors[2:]) // 2
    named = [tensor.name for tensor in after.tensors if tensor.name]
    ends = [*before.model.subgraphs[0].inputs, *before.model.subgraphs[0].outputs]
    assert sorted(named) == sorted(before.tensors[end].name for end in ends)
    assert slim(content) == content
    assert structure_reasons("int8-full", tmp_path / "slim.tflite") == []
    assert answers(tmp_path / "slim.tflite", (size.height, size.width), 4) == answers(
        file, (size.height, size.width), 4
    )


@pytest.mark.slow
def test_the_hand_size_network_fits_into_its_file(tmp_path: Path) -> None:
    """5.21 kB: the distilled network of the compression study that busi-kd is held against."""
    torch.manual_seed(0)
    student = build(NetworkRecipe("hand_cnn", "random", mean=0.5, std=0.5, stem="luma"), (96, 96), None, 3)
    for layer in student.modules():  # untrained, all shifts are 0, and the export leaves the biases out
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
    torch.nn.init.uniform_(student.net.classifier.bias, -0.5, 0.5)
    lumas = np.random.default_rng(0).integers(0, 256, (40, 96, 96), dtype=np.uint8)
    made = {}
    for name, how in (("whole", How()), ("slim", How(slim=True))):
        folder = tmp_path / name
        folder.mkdir()
        centre = write_int8_onnx(student.eval(), ConvertRecipe(), SIZE, lumas, folder / "int8.onnx")
        np.save(folder / "lumas.npy", lumas)
        job = Job(str(folder / "int8.onnx"), str(folder / "int8.onnx"), centre, (str(folder / "lumas.npy"),), how)
        made[name] = write_variants(job, folder / "tflite", ["int8-full"], folder / "log")["int8-full"]
    assert made["slim"].stat().st_size <= 5_210 < made["whole"].stat().st_size
    assert answers(made["slim"], (96, 96)) == answers(made["whole"], (96, 96))
    assert close(student, made["slim"])


def close(student: Luma, file: Path) -> bool:
    """int8's answers are those of the network, within a few of its steps."""
    model, rng = Model(file), np.random.default_rng(1)
    lumas = rng.integers(0, 256, (20, 96, 96), dtype=np.uint8)
    with torch.no_grad():
        wanted = student.eval()(torch.from_numpy(lumas[:, None]).float()).numpy()
    return bool(np.abs(wanted - np.stack([model.logits(luma) for luma in lumas])).max() < 4 * model.output.scale)
