"""What a training sees besides pictures and labels: lesion masks at the network's size, and phantoms."""

from dataclasses import dataclass

import numpy as np

from device import phantom
from device.preprocess import Preprocess, prepare, read_picture
from train.data.busi import CLASSES, Picture, load_mask

PHANTOM_SIZE = (384, 512)


@dataclass(frozen=True)
class Arrays:
    """N prepared pictures: lumas (N, H, W) uint8, targets (N,) int64, masks (N, H, W) bool."""

    lumas: np.ndarray
    targets: np.ndarray
    masks: np.ndarray


def load_masks(pictures: tuple[Picture, ...], preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """Lesion masks prepared as the pictures are: (N, H, W) bool, and (N,) bool whether they are known.

    A normal picture has no lesion: its mask is empty and known. Another picture without a mask file is unknown. Raises
    UserError as `load_mask` does.
    """
    masks = np.stack([_prepared(load_mask(p, read_picture(p.path).shape[:2]), preprocess) for p in pictures])
    return masks, np.array([bool(p.masks) or p.label == "normal" for p in pictures])


def phantom_arrays(per_class: int, seed: int, preprocess: Preprocess) -> Arrays:
    """`per_class` synthetic pictures of each class with their masks; the same for the same seed."""
    lumas, targets, masks = [], [], []
    for c, label in enumerate(CLASSES):
        for one in np.random.SeedSequence([seed, c]).generate_state(per_class):
            made = phantom.make_phantom(label, int(one), PHANTOM_SIZE)
            lumas.append(prepare(made.image, preprocess))
            masks.append(_prepared(made.mask, preprocess))
            targets.append(c)
    return Arrays(np.stack(lumas), np.array(targets, np.int64), np.stack(masks))


def _prepared(mask: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """A mask on the network's grid: a place belongs to the lesion when half of it does."""
    outside = Preprocess(preprocess.height, preprocess.width, resize=preprocess.resize, interpolation="area", fill=0)
    return prepare(mask.astype(np.uint8) * 255, outside) >= 128
