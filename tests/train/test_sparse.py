"""Magnitude pruning: the schedule and the zeros by hand, which layers, and a training that ends with its share."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import write_tiny_recipe
from torch import nn

from device.errors import UserError
from device.main import main
from train import runs
from train.networks.backbone import build
from train.recipe import NetworkRecipe, load_recipe
from train.sparse import layers, share_at, sparsify


def test_the_schedule_by_hand() -> None:
    """Zhu and Gupta's equation 1 with s_i = 0: 0.8 (1 - (1 - 1/3)^3) after a third of its time."""
    assert [share_at(step, 100, 0.8) for step in (0, 25, 75, 100)] == pytest.approx([0.0, 0.8 * 19 / 27, 0.8, 0.8])
    assert share_at(5, 100, 0.0) == 0.0


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 0.99))
def test_the_share_never_falls_and_ends_as_asked(step: int, steps: int, final: float) -> None:
    assert 0.0 <= share_at(step, steps, final) <= share_at(step + 1, steps, final) <= final + 1e-12
    assert share_at(steps, steps, final) == pytest.approx(final)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_smallest_weights_become_zero_in_any_layout(layout: torch.memory_format) -> None:
    layer = nn.Conv2d(4, 2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(32.0).reshape(2, 4, 2, 2) - 15.6)
    layer.to(memory_format=layout)
    before = layer.weight.detach().clone()
    sparsify(layer, 0.25)
    small = before.abs() < 4.1  # the eight from -3.6 to 3.4
    assert small.sum() == 8
    assert torch.equal(layer.weight, torch.where(small, 0.0, before))


def test_stem_depthwise_and_classifier_stay_dense() -> None:
    net = build(NetworkRecipe("mobilenetv3_small_050", "random"), (64, 64), None, 3)
    names = [name for name, module in net.named_modules() if module in set(layers(net))]
    assert names
    assert not [name for name in names if "stem" in name or "dw" in name or "classifier" in name]
    covered = sum(layer.weight.numel() for layer in layers(net)) / sum(p.numel() for p in net.parameters())
    assert covered > 0.9


@pytest.mark.slow
def test_a_training_ends_with_its_share_of_zeros(phantoms: Path, tmp_path: Path) -> None:
    old = "fit = { epochs = 3, batch = 8, lr = 2e-3"
    more = 'sparse = 0.7\nfit = { select = "last", ema = 0.9, channels_last = true, epochs = 3, batch = 8, lr = 2e-3'
    recipe = write_tiny_recipe(tmp_path / "sparse.toml", (old, more))
    run = tmp_path / "run"
    assert main(["train", "distill", str(phantoms), "--no-teacher", "--recipe", recipe, "--out", str(run)]) == 0
    network = runs.load_run(run, "student").network
    for layer in layers(network):
        assert (layer.weight == 0).float().mean().item() == pytest.approx(0.7, abs=1 / layer.weight.numel() + 1e-3)
    with pytest.raises(UserError, match=r"student\.sparse must lie in 0\.\.0\.99"):
        load_recipe(write_tiny_recipe(tmp_path / "wrong.toml", (old, f"sparse = 1.0\n{old}")))
