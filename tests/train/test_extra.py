"""Masks at the network's size, and phantoms that join a training."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_busi import write_small_busi

from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import load_lumas, read_dataset
from train.data.extra import load_masks, phantom_arrays

SIZE = Preprocess(32, 48)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 60 x 80; of the first benign one two masks, of the second none."""
    root = write_small_busi(tmp_path / "data", per_class=3)
    for path in root.rglob("*.png"):
        path.unlink() if "_mask" in path.name else cv2.imwrite(str(path), np.full((60, 80), 90, np.uint8))
    for number, (rows, columns) in enumerate([(slice(0, 30), slice(0, 40)), (slice(30, 60), slice(40, 80))]):
        mask = np.zeros((60, 80), np.uint8)
        mask[rows, columns] = 255
        cv2.imwrite(str(root / "benign" / f"benign (1)_mask{'' if not number else f'_{number}'}.png"), mask)
    return root


def test_masks_are_merged_and_prepared_as_their_pictures(folder: Path) -> None:
    pictures = read_dataset(folder).pictures
    masks, known = load_masks(pictures, SIZE)
    assert (masks.shape, masks.dtype) == ((9, 32, 48), bool)
    assert masks.shape == load_lumas(pictures, SIZE).shape
    wanted = np.zeros((32, 48), bool)
    wanted[:16, :24] = wanted[16:, 24:] = True
    assert np.array_equal(masks[0], wanted)
    assert not masks[1:].any()
    by_name = dict(zip([p.name for p in pictures], known, strict=True))
    assert by_name == {p.name: p.name == "benign (1).png" or p.label == "normal" for p in pictures}


def test_a_letterboxed_mask_stays_on_its_picture(folder: Path) -> None:
    boxed = Preprocess(48, 48, resize="letterbox", fill=255)
    mask = load_masks(read_dataset(folder).pictures[:1], boxed)[0][0]
    assert not mask[:6].any(), "the border is no lesion, whatever it is filled with"
    assert not mask[42:].any()
    assert mask[6:24, :24].all()
    assert mask[24:42, 24:].all()


def test_a_mask_of_another_size_is_refused(folder: Path) -> None:
    cv2.imwrite(str(folder / "benign" / "benign (1)_mask.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(UserError, match=r"benign \(1\)_mask.png: the mask is 10 x 10, its picture 60 x 80"):
        load_masks(read_dataset(folder).pictures, SIZE)


def test_phantoms_are_the_same_for_the_same_seed() -> None:
    one, same, other = (phantom_arrays(2, seed, SIZE) for seed in (4, 4, 5))
    assert one.lumas.shape == one.masks.shape == (6, 32, 48)
    assert one.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(one.lumas, same.lumas)
    assert not np.array_equal(one.lumas, other.lumas)
    assert len({luma.tobytes() for luma in one.lumas}) == 6
    assert one.masks[:4].any(axis=(1, 2)).all()
    assert not one.masks[4:].any(), "a normal phantom has no lesion"
