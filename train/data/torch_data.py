"""Pictures in memory as a torch data set, with augmentation that depends only on (seed, epoch, picture)."""

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from train.data.busi import CLASSES, Picture
from train.recipe import Augment


def targets_of(pictures: tuple[Picture, ...]) -> np.ndarray:
    """(N,) int64 class numbers in the order of CLASSES."""
    return np.array([CLASSES.index(picture.label) for picture in pictures], np.int64)


def augmented(luma: np.ndarray, recipe: Augment, rng: np.random.Generator) -> np.ndarray:
    """One random variant of a prepared picture: (H, W) uint8 -> (H, W) uint8. Each draw is made even where its
    strength is zero, so that changing one strength does not change the others' draws.
    """
    height, width = luma.shape
    mirror = rng.random() < recipe.flip
    angle, scale, dx, dy, gain, offset = rng.uniform(-1, 1, 6)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle * recipe.rotate, 1 + scale * recipe.scale)
    turn[:, 2] += (dx * recipe.shift * width, dy * recipe.shift * height)
    if recipe.rotate or recipe.scale or recipe.shift:
        luma = cv2.warpAffine(luma, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if mirror:
        luma = luma[:, ::-1]
    if recipe.gain or recipe.offset:
        changed = luma.astype(np.float32) * (1 + gain * recipe.gain) + offset * recipe.offset
        luma = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(luma)


class LumaSet(Dataset):
    """Items (luma (1, H, W) float32 0..255, class number); `epoch` selects the augmentation's draws."""

    def __init__(self, lumas: np.ndarray, targets: np.ndarray, augment: Augment | None = None, seed: int = 0) -> None:
        self.lumas, self.targets, self.augment, self.seed = lumas, targets, augment, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lumas)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        luma = self.lumas[index]
        if self.augment is not None:
            luma = augmented(luma, self.augment, np.random.default_rng([self.seed, self.epoch, index]))
        return torch.from_numpy(luma).float()[None], int(self.targets[index])
