"""Small generated folders in the BUSI layout, for tests that alter one file of them."""

from pathlib import Path

import numpy as np

from train.data.busi import CLASSES, write_picture


def write_small_busi(folder: Path, per_class: int = 3, size: tuple[int, int] = (40, 60)) -> Path:
    """`per_class` noise pictures of each class with official names; lesions have a mask, `normal` has none."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        for n in range(1, per_class + 1):
            write_picture(folder / label / f"{label} ({n}).png", rng.integers(0, 256, size, np.uint8))
            if label != "normal":
                mask = np.zeros(size, np.uint8)
                mask[5:15, 10:30] = 255
                write_picture(folder / label / f"{label} ({n})_mask.png", mask)
    return folder
