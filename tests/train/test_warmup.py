"""The warm-up without labels: its loss by hand, which pictures it may see, that it goes no further than it should."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from device.errors import UserError
from train.data.busi import read_dataset
from train.data.splits import make_split
from train.objectives.twins import barlow_twins
from train.recipe import Augment, WarmUp, load_recipe
from train.runs import make_network
from train.training import distill
from train.warmup import WEIGHTS, Twins, unlabelled, warm_up


def test_barlow_twins_by_hand() -> None:
    # Four pictures, two dimensions of values +-1, so that the normalised embeddings are these very numbers.
    first = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    # C is the identity: nothing to lose.
    assert barlow_twins(first, first, 0.5).item() == pytest.approx(0, abs=1e-5)
    # The dimensions exchanged: C = ((0, 1), (1, 0)): (1 - 0)^2 twice, and 0.5 * (1 + 1).
    assert barlow_twins(first, first[:, [1, 0]], 0.5).item() == pytest.approx(3, abs=1e-4)
    # The mean and the scale of a dimension do not count.
    assert barlow_twins(first, first * 7 + 3, 0.5).item() == pytest.approx(0, abs=1e-4)


def test_it_sees_nothing_of_the_test_and_validation_parts(phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    groups = tmp_path / "groups.csv"  # one benign and one malignant picture share a group, which leaves both out
    conflict = {"benign (1).png", "malignant (1).png"}
    rows = [f"{p.name},{'both' if p.name in conflict else p.name}" for p in data.pictures]
    groups.write_text("\n".join(["image,group_id", *rows]) + "\n")
    split = make_split(data, load_recipe("demo").split, groups, exclude=("normal (1).png",))
    names = {p.name for p in unlabelled(split)}
    assert names == {p.name for p in split.train} | conflict
    assert "normal (1).png" not in names


def test_twins_are_two_drawings_of_one_picture() -> None:
    lumas = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    twins = Twins(lumas, Augment(rotate=10.0, gain=0.2), 0)
    assert twins[1].shape == (2, 1, 16, 16)
    assert not torch.equal(twins[1][0], twins[1][1])
    first = twins[1].clone()
    assert torch.equal(first, twins[1])
    twins.epoch = 1
    assert not torch.equal(first, twins[1])


def test_it_learns_leaves_the_classifier_alone_and_is_not_done_twice(
    phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    own, lumas = load_recipe(recipe), np.random.default_rng(0).integers(0, 256, (20, 64, 64), np.uint8)
    how = WarmUp(epochs=2, batch=8, width=16)
    torch.manual_seed(0)
    network = make_network("student", own, None)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    warm_up(network, how, lumas, own.augment, 3, tmp_path)
    after = network.state_dict()
    assert torch.equal(before["net.classifier.weight"], after["net.classifier.weight"])
    assert not torch.equal(before["net.conv_stem.weight"], after["net.conv_stem.weight"])
    again = make_network("student", own, None)
    warm_up(again, how, lumas[:0], own.augment, 3, tmp_path)  # no picture is looked at
    assert all(torch.equal(after[name], tensor) for name, tensor in again.state_dict().items())
    with pytest.raises(UserError, match="7 pictures do not fill one batch of 8"):
        warm_up(network, how, lumas[:7], own.augment, 3, tmp_path / "other")


def test_a_training_begins_with_it(phantoms: Path, recipe: str, tmp_path: Path) -> None:
    data, own = read_dataset(phantoms), load_recipe(recipe)
    split = make_split(data, own.split, None)
    warm = replace(own, student=replace(own.student, warmup=WarmUp(epochs=1, batch=8, width=16), phantoms=2))
    cold = replace(own, student=replace(own.student, phantoms=2))
    runs = [distill(data, one, split, None, None, tmp_path / name) for name, one in (("warm", warm), ("cold", cold))]
    assert (tmp_path / "warm" / WEIGHTS).is_file()
    assert runs[0].meta.weights_sha256 != runs[1].meta.weights_sha256
    again = tmp_path / "again"
    again.mkdir()
    repeated = distill(data, warm, split, None, None, again)
    assert repeated.meta.weights_sha256 == runs[0].meta.weights_sha256
