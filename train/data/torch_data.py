"""Pictures in memory as a torch data set; what is drawn for an item depends on (seed, epoch, picture) alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from train.augment import augmented
from train.data.busi import CLASSES, Picture
from train.data.views import view_of
from train.recipe import Augment


def targets_of(pictures: tuple[Picture, ...]) -> np.ndarray:
    """(N,) int64 class numbers in the order of CLASSES."""
    return np.array([CLASSES.index(picture.label) for picture in pictures], np.int64)


@dataclass(frozen=True)
class Answers:
    """A teacher's cached answers to numbered views of N pictures.

    names: of the pictures. logits: (N, V, K) float32; a row of NaN: no answer to this picture. seed: of the views.
    by_view: the student sees the numbered views, in turn, each with its own answer; else any augmentation, and the
    mean of the V answers' probabilities.
    """

    names: tuple[str, ...]
    logits: np.ndarray
    seed: int
    by_view: bool


class LumaSet(Dataset):
    """Items for one picture each; `epoch` selects what is drawn.

    An item is a dict: `luma` (1, H, W) float32 0..255, `target` class number; with masks `mask` (1, H, W) float32 0 or
    1, and `mask_known` 0 or 1; with answers `soft` (K,) float32 log-probabilities of the teacher, NaN without answer.
    """

    def __init__(
        self,
        lumas: np.ndarray,
        targets: np.ndarray,
        augment: Augment | None = None,
        seed: int = 0,
        masks: np.ndarray | None = None,
        masks_known: np.ndarray | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.lumas, self.targets, self.augment, self.seed = lumas, targets, augment, seed
        self.masks, self.masks_known, self.answers = masks, masks_known, answers
        if answers is not None:
            probabilities = torch.from_numpy(answers.logits).log_softmax(dim=2)  # (N, V, K)
            views = probabilities.shape[1]
            mean = torch.logsumexp(probabilities, dim=1, keepdim=True) - np.log(views)
            self._soft = probabilities if answers.by_view else mean
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lumas)

    def __getitem__(self, index: int) -> dict[str, Any]:
        luma, mask, soft = self.lumas[index], None, None
        if self.masks is not None:
            mask = self.masks[index]
        if self.answers is not None and self.answers.by_view:
            # Another view each epoch, and not the same number for all pictures of an epoch.
            number = (self.epoch + index) % self._soft.shape[1]
            luma, mask = view_of(luma, mask, self.augment, self.answers.seed, self.answers.names[index], number)
            soft = self._soft[index, number]
        else:
            if self.augment is not None:
                rng = np.random.default_rng([self.seed, self.epoch, index])
                luma, mask = augmented(luma, mask, self.augment, rng)
            if self.answers is not None:
                soft = self._soft[index, 0]
        item = {"luma": torch.from_numpy(luma).float()[None], "target": int(self.targets[index])}
        if mask is not None:
            item["mask"] = torch.from_numpy(mask.astype(np.float32))[None]
            item["mask_known"] = float(self.masks_known[index]) if self.masks_known is not None else 1.0
        if soft is not None:
            item["soft"] = soft
        return item
