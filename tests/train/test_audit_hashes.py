"""Perceptual hashes against ImageHash itself, pixel hashes across encodings."""

from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from audit_pictures import tissue
from PIL import Image, ImageOps

from device.preprocess import read_picture
from train.audit.hashes import hamming, hexadecimal, is_colour, phash_bits, pixel_hash


@pytest.mark.parametrize("colour", [False, True])
def test_phash_is_that_of_the_file_in_imagehash(tmp_path: Path, colour: bool) -> None:
    grey = tissue(1, (201, 303))
    shown = np.dstack([grey, grey // 2, 255 - grey]) if colour else grey
    cv2.imwrite(str(tmp_path / "a.png"), shown)
    upright, mirrored = phash_bits(read_picture(tmp_path / "a.png"))
    image = Image.open(tmp_path / "a.png")
    assert hexadecimal(upright) == str(imagehash.phash(image))
    assert hexadecimal(mirrored) == str(imagehash.phash(ImageOps.mirror(image)))
    assert hexadecimal(upright) != hexadecimal(mirrored)


def test_hamming_counts_differing_bits() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((5, 64)) < 0.5, rng.random((7, 64)) < 0.5
    wanted = [[int((a != b).sum()) for b in second] for a in first]
    assert hamming(first, second).tolist() == wanted
    assert hamming(first, first).diagonal().tolist() == [0] * 5


def test_the_same_pixels_hash_alike_whatever_the_file(tmp_path: Path) -> None:
    grey = tissue(2)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "small.png"), grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    cv2.imwrite(str(tmp_path / "rgb.png"), cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    cv2.imwrite(str(tmp_path / "a.bmp"), grey)
    cv2.imwrite(str(tmp_path / "a.tif"), grey)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 5
    assert len({pixel_hash(read_picture(path)) for path in tmp_path.iterdir()}) == 1


def test_other_pixels_or_another_shape_hash_otherwise() -> None:
    grey = tissue(3)
    changed = grey.copy()
    changed[-1, -1] ^= 1
    tinted = np.dstack([grey] * 3)
    tinted[0, 0, 2] ^= 1
    assert (is_colour(tinted), is_colour(np.dstack([grey] * 3)), is_colour(grey)) == (True, False, False)
    assert len({pixel_hash(one) for one in (grey, changed, tinted, grey.reshape(-1, grey.shape[0]))}) == 4
