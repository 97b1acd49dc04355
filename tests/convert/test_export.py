"""The exported network is the student: single-channel stem, rewritten activations, ONNX."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convert.export import ReluHardsigmoid, ReluHardswish, deployable, export_onnx, run_onnx
from device.errors import UserError
from train.fit import predict
from train.networks.backbone import Luma, build
from train.recipe import NetworkRecipe


@pytest.fixture(scope="module")
def student() -> Luma:
    torch.manual_seed(3)
    network = build(NetworkRecipe("mobilenetv3_small_050", "random", 0.4, 0.25), (64, 64), None, classes=3).eval()
    for module in network.modules():  # statistics of a trained network, not the neutral ones of a new one
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return network


@pytest.fixture(scope="module")
def lumas() -> np.ndarray:
    """Noise, black, white, and a picture whose border differs from its middle (zero padding must not matter)."""
    rng = np.random.default_rng(0)
    framed = np.full((64, 64), 30, np.uint8)
    framed[1:-1, 1:-1] = 220
    noise = rng.integers(0, 256, (3, 64, 64), dtype=np.uint8)
    return np.concatenate([noise, np.stack([np.zeros_like(framed), np.full_like(framed, 255), framed])])


@pytest.mark.parametrize("relu_activations", [False, True])
def test_deployed_network_gives_the_students_logits(student: Luma, lumas: np.ndarray, relu_activations: bool) -> None:
    network = deployable(student, relu_activations)
    with torch.no_grad():
        found = network(torch.from_numpy(lumas).float()[:, None]).numpy()
    np.testing.assert_allclose(found, predict(student, lumas), rtol=1e-4, atol=1e-4)


def test_deployed_network_takes_one_channel_and_leaves_the_student_alone(student: Luma) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    network = deployable(student, relu_activations=True)
    assert network.net.conv_stem.weight.shape[1] == 1
    assert student.net.conv_stem.weight.shape[1] == 3
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    kinds = {type(module).__name__ for module in network.modules()}
    assert {"ReluHardswish", "ReluHardsigmoid"} <= kinds
    assert not kinds & {"Hardswish", "HardSwish", "Hardsigmoid", "HardSigmoid"}


def test_rewritten_activations_equal_torch() -> None:
    x = torch.linspace(-8, 8, 3201, dtype=torch.float64)
    torch.testing.assert_close(ReluHardswish()(x), torch.nn.functional.hardswish(x))
    torch.testing.assert_close(ReluHardsigmoid()(x), torch.nn.functional.hardsigmoid(x))


def test_onnx_file_gives_the_students_logits(student: Luma, lumas: np.ndarray, tmp_path: Path) -> None:
    export_onnx(deployable(student, relu_activations=True), (64, 64), tmp_path / "student.onnx")
    np.testing.assert_allclose(
        run_onnx(tmp_path / "student.onnx", lumas), predict(student, lumas), rtol=1e-4, atol=1e-4
    )


def test_a_student_without_a_plain_first_convolution_is_refused() -> None:
    network = build(NetworkRecipe("test_vit", "random"), (160, 160), None, classes=3)
    network.net.patch_embed.proj = torch.nn.Conv2d(3, 3, 16, 16, groups=3)
    with pytest.raises(UserError, match="first layer"):
        deployable(network, relu_activations=False)
