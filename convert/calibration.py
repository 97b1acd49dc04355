"""The pictures that fix the int8 ranges: drawn from the training part only, stratified, with a manifest."""

import hashlib
from dataclasses import dataclass

import numpy as np

from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import CLASSES, Picture, load_lumas

FEWEST = 20


@dataclass(frozen=True)
class Calibration:
    """(N, H, W) uint8 luma and what can be said of where it comes from."""

    lumas: np.ndarray
    manifest: dict


def draw(
    train: tuple[Picture, ...], preprocess: Preprocess, count: int, seed: int
) -> tuple[Calibration, Calibration | None]:
    """Draw up to `count` training pictures, each class in its share, and as many others, which share none with them.

    The second draw shows whether the first says enough; None when under 20 pictures are left for it. Raises UserError
    when there are under 20 in all. Two pixels of each draw's first picture are set to 0 and 255, so that the input
    range is the camera's: the int8 input then has scale 1 exactly and takes luma by flipping one bit.
    """
    if len(train) < FEWEST:
        raise UserError(f"{len(train)} training pictures are too few to calibrate int8; at least {FEWEST} are needed.")
    rng = np.random.default_rng(seed)
    first: list[Picture] = []
    second: list[Picture] = []
    for label in CLASSES:
        members = [picture for picture in train if picture.label == label]
        share = max(1, round(min(1.0, count / len(train)) * len(members)))
        order = rng.permutation(len(members))
        first += [members[i] for i in sorted(order[:share])]
        second += [members[i] for i in sorted(order[share : 2 * share])]
    again = _calibration(second, preprocess, seed) if len(second) >= FEWEST else None
    return _calibration(first, preprocess, seed), again


def _calibration(chosen: list[Picture], preprocess: Preprocess, seed: int) -> Calibration:
    lumas = load_lumas(chosen, preprocess)
    lumas[0].flat[0], lumas[0].flat[1] = 0, 255
    names = [picture.name for picture in chosen]
    digest = hashlib.sha256("\0".join(names).encode() + lumas.tobytes()).hexdigest()
    return Calibration(lumas, {"pictures": len(names), "seed": seed, "sha256": digest, "names": names})
