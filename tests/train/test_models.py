"""Any model behind one face, and the split it may be judged on: its own, of its own data, without a leak."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_busi import write_small_busi
from train_commands import weights_hash

from device.errors import UserError
from train import fit
from train.data.busi import CLASSES, DataSet, load_lumas, read_dataset
from train.data.split_file import read_split
from train.evaluation.models import candidate, open_model, split_of
from train.options import warnings
from train.runs import load_run

pytestmark = pytest.mark.slow


@pytest.fixture
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


def test_a_run_folder_answers_as_its_network(student: Path, teacher: Path, data: DataSet) -> None:
    for folder, kind in ((student, "student"), (teacher, "teacher")):
        model, run = open_model(folder), load_run(folder)
        assert (model.kind, model.path, model.view, model.synthetic) == (kind, folder, "whole", True)
        assert (model.temperature, model.threshold, model.target_sensitivity) == (None, None, 0.95)
        assert model.data_fingerprint == data.fingerprint
        lumas = load_lumas(data.pictures[:5], model.preprocess)
        np.testing.assert_array_equal(model.predict(lumas), fit.predict(run.network, lumas))
    assert open_model(student).title == "tiny student"
    assert weights_hash(student) == load_run(student).meta.weights_sha256


def test_a_bundle_brings_its_own_temperature_and_threshold(bundle_dir: Path) -> None:
    model = open_model(bundle_dir / "int8-full")
    assert (model.kind, model.title) == ("bundle", "tiny int8-full")
    assert (model.temperature, model.threshold) == (1.0, 0.5)
    lumas = np.zeros((2, model.preprocess.height, model.preprocess.width), np.uint8)
    assert model.predict(lumas).shape == (2, 3)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="finished training"):
        open_model(tmp_path)


def test_the_split_is_the_trainings_own(student: Path, data: DataSet, tmp_path: Path) -> None:
    own = read_split(student / "split.json", data)
    model = open_model(student)
    assert split_of(model, data) == own
    # A bundle has it in the conversion's folder above it.
    moved = tmp_path / "bundles" / "int8-full"
    shutil.copytree(student, moved)
    (moved / "split.json").rename(moved.parent / "split.json")
    assert split_of(candidate(load_run(moved)), data) == own
    (moved.parent / "split.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match="--split"):
        split_of(open_model(moved), data)
    assert split_of(open_model(moved), data, file=tmp_path / "elsewhere.json") == own


def test_other_data_and_other_splits_are_refused(student: Path, teacher: Path, data: DataSet, tmp_path: Path) -> None:
    model = open_model(student)
    other = read_dataset(write_small_busi(tmp_path / "other", per_class=6))
    with pytest.raises(UserError, match="trained on other pictures"):
        split_of(model, other)
    from train.data.split_file import write_split
    from train.data.splits import make_split
    from train.recipe import SplitRecipe

    write_split(tmp_path / "split.json", make_split(data, SplitRecipe(seed=8), None), data)
    with pytest.raises(UserError, match=r"split.json: is not the split .*student was trained with"):
        split_of(model, data, file=tmp_path / "split.json")


def in_pairs(path: Path, first: str, second: str, data: DataSet) -> Path:
    """A groups file in which two pictures are copies of each other and all others stand alone."""
    rows = [f"{p.name},{first if p.name == second else p.name}" for p in data.pictures]
    path.write_text("image,group_id\n" + "\n".join(rows) + "\n")
    return path


def test_stricter_groups_find_a_leak(student: Path, data: DataSet, tmp_path: Path) -> None:
    model = open_model(student)
    own = split_of(model, data)
    harmless = in_pairs(tmp_path / "a.csv", own.test[0].name, own.test[1].name, data)
    judged = split_of(model, data, groups=harmless)
    assert judged.groups(own.test[:2]).tolist() == [own.test[0].name] * 2
    assert judged.groups_source.startswith("sha256:")
    crossing = in_pairs(tmp_path / "b.csv", own.train[0].name, own.test[1].name, data)
    with pytest.raises(UserError, match="this split leaks"):
        split_of(model, data, groups=crossing)
    excluded = tmp_path / "exclude.txt"
    excluded.write_text(own.test[1].name)
    assert split_of(model, data, groups=crossing, exclude=excluded).test == own.test[:1] + own.test[2:]


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    def write(*pictures: object) -> Path:
        path = tmp_path / "list.txt"
        path.write_text("\n".join(picture.name for picture in pictures))
        return path

    return write


def test_only_and_exclude_choose_what_is_judged(student: Path, data: DataSet, listed: Callable[..., Path]) -> None:
    model = open_model(student)
    own = split_of(model, data)
    assert split_of(model, data, only=listed(own.test[3], own.test[1])).test == tuple(
        sorted((own.test[1], own.test[3]), key=data.pictures.index)
    )
    without = split_of(model, data, exclude=listed(own.test[0]))
    assert without.test == own.test[1:]
    assert (without.dropped, without.describe()["dropped"], own.dropped) == (1, 1, 0)
    assert "1 test pictures were left out of the evaluation" in warnings(without.describe(), True)[-1]
    with pytest.raises(UserError, match="stands in both train and test"):
        split_of(model, data, only=listed(own.test[0], own.train[0]))
    with pytest.raises(UserError, match="leaves no picture to evaluate"):
        split_of(model, data, exclude=listed(*own.test))
    assert {p.label for p in own.test} == set(CLASSES)
