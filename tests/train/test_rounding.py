"""Rounding to int8 steps in training: the values by hand, the gradient, and where a MobileNetV3 feels it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_recipe import write_tiny_recipe
from train_commands import weights_hash

from device.errors import UserError
from train.networks.backbone import Luma, build
from train.recipe import NetworkRecipe, load_recipe
from train.rounding import feel_rounding, rounded


def test_values_by_hand() -> None:
    """-1 to 254 in 255 steps of 1: zero is the second of them."""
    x = torch.tensor([-1.0, -0.6, -0.4, 0.0, 0.4, 0.6, 100.2, 253.7, 254.0])
    assert rounded(x).tolist() == pytest.approx([-1, -1, 0, 0, 0, 1, 100, 254, 254], abs=1e-4)


def test_the_range_is_moved_until_zero_is_one_of_its_steps() -> None:
    """-0.4 to 254.6: steps of 1, zero the first; what lies below it is cut, and the top at 255."""
    x = torch.tensor([-0.4, 0.0, 0.2, 254.6])
    assert rounded(x).tolist() == pytest.approx([0.0, 0.0, 0.0, 255.0], abs=1e-4)


@pytest.mark.parametrize("values", [[2.0, 100.0, 255.0], [-255.0, -100.0, -2.0]])
def test_the_range_holds_zero_even_where_no_value_does(values: list[float]) -> None:
    """Steps of 1, which is 255 / 255: not of (255 - 2) / 255."""
    assert rounded(torch.tensor(values)).tolist() == pytest.approx(values, abs=1e-4)
    off = torch.tensor(values) + torch.tensor([0.0, 0.3, 0.0])
    assert rounded(off).tolist() == pytest.approx(values, abs=1e-4)


def test_zero_stays_zero_and_errors_are_half_a_step_at_most() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 8, 16, 16) * 3 + 1
    x[x < -2] = 0.0
    found = rounded(x)
    assert (found[x == 0] == 0).all()
    assert (x == 0).any()
    step = (x.max() - x.min()) / 255
    assert (found - x).abs().max() <= 0.51 * step
    assert len(found.unique()) <= 300  # 256 steps, some of them in two roundings of float32
    assert (found - x).abs().max() > 0.4 * step


def test_a_tensor_of_zeros_stays_one() -> None:
    assert (rounded(torch.zeros(3, 4)) == 0).all()


def test_the_gradient_is_one() -> None:
    x = torch.linspace(-3, 5, 101, requires_grad=True)
    (rounded(x) * torch.arange(101.0)).sum().backward()
    assert torch.equal(x.grad, torch.arange(101.0))


def network() -> Luma:
    torch.manual_seed(5)
    return build(NetworkRecipe("mobilenetv3_small_050", "random"), (64, 64), None, classes=3)


def shown() -> torch.Tensor:
    return torch.randint(0, 256, (4, 1, 64, 64), generator=torch.Generator().manual_seed(1)).float()


def test_a_network_feels_it_in_training_alone() -> None:
    plain, rounding = network(), network()
    feel_rounding(rounding)
    assert list(rounding.state_dict()) == list(plain.state_dict())
    for one in (plain, rounding):
        one.eval()
    assert torch.equal(rounding(shown()), plain(shown()))
    for one in (plain, rounding):
        one.train()
    assert not torch.equal(rounding(shown()), plain(shown()))
    rounding.eval()
    rounding.load_state_dict(plain.state_dict())
    assert torch.equal(rounding(shown()), plain.eval()(shown()))


def levels(network: Luma, module: str) -> int:
    """How many values the output of a module has in training."""
    seen: list[torch.Tensor] = []
    handle = network.net.get_submodule(module).register_forward_hook(lambda _, __, output: seen.append(output))
    network.train()
    network(shown())
    handle.remove()
    return len((seen[0] / seen[0].abs().max()).mul(1e5).round().unique())  # float32's own rounding aside


ROUNDED = {
    "the stem with its normalisation": "bn1",
    "a hard-swish": "bn1.act",
    "a depthwise convolution with its normalisation": "blocks.1.0.bn2",
    "a residual sum": "blocks.1.1",
    "a gate": "blocks.4.1.se.gate",
    "the classifier": "classifier",
}


@pytest.mark.parametrize("part", ROUNDED)
def test_the_tensors_that_int8_rounds_have_256_values(part: str) -> None:
    rounding = network()
    feel_rounding(rounding)
    assert levels(rounding, ROUNDED[part]) <= 256
    if part != "the classifier":  # which gives twelve values in any case
        assert levels(network(), ROUNDED[part]) > 300


def test_what_goes_into_a_hard_swish_is_rounded_before_it_is_bent() -> None:
    rounding = network()
    feel_rounding(rounding)
    seen: list[torch.Tensor] = []
    rounding.net.bn1.act.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rounding.train()
    rounding(shown())
    assert len((seen[0] / seen[0].abs().max()).mul(1e5).round().unique()) <= 256


@pytest.mark.parametrize("epochs", [-1, 4])
def test_more_epochs_than_there_are_is_refused(tmp_path: Path, epochs: int) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny.toml", ("[student]", f"[student]\nint8_epochs = {epochs}"))
    with pytest.raises(
        UserError, match=rf"student.int8_epochs must lie in 0..3, the epochs of its fit, not {epochs}\.$"
    ):
        load_recipe(recipe)


@pytest.mark.parametrize("key", ["int8_epochs = 1", "sparse = 0.5"])
def test_an_epoch_before_it_is_complete_is_not_selected(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf'student.{key.split()[0]} is complete in the last epochs .* to "last"\.$'):
        load_recipe(write_tiny_recipe(tmp_path / "tiny.toml", ("[student]", f"[student]\n{key}")))


def _command(phantoms: Path, recipe: str, out: Path) -> list[str]:
    program = [sys.executable, "-m", "device.main", "train", "distill", str(phantoms), "--no-teacher"]
    return [*program, "--recipe", recipe, "--out", str(out)]


def _epoch_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["epoch"] if checkpoint.is_file() else -1


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_rounds_goes_on_to_the_same_weights(phantoms: Path, tmp_path: Path) -> None:
    # The last epoch's weights, because the best epoch may lie before the kill.
    old, longer = (
        "fit = { epochs = 3, batch = 8, lr = 2e-3",
        'fit = { select = "last", epochs = 8, batch = 8, lr = 2e-3',
    )
    plain = write_tiny_recipe(tmp_path / "plain.toml", (old, longer))
    recipe = write_tiny_recipe(tmp_path / "tiny.toml", (old, f"int8_epochs = 6\n{longer}"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut, other = tmp_path / "whole", tmp_path / "cut", tmp_path / "other"
    for one, out in ((recipe, whole), (plain, other)):
        subprocess.run(_command(phantoms, one, out), env=environment, check=True, capture_output=True)
    assert weights_hash(other) != weights_hash(whole), "the rounding is felt"

    last = cut / "checkpoints" / "last.ckpt"
    with subprocess.Popen(_command(phantoms, recipe, cut), env=environment, stdout=subprocess.DEVNULL) as process:
        while _epoch_of(last) < 3:
            assert process.poll() is None, "it ended before it could be killed"
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGKILL)
    assert 3 <= _epoch_of(last) < 7
    assert not (cut / "meta.json").exists()
    subprocess.run(_command(phantoms, recipe, cut), env=environment, check=True, capture_output=True)
    assert weights_hash(cut) == weights_hash(whole)
    mine, theirs = (json.loads((run / "meta.json").read_text())["validation"] for run in (cut, whole))
    assert mine == theirs
