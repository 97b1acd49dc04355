"""A part of the split as a folder for the device: the right pictures, whole, and nothing else."""

import shutil
from pathlib import Path

import pytest

from device.errors import UserError
from train.data.busi import read_dataset
from train.data.parts import copy_part
from train.data.splits import make_split
from train.recipe import SplitRecipe


def test_the_test_part_is_copied_without_masks(phantoms: Path, tmp_path: Path) -> None:
    split = make_split(read_dataset(phantoms), SplitRecipe(), None)
    assert copy_part(split, "test", tmp_path / "test") == len(split.test)
    copied = {path.relative_to(tmp_path / "test").as_posix(): path for path in (tmp_path / "test").rglob("*.png")}
    assert set(copied) == {f"{picture.label}/{picture.name}" for picture in split.test}
    for picture in split.test:
        assert copied[f"{picture.label}/{picture.name}"].read_bytes() == picture.path.read_bytes()
    assert copy_part(split, "test", tmp_path / "test") == len(split.test)  # there already: as it is
    with pytest.raises(UserError, match="is there already"):
        copy_part(split, "val", tmp_path / "test")


def test_nothing_is_written_over_or_left_half(phantoms: Path, tmp_path: Path) -> None:
    split = make_split(read_dataset(phantoms), SplitRecipe(), None)
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="is there already"):
        copy_part(split, "test", tmp_path / "test")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be copied"):
        copy_part(split, "test", tmp_path / "file" / "test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "test"]


def test_other_pictures_of_the_same_names_are_not_taken_for_the_part(phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(phantoms, tmp_path / "data")
    split = make_split(read_dataset(tmp_path / "data"), SplitRecipe(), None)
    copy_part(split, "test", tmp_path / "test")
    first, second = split.test[0].path, split.test[1].path
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="is there already"):
        copy_part(split, "test", tmp_path / "test")
    (tmp_path / "test" / "part.json").write_text("{")
    with pytest.raises(UserError, match="is there already"):
        copy_part(split, "test", tmp_path / "test")


def test_a_picture_that_was_drawn_often_is_copied_once(phantoms: Path, tmp_path: Path) -> None:
    split = make_split(read_dataset(phantoms), SplitRecipe("paper"), None)
    assert copy_part(split, "train", tmp_path / "train") == len(set(split.train))
    assert len(list((tmp_path / "train").rglob("*.png"))) == len(set(split.train))
