"""A tiny network that learns outlines; a killed training that goes on; teachers that may not teach: slow tests."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import DataSet, read_dataset
from train.data.splits import Split, make_split
from train.recipe import Augment, SplitRecipe
from train.segmentation import training
from train.segmentation.outlines import judged, outlines
from train.segmentation.recipe import ClassTask, SegFit, SegNetwork, SegRecipe, TeacherTerm
from train.segmentation.runs import load_run

pytestmark = pytest.mark.slow

RECIPE = SegRecipe(
    preprocess=Preprocess(32, 32),
    augment=Augment(flip=0.5),
    network=SegNetwork("simplified-unet", (8, 8, 16)),
    fit=SegFit(epochs=12, batch=4, lr=1e-2, patience=0, factor=0.5),
)


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


@pytest.fixture(scope="module")
def split(data: DataSet) -> Split:
    return make_split(data, SplitRecipe(), None)


@pytest.fixture(scope="module")
def run(data: DataSet, split: Split, tmp_path_factory: pytest.TempPathFactory):
    return training.train(data, RECIPE, split, None, {}, tmp_path_factory.mktemp("runs") / "whole")


def _column(folder: Path, name: str) -> list[float]:
    rows = [row for log in sorted((folder / "log").glob("metrics*.csv")) for row in csv.DictReader(open(log))]
    return [float(row[name]) for row in sorted(rows, key=lambda row: int(row["epoch"])) if row.get(name)]


def test_a_tiny_student_lowers_its_loss_and_outlines_lesions_it_never_saw(run, split: Split) -> None:
    losses = _column(run.folder, "train_loss")
    assert len(losses) == 12
    assert losses[-1] < 0.6 * losses[0]
    lesions = [p for p in split.test if p.label != "normal"]
    dice = [judged(picture, outline).dice for picture, outline, _ in outlines(run.network, lesions, RECIPE.preprocess)]
    assert np.mean(dice) > 0.5


def test_the_plateau_lowered_the_learning_rate(run) -> None:
    losses = _column(run.folder, "val_loss")
    worse = sum(later >= min(losses[: k + 1]) for k, later in enumerate(losses[1:]))
    state = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
    rate = state["optimizer_states"][0]["param_groups"][0]["lr"]
    # Patience 0: every epoch that is no better halves it (within torch's relative threshold of 1e-4).
    assert worse >= 1
    assert rate == pytest.approx(1e-2 * 0.5**worse)
    assert state["plateau"]["best"] == pytest.approx(min(losses))


def test_a_killed_training_goes_on_to_the_same_weights(
    run, data: DataSet, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = training.Segmenting.training_step, []

    def dies(self, batch, number):
        seen.append(self.current_epoch)
        if self.current_epoch == 7 and number == 2:
            raise KeyboardInterrupt
        return step(self, batch, number)

    monkeypatch.setattr(training.Segmenting, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train(data, RECIPE, split, None, {}, tmp_path / "cut")
    assert not (tmp_path / "cut" / "meta.json").exists()
    with pytest.raises(UserError, match="run the same command again"):
        load_run(tmp_path / "cut")
    monkeypatch.setattr(training.Segmenting, "training_step", step)
    again = training.train(data, RECIPE, split, None, {}, tmp_path / "cut")
    assert again.meta.weights_sha256 == run.meta.weights_sha256
    assert _column(tmp_path / "cut", "val_loss") == _column(run.folder, "val_loss")


def test_a_finished_training_is_taken_up_and_another_recipe_refused(run, data: DataSet, split: Split) -> None:
    again = training.train(data, RECIPE, split, None, {}, run.folder)
    assert again.meta == run.meta
    with pytest.raises(UserError, match="holds a run with other data, recipe or teacher"):
        training.train(data, replace(RECIPE, hard="dice"), split, None, {}, run.folder)


def test_altered_weights_are_refused(run, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(run.folder, tmp_path / "copy")
    with open(copy / "model.safetensors", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match="altered since the training"):
        load_run(copy)


def test_a_teacher_that_may_know_the_test_pictures_does_not_teach(run, data: DataSet, tmp_path: Path) -> None:
    taught = replace(RECIPE, teachers=(TeacherTerm("whole", 0.5),))
    other = make_split(data, SplitRecipe(test_fold=2, val_fold=3), None)
    with pytest.raises(UserError, match="may know the test pictures"):
        training.train(data, taught, other, None, {"whole": run}, tmp_path / "a")
    with pytest.raises(UserError, match="names the teachers"):
        training.train(data, taught, other, None, {}, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_two_heads_learn_both_from_a_teacher_and_feel_int8(run, data: DataSet, split: Split, tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        network=SegNetwork("two-heads", width=8),
        fit=SegFit(epochs=3, batch=8, lr=2e-3, schedule="cosine", optimizer="adamw", ema=0.5, select="last"),
        train_on=("benign", "malignant", "normal"),
        teachers=(TeacherTerm("whole", 0.5),),
        hard_share=0.5,
        classes=ClassTask(),
        int8_epochs=1,
    )
    done = training.train(data, recipe, split, None, {"whole": run}, tmp_path / "two")
    for name in ("train_outline", "train_labels", "train_taught-whole"):
        found = _column(done.folder, name)
        assert found[-1] < found[0], name
    assert done.meta.teachers == {"whole": run.meta.weights_sha256}
    ((_, outline, logits),) = outlines(load_run(done.folder).network, split.test[:1], recipe.preprocess)
    assert outline.dtype == bool
    assert len(logits) == 3
