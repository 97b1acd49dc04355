"""The reader for any folder-per-class data set."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_busi import write_small_busi

from device.errors import UserError
from train.audit.folder import read_folder
from train.data.busi import OFFICIAL_FOLDER, read_dataset, write_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_busi(tmp_path / "mine", per_class=3)


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        read_folder(folder)
    for part in parts:
        assert part in str(caught.value)


def test_a_busi_folder_reads_as_the_training_reads_it(folder: Path) -> None:
    ours, theirs = read_folder(folder), read_dataset(folder)
    assert ours.pictures == theirs.pictures
    assert ours.fingerprint == theirs.fingerprint
    assert (ours.counts(), ours.orphans) == (theirs.counts(), ())


def test_the_wrapper_folder_is_accepted(tmp_path: Path) -> None:
    inner = write_small_busi(tmp_path / OFFICIAL_FOLDER)
    assert read_folder(tmp_path) == read_folder(inner)
    assert read_folder(tmp_path).name == "BUSI"


def test_any_class_names_and_picture_formats(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), np.uint8)
    for label, names in {"cyst": ("a.PNG", "b.JPG", "c.tiff"), "other": ("d.jpeg", "e.bmp", "f.tif")}.items():
        for name in names:
            write_picture(tmp_path / label / name, pixels)
    (tmp_path / "notes.txt").write_text("no class")
    (tmp_path / "other" / "g.gif").write_text("no picture of ours")
    found = read_folder(tmp_path)
    assert found.counts() == {"cyst": 3, "other": 3}
    assert [picture.name for picture in found.pictures] == ["a.PNG", "b.JPG", "c.tiff", "d.jpeg", "e.bmp", "f.tif"]


def test_masks_go_with_their_picture_whatever_its_suffix(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), np.uint8)
    for name in ("a.jpg", "a_mask.png", "a_MASK_1.PNG", "b.png", "gone_mask.png"):
        write_picture(tmp_path / "one" / name, pixels)
    found = read_folder(tmp_path)
    assert [(p.name, sorted(m.name for m in p.masks)) for p in found.pictures] == [
        ("a.jpg", ["a_MASK_1.PNG", "a_mask.png"]),
        ("b.png", []),
    ]
    assert [path.name for path in found.orphans] == ["gone_mask.png"]


def test_hidden_files_and_folders_do_not_count(folder: Path) -> None:
    before = read_folder(folder)
    shutil.copy(folder / "benign" / "benign (1).png", folder / "benign" / "._benign (1).png")
    shutil.copytree(folder / "benign", folder / ".trash")
    assert read_folder(folder) == before


def test_a_folder_of_folders_beside_the_classes_is_no_class(folder: Path) -> None:
    before = read_folder(folder)
    (folder / "splits" / "fold 1").mkdir(parents=True)
    assert read_folder(folder) == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none", str(tmp_path / "none"), "no such data folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "no such data folder")


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((40, 40), np.uint8))
    refused(tmp_path, str(tmp_path), "no sub-folder with pictures")


def test_an_empty_class_folder_is_named(folder: Path) -> None:
    (folder / "cysts").mkdir()
    refused(folder, str(folder / "cysts"), "without pictures")
    (folder / "cysts" / "a_mask.png").write_bytes(b"")
    refused(folder, str(folder / "cysts"), "without pictures")


def test_two_pictures_of_one_name_are_refused(folder: Path) -> None:
    for label in ("normal", "benign"):
        shutil.copy(folder / "normal" / "normal (1).png", folder / label / "1.png")
    refused(folder, str(folder / "normal" / "1.png"), str(folder / "benign" / "1.png"), "rename")
