"""One pass over each picture: everything the audit has to know of it, so that it is decoded once."""

from dataclasses import dataclass

import numpy as np

from device.errors import UserError
from device.preprocess import read_picture, to_luma
from train.audit import features, hashes, marks
from train.data.busi import Picture


@dataclass(frozen=True)
class Look:
    """What one picture shows. pixels: pixel hash. phash, mirror_phash: (64,) bool. calipers: number of marks, 0 when
    none. colour: whether any channel differs; coloured: share of pixels that are tinted. text: lines that were read,
    None when text was not read.
    """

    height: int
    width: int
    pixels: str
    phash: np.ndarray
    mirror_phash: np.ndarray
    features: features.Features
    calipers: int
    colour: bool
    coloured: float
    colour_box: bool
    text: tuple[str, ...] | None


def look(picture: Picture, read_text: bool) -> Look:
    """Decode a picture and look at it. Raises UserError when it does not decode or is smaller than 32 pixels."""
    import cv2

    cv2.setNumThreads(1)
    shown = read_picture(picture.path)
    height, width = shown.shape[:2]
    if min(height, width) < 32:
        raise UserError(f"{picture.path}: {width} x {height} pixels are too few to compare; remove the picture.")
    upright, mirrored = hashes.phash_bits(shown)
    luma = to_luma(shown)
    text = None
    if read_text:
        from train.audit.text import read_lines

        text = read_lines(shown)
    return Look(
        height,
        width,
        hashes.pixel_hash(shown),
        upright,
        mirrored,
        features.describe(luma),
        len(marks.caliper_marks(shown)),
        hashes.is_colour(shown),
        float((marks.tint(shown) >= marks.TINT).mean()),
        marks.has_colour_box(shown),
        text,
    )
