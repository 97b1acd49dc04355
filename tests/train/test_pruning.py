"""Structured pruning: the least channels go, sizes do not depend on the weights, and a run can be loaded again."""

from pathlib import Path

import pytest
import torch
from tiny_recipe import write_tiny_recipe
from torch import nn

from device.errors import UserError
from device.main import main
from train import runs
from train.networks.backbone import build
from train.networks.pruning import ROUND_TO, prune
from train.recipe import NetworkRecipe

SIZE = (64, 64)


def small(prune: float = 0.0, stem: str = "rgb", name: str = "mobilenetv3_small_050") -> nn.Module:
    return build(NetworkRecipe(name, "random", stem=stem, activation="relu", prune=prune), SIZE, None, 3)


def test_the_channels_with_the_smallest_weights_go_and_the_others_stay_as_they_are() -> None:
    first, second = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 2, 1)
    with torch.no_grad():
        strength = torch.tensor([3.0, 0.1] * 8)[:, None, None, None]
        first.weight.copy_(strength * torch.ones_like(first.weight))
        second.weight.fill_(1.0)
    expected = first.weight[::2].clone()
    net = nn.Sequential(first, second)
    prune(net, 0.5, 1, (8, 8), [second])
    assert torch.equal(net[0].weight, expected)
    assert net[1].weight.shape == (2, 8, 1, 1)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 2, 6, 6)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_sizes_depend_on_the_share_alone_and_every_layer_keeps_channels(share: float) -> None:
    whole, one, other = small(), small(share), small(share)
    shapes = {name: tensor.shape for name, tensor in one.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in other.state_dict().items()}
    other.load_state_dict(one.state_dict())
    picture = torch.rand(2, 1, *SIZE) * 255
    one.eval(), other.eval()
    assert torch.equal(one(picture), other(picture))
    assert one(picture).shape == (2, 3)
    left = [layer.out_channels for layer in one.modules() if isinstance(layer, nn.Conv2d)]
    before = [layer.out_channels for layer in whole.modules() if isinstance(layer, nn.Conv2d)]
    assert all(ROUND_TO <= a <= b for a, b in zip(left, before, strict=True))
    kept = sum(left) / sum(before)
    assert kept == pytest.approx(1 - share, abs=0.08)


def test_a_folded_stem_and_another_family_are_pruned_too() -> None:
    for net in (small(0.5, "luma"), small(0.5, name="hand_cnn"), small(0.5, name="tf_mobilenetv3_small_minimal_100")):
        assert net.eval()(torch.zeros(1, 1, *SIZE)).shape == (1, 3)


def test_what_cannot_be_pruned_is_said() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no way")

    with pytest.raises(UserError, match="cannot be pruned"):
        prune(Odd(), 0.5, 1, (8, 8), [])
    with pytest.raises(ValueError, match="prune of the network"):
        NetworkRecipe("mobilenetv3_small_050", prune=0.95)


@pytest.mark.slow
def test_a_pruned_run_is_trained_and_loaded_again(phantoms: Path, tmp_path: Path) -> None:
    old = 'name = "mobilenetv3_small_050"'
    recipe = write_tiny_recipe(tmp_path / "pruned.toml", (old, f"{old}, prune = 0.5"))
    run = tmp_path / "run"
    assert main(["train", "distill", str(phantoms), "--no-teacher", "--recipe", recipe, "--out", str(run)]) == 0
    loaded = runs.load_run(run, "student")
    assert loaded.meta.parameters == sum(p.numel() for p in loaded.network.parameters()) < 300_000
