"""The BUSI reader on generated folders, on every fault a copy can have, and on the real data set."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_busi import write_small_busi

from device.errors import UserError
from device.preprocess import Preprocess, read_picture
from train.data.busi import CLASSES, MARKER, OFFICIAL_FOLDER, load_lumas, load_mask, read_dataset, write_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_busi(tmp_path / "mine", per_class=3)


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        read_dataset(folder)
    for part in parts:
        assert part in str(caught.value)


def test_official_names_are_read_with_their_masks(folder: Path) -> None:
    data = read_dataset(folder)
    assert data.counts() == {"benign": 3, "malignant": 3, "normal": 3}
    assert [p.name for p in data.pictures[:3]] == ["benign (1).png", "benign (2).png", "benign (3).png"]
    assert data.pictures[3].name == "malignant (1).png"
    first = data.pictures[0]
    assert (first.label, first.path) == ("benign", folder / "benign" / "benign (1).png")
    assert first.masks == (folder / "benign" / "benign (1)_mask.png",)
    assert data.pictures[-1].masks == ()
    assert (data.name, data.synthetic) == ("mine", False)


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data = read_dataset(write_small_busi(tmp_path, per_class=12))
    assert [p.name for p in data.pictures[12:24]] == [f"malignant ({n}).png" for n in range(1, 13)]


def test_names_without_numbers_or_with_odd_digits_are_ordered_too(folder: Path) -> None:
    for name in ("x.png", "7.png", "a1²3.png", "benign ٣.png"):
        shutil.copy(folder / "benign" / "benign (1).png", folder / "benign" / name)
    assert read_dataset(folder).counts()["benign"] == 7


def test_a_picture_whose_link_leads_nowhere_is_missed(folder: Path) -> None:
    (folder / "benign" / "benign (9).png").symlink_to(folder / "gone.png")
    refused(folder, "benign (9).png", "cannot be read (No such file or directory)")


def test_the_parent_folder_is_accepted_and_names_the_data_set(tmp_path: Path) -> None:
    inner = write_small_busi(tmp_path / OFFICIAL_FOLDER)
    outer, direct = read_dataset(tmp_path), read_dataset(inner)
    assert outer == direct
    assert (outer.root, outer.name) == (inner, "BUSI")


def test_several_masks_are_merged_by_or(folder: Path) -> None:
    one, two = np.zeros((40, 60), np.uint8), np.zeros((40, 60, 3), np.uint8)
    one[30:35, 50:60] = 1  # any value above 0 counts
    two[0:2, 0:2, 2] = 255  # also in one colour channel only
    write_picture(folder / "benign" / "benign (2)_mask_1.png", one)
    write_picture(folder / "benign" / "benign (2)_mask_2.png", two)
    picture = read_dataset(folder).pictures[1]
    assert [p.name for p in picture.masks] == [f"benign (2)_mask{end}.png" for end in ("", "_1", "_2")]
    wanted = np.zeros((40, 60), bool)
    wanted[5:15, 10:30] = wanted[30:35, 50:60] = wanted[0:2, 0:2] = True
    merged = load_mask(picture, (40, 60))
    assert merged.dtype == bool
    assert np.array_equal(merged, wanted)


def test_every_name_with_mask_in_it_is_a_mask_and_never_a_picture(folder: Path) -> None:
    names = ["benign (2)_mask.png", "benign (2)_mask2.png", "benign (2)_mask_1 copy.png"]
    for name in names[1:]:
        shutil.copy(folder / "benign" / names[0], folder / "benign" / name)
    data = read_dataset(folder)
    assert data.counts()["benign"] == 3
    assert sorted(path.name for path in data.pictures[1].masks) == sorted(names)


def test_a_folder_named_like_a_picture_is_none(folder: Path) -> None:
    before = read_dataset(folder)
    for name in ("x.png", "y_mask.png"):
        (folder / "benign" / name).mkdir()
    assert read_dataset(folder) == before


def test_without_masks_nothing_is_marked(folder: Path) -> None:
    picture = read_dataset(folder).pictures[-1]
    mask = load_mask(picture, (40, 60))
    assert mask.shape == (40, 60)
    assert not mask.any()


def test_an_orphan_mask_is_named(folder: Path) -> None:
    (folder / "malignant" / "malignant (2).png").unlink()
    refused(folder, str(folder / "malignant" / "malignant (2)_mask.png"), "without its picture")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none", str(tmp_path / "none"), "no such data folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "no such data folder")


@pytest.mark.parametrize("label", CLASSES)
def test_a_missing_class_folder_is_named(folder: Path, label: str) -> None:
    shutil.rmtree(folder / label)
    refused(folder, str(folder), f"'{label}' is missing")


@pytest.mark.parametrize("label", CLASSES)
def test_an_empty_class_folder_is_named(folder: Path, label: str) -> None:
    for path in (folder / label).iterdir():
        path.unlink()
    (folder / label / "readme.txt").write_text("not a picture")
    refused(folder, str(folder / label), "no .png pictures")


def test_two_pictures_of_one_name_are_refused(folder: Path) -> None:
    # Names are the keys of groups and splits: the two would silently count as one group of conflicting labels.
    for label in CLASSES:
        shutil.copy(folder / "normal" / "normal (1).png", folder / label / "1.png")
    refused(folder, str(folder / "malignant" / "1.png"), str(folder / "benign" / "1.png"), "rename")


def test_an_undecodable_picture_is_named_when_it_is_read(folder: Path) -> None:
    broken = folder / "benign" / "benign (3).png"
    broken.write_bytes(broken.read_bytes()[:40])
    data = read_dataset(folder)
    with pytest.raises(UserError, match=re.escape(f"{broken}: this picture does not decode")):
        load_lumas(data.pictures, Preprocess(32, 32))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_an_undecodable_mask_is_named(folder: Path, content: bytes) -> None:
    broken = folder / "malignant" / "malignant (1)_mask.png"
    broken.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(broken))):
        load_lumas(read_dataset(folder).pictures, Preprocess(32, 32))


def test_a_mask_of_another_size_is_named_with_both_sizes(folder: Path) -> None:
    path = folder / "benign" / "benign (1)_mask_1.png"
    write_picture(path, np.zeros((60, 40), np.uint8))
    with pytest.raises(UserError, match=re.escape(f"{path}: the mask is 60 x 40, its picture 40 x 60")):
        load_lumas(read_dataset(folder).pictures, Preprocess(32, 32))


def test_lumas_are_what_the_device_prepares(folder: Path) -> None:
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[:, :, 2] = 200  # pure red, BGR
    write_picture(folder / "normal" / "normal (1).png", colour)
    write_picture(folder / "normal" / "normal (2).png", np.full((40, 60), 90, np.uint8))
    lumas = load_lumas(read_dataset(folder).pictures[-3:], Preprocess(32, 48))
    assert (lumas.shape, lumas.dtype) == ((3, 32, 48), np.uint8)
    assert set(np.unique(lumas[0])) == {60}  # 0.299 * 200, ITU-R BT.601
    assert set(np.unique(lumas[1])) == {90}
    picture = read_picture(folder / "normal" / "normal (3).png")
    assert np.array_equal(lumas[2], cv2.resize(picture, (48, 32), interpolation=cv2.INTER_AREA))


def test_the_fingerprint_is_of_names_and_bytes_and_of_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = read_dataset(folder).fingerprint
    assert re.fullmatch("[0-9a-f]{64}", before)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert read_dataset(tmp_path / "elsewhere").fingerprint == before

    path = folder / "malignant" / "malignant (2).png"
    whole = path.read_bytes()
    for position in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert read_dataset(folder).fingerprint != before
    path.write_bytes(whole + b"\0")
    assert read_dataset(folder).fingerprint != before
    path.write_bytes(whole)
    assert read_dataset(folder).fingerprint == before


def test_the_fingerprint_changes_with_a_name_a_swap_and_a_class(folder: Path) -> None:
    found = {read_dataset(folder).fingerprint}
    normal = folder / "normal"
    (normal / "normal (3).png").rename(normal / "normal (4).png")
    found.add(read_dataset(folder).fingerprint)
    (normal / "normal (1).png").rename(normal / "aside")
    (normal / "normal (2).png").rename(normal / "normal (1).png")
    (normal / "aside").rename(normal / "normal (2).png")
    found.add(read_dataset(folder).fingerprint)
    (normal / "normal (4).png").rename(folder / "benign" / "normal (4).png")
    found.add(read_dataset(folder).fingerprint)
    assert len(found) == 4


def test_synthetic_data_says_so(phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    assert (data.synthetic, data.name) == (True, "phantoms")
    assert data.counts() == dict.fromkeys(CLASSES, 24)
    assert load_lumas(data.pictures[:2], Preprocess(96, 128)).shape == (2, 96, 128)
    for n, picture in enumerate(data.pictures):
        if n % 12 == 0:
            assert load_mask(picture, (96, 128)).any() == (picture.label != "normal")


def test_a_broken_marker_is_named(folder: Path) -> None:
    (folder / MARKER).write_text("{")
    refused(folder, str(folder / MARKER), "JSON")
    (folder / MARKER).write_text("[]")
    refused(folder, str(folder / MARKER))
    (folder / MARKER).write_text(json.dumps({"name": "other", "synthetic": True}))
    data = read_dataset(folder)
    assert (data.name, data.synthetic) == ("other", True)


def test_the_real_data_set_is_whole(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    assert data.name == "BUSI"
    assert not data.synthetic
    assert data.counts() == {"benign": 437, "malignant": 210, "normal": 133}
    assert len(data.pictures) == 780
    masks = Counter(len(picture.masks) for picture in data.pictures)
    assert masks.total() == 780
    assert sum(n * count for n, count in masks.items()) == 798
    assert masks[0] == 0
    assert sum(count for n, count in masks.items() if n > 1) == 17
    assert [p.name for p in data.pictures[:3]] == ["benign (1).png", "benign (2).png", "benign (3).png"]


def test_real_pictures_and_masks_decode(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    several = [picture for picture in data.pictures if len(picture.masks) > 1]
    assert load_lumas(several, Preprocess()).shape == (17, 224, 224)
    larger = 0
    for picture in several:
        shape = read_picture(picture.path).shape[:2]
        union = load_mask(picture, shape)
        alone = [load_mask(replace(picture, masks=(mask,)), shape) for mask in picture.masks]
        assert np.array_equal(union, np.any(alone, axis=0))
        larger += union.sum() > max(one.sum() for one in alone)
    assert larger == 16  # in one picture the second mask lies inside the first
