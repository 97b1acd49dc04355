"""Whole student trainings with what a recipe may add: cached answers, masks, features, phantoms, a folded stem."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from train_commands import refused

from device import files
from device.errors import UserError
from train import fit
from train.data.busi import load_lumas, read_dataset
from train.data.splits import Split, make_split
from train.data.torch_data import targets_of
from train.recipe import Distill, FeaturePair, MaskRecipe, Recipe, load_recipe
from train.runs import load_run, make_network
from train.training import distill


@dataclass(frozen=True)
class Cached:
    """Answers as train/soft reads them, made up."""

    logits: np.ndarray
    seed: int = 0
    sha256: str = "0" * 64


@pytest.fixture
def made(phantoms: Path, recipe: str):
    data, own = read_dataset(phantoms), load_recipe(recipe)
    return data, own, make_split(data, own.split, None)


def cached(split: Split, sure: float = 4.0) -> Cached:
    """Two views' answers for each training picture: always malignant."""
    logits = np.zeros((len(split.train), 2, 3), np.float32)
    logits[:, :, 1] = sure
    return Cached(logits)


def log_of(run: Path) -> list[str]:
    return (run / "log" / "metrics.csv").read_text().splitlines()[0].split(",")


def student(recipe: Recipe, **changes) -> Recipe:
    return replace(recipe, student=replace(recipe.student, **changes))


@pytest.mark.parametrize("targets", ["view", "mean"])
def test_cached_answers_teach(made, tmp_path: Path, targets: str) -> None:
    data, recipe, split = made
    recipe = replace(recipe, distill=Distill(alpha=0.0, temperature=2.0, targets=targets))
    recipe = student(recipe, fit=replace(recipe.student.fit, epochs=8, lr=5e-3, select="last"))
    run = distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    # Nothing but the answers counts: the student calls every training picture malignant.
    assert (fit.predict(run.network, load_lumas(split.train, recipe.preprocess)).argmax(axis=1) == 1).all()
    assert run.meta.soft_targets_sha256 == "0" * 64
    assert run.meta.teacher_sha256 is None
    assert {"train_labels", "train_answers"} <= set(log_of(run.folder))


def test_answers_that_contradict_the_label_can_be_shifted(made, tmp_path: Path) -> None:
    data, recipe, split = made
    recipe = replace(recipe, distill=Distill(alpha=0.0, temperature=2.0, targets="mean", wrong="shift"))
    recipe = student(recipe, fit=replace(recipe.student.fit, epochs=16, lr=5e-3, select="last"))
    run = distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    said = fit.predict(run.network, load_lumas(split.train, recipe.preprocess)).argmax(axis=1)
    assert (said == targets_of(split.train)).mean() > 0.5, "kept, they would leave a third right"


def test_other_answers_are_another_run(made, tmp_path: Path) -> None:
    data, recipe, split = made
    distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    with pytest.raises(UserError, match=r"other data, recipe or teacher \(soft_targets was '000.*, is '111"):
        distill(data, recipe, split, None, None, tmp_path / "run", replace(cached(split), sha256="1" * 64))
    other = replace(recipe, distill=replace(recipe.distill, alpha=0.25))
    with pytest.raises(UserError, match=r"\(recipe.distill.alpha was .*, is 0.25\); choose another --out"):
        distill(data, other, split, None, None, tmp_path / "run", cached(split))


def test_a_run_from_before_a_recipe_got_a_key_is_the_same_run(made, tmp_path: Path) -> None:
    data, recipe, split = made
    first = distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    started = tmp_path / "run" / "started.json"
    told = json.loads(started.read_text())
    del told["recipe"]["student"]["sparse"]
    started.write_text(json.dumps(told))
    again = distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    assert again.meta == first.meta
    told["recipe"]["student"]["sparce"] = 0.5
    started.write_text(json.dumps(told))
    with pytest.raises(UserError, match="a recipe of another version of busi-kd"):
        distill(data, recipe, split, None, None, tmp_path / "run", cached(split))


def test_two_trainings_do_not_share_a_folder(made, tmp_path: Path) -> None:
    data, recipe, split = made
    distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    (tmp_path / "run" / "meta.json").unlink()
    started = tmp_path / "run" / "started.json"
    with files.held(started, "test"), pytest.raises(UserError, match="another training of this run is under way"):
        distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    assert distill(data, recipe, split, None, None, tmp_path / "run", cached(split)).meta.kind == "student"


def test_a_teacher_and_cached_answers_together_are_refused(made, teacher: Path, tmp_path: Path) -> None:
    data, recipe, split = made
    with pytest.raises(UserError, match="a teacher and cached soft targets were given"):
        distill(data, recipe, split, None, load_run(teacher), tmp_path / "run", cached(split))


def test_masks_phantoms_and_a_folded_stem_train_and_leave_only_the_classifier(made, tmp_path: Path) -> None:
    data, recipe, split = made
    recipe = student(
        recipe,
        masks=MaskRecipe(0.5, ("blocks.0", "blocks.1")),
        phantoms=3,
        network=replace(recipe.student.network, stem="luma"),
    )
    run = distill(data, recipe, split, None, None, tmp_path / "run", cached(split))
    assert set(run.network.state_dict()) == set(make_network("student", recipe, None).state_dict())
    assert run.network.net.conv_stem.weight.shape[1] == 1
    assert {"train_labels", "train_answers", "train_masks"} <= set(log_of(run.folder))
    saved = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("criterion.") and "laterals" in name for name in saved)
    steps = json.loads((run.folder / "meta.json").read_text())
    assert steps["recipe"]["student"]["phantoms"] == 3


def test_a_kill_does_not_show_in_a_training_with_a_head_of_its_own(made, tmp_path: Path, monkeypatch) -> None:
    data, recipe, split = made
    recipe = student(recipe, masks=MaskRecipe(0.5, ("blocks.0",)), fit=replace(recipe.student.fit, ema=0.8, mixup=0.3))
    whole = distill(data, recipe, split, None, None, tmp_path / "whole")
    begun = fit.Fitting.on_train_epoch_start

    def stopped(module: fit.Fitting) -> None:
        if module.current_epoch == 2:
            raise KeyboardInterrupt
        begun(module)

    with monkeypatch.context() as patch:
        patch.setattr(fit.Fitting, "on_train_epoch_start", stopped)
        with pytest.raises(KeyboardInterrupt):
            distill(data, recipe, split, None, None, tmp_path / "cut")
    cut = distill(data, recipe, split, None, None, tmp_path / "cut")
    assert cut.meta.weights_sha256 == whole.meta.weights_sha256


def test_features_of_a_living_teacher(made, teacher: Path, tmp_path: Path) -> None:
    data, recipe, split = made
    pairs = (FeaturePair("net.blocks.1", "backbones.1.net.layer2"), FeaturePair("net.blocks.2", "backbones.0.net.norm"))
    recipe = replace(recipe, distill=Distill(features=0.5, feature_pairs=pairs))
    run = distill(data, recipe, split, None, load_run(teacher), tmp_path / "run")
    assert {"train_labels", "train_answers", "train_features"} <= set(log_of(run.folder))
    saved = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert any("adapters" in name for name in saved)
    assert not any("backbones" in name for name in saved), "the teacher is in no checkpoint"
    with pytest.raises(UserError, match="distils features, for which cached answers do not do"):
        distill(data, recipe, split, None, None, tmp_path / "other", cached(split))


def test_a_folded_stem_answers_as_the_three_channels_did(made) -> None:
    _, recipe, split = made
    lumas = load_lumas(split.val[:4], recipe.preprocess)
    found = []
    for stem in ("rgb", "luma"):
        torch.manual_seed(0)
        network = make_network("student", student(recipe, network=replace(recipe.student.network, stem=stem)), None)
        found.append(fit.predict(network, lumas))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_one_of_three_sources_must_be_chosen(
    phantoms: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "distill", phantoms, "--recipe", recipe, "--out", tmp_path / "run", "--soft-targets"]
    refused(capsys, [*call, tmp_path / "none"], str(tmp_path / "none"))
    assert not (tmp_path / "run").exists()
