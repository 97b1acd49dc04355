"""A file's masks against those of the PyTorch network and against the truth, at each picture's own size."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from device.bundle import Estimate
from device.errors import UserError
from device.outline import lesion
from device.preprocess import Preprocess, read_picture
from device.runtime import Model
from train.data.busi import Picture
from train.evaluation.intervals import drawn_counts, ratio, with_interval
from train.segmentation.networks.make import heads
from train.segmentation.outlines import truth_of

THRESHOLD = 0.5
WORST = 12  # pictures that are listed of each file
_BATCH = 32


@dataclass(frozen=True)
class Packed:
    """A mask (H, W) bool in an eighth of its bytes: there are some hundreds of them."""

    bits: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> "Packed":
        """Of (H, W) bool."""
        return cls(np.packbits(mask), mask.shape)

    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)


@dataclass(frozen=True)
class Outlined:
    """The N held-out pictures of the classes whose outlines the network has learnt, with what PyTorch outlines in each
    (at the picture's size) and what is true, None where nobody drew it. lumas: (N, H, W) as prepared. grid: (h, w) of
    the network's mask. val: so many are of the validation part, and come first."""

    pictures: tuple[Picture, ...]
    lumas: np.ndarray
    reference: tuple[Packed, ...]
    truths: tuple[Packed | None, ...]
    groups: np.ndarray
    val: int
    preprocess: Preprocess
    grid: tuple[int, int]


@dataclass(frozen=True)
class PictureMasks:
    """One picture: Dice and IoU of the file's mask with PyTorch's, 1 where both are empty; share of the picture that
    PyTorch (was) and the file (became) outline."""

    picture: str
    dice: float
    iou: float
    was: float
    became: float


@dataclass(frozen=True)
class MaskParity:
    """A file's masks over the held-out part.

    dice, iou: with PyTorch's, mean over all pictures; those where both are empty (both_empty of them) count 1.
    one_empty: where one of the two outlines nothing and the other something, which counts 0. outlined_dice: mean
    without those where both are empty. truth: mean Dice against the truth on the test part's lesions, a lesion of which
    nothing is outlined counting 0; difference: the same minus PyTorch's, over all held-out lesions, paired. worst: the
    pictures with the least Dice below 1, the least first. All None when some logit is no finite number.
    """

    pictures: int
    both_empty: int | None = None
    one_empty: int | None = None
    dice: Estimate = field(default_factory=lambda: Estimate(None))
    iou: Estimate = field(default_factory=lambda: Estimate(None))
    outlined_dice: Estimate = field(default_factory=lambda: Estimate(None))
    truth: Estimate = field(default_factory=lambda: Estimate(None))
    difference: Estimate = field(default_factory=lambda: Estimate(None))
    worst: tuple[PictureMasks, ...] = ()


def outlined(
    network: nn.Module,
    pictures: Sequence[Picture],
    lumas: np.ndarray,
    groups: np.ndarray,
    val: int,
    preprocess: Preprocess,
    learnt: Sequence[str],
) -> Outlined:
    """Ask a PyTorch network with a mask about `lumas` (N, H, W), the prepared `pictures`, as far as they are of the
    classes `learnt`: what a mask head says of others is nothing that anybody taught it.

    Raises UserError when there is none of them, or a picture or a drawn mask does not decode.
    """
    chosen = [n for n, picture in enumerate(pictures) if picture.label in learnt]
    if not chosen:
        raise UserError(f"no held-out picture is {' or '.join(learnt)}, so masks cannot be compared; give more data.")
    val = sum(n < val for n in chosen)
    pictures, lumas, groups = [pictures[n] for n in chosen], lumas[chosen], groups[chosen]
    planes = _planes(network, lumas)
    reference, truths = [], []
    for picture, plane in zip(pictures, planes, strict=True):
        shape = read_picture(picture.path).shape[:2]
        reference.append(Packed.of(lesion(plane, 0.0, shape, preprocess)))
        truth = truth_of(picture, shape)
        truths.append(None if truth is None else Packed.of(truth))
    return Outlined(tuple(pictures), lumas, tuple(reference), tuple(truths), groups, val, preprocess, planes.shape[1:])


@torch.no_grad()
def _planes(network: nn.Module, lumas: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 -> (N, h, w) float32 mask logits."""
    network.eval()
    parts = (torch.from_numpy(lumas[at : at + _BATCH]).float()[:, None] for at in range(0, len(lumas), _BATCH))
    return np.concatenate([heads(network(part)).mask[:, 0].numpy() for part in parts])


def run_masks(model: Model, lumas: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, h, w) masks as the file stores them, picture by picture, as on the Pi."""
    found = []
    for luma in lumas:
        model.raw(luma)
        found.append(model.raw_mask())
    return np.stack(found)


def overlap(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """(Dice, IoU) of two masks of bool, 0..1; 1 where both are empty: they say the same."""
    common, total = int((one & other).sum()), int(one.sum()) + int(other.sum())
    return (2 * common / total, common / (total - common)) if total else (1.0, 1.0)


def compare_masks(
    stored: np.ndarray, cut: float, about: Outlined, repeats: int = 1000, seed: int = 0
) -> tuple[MaskParity, dict[str, np.ndarray]]:
    """(the parity of a file's masks, those of the worst pictures by name as (H, W) bool).

    stored: (N, h, w) as the file stores them. cut: MaskOutput.cut. Intervals: 95 %, over groups, as everywhere.
    """
    count = len(about.pictures)
    if not np.isfinite(stored).all():
        return MaskParity(count), {}
    rows: list[PictureMasks] = []
    against = np.full((2, count), np.nan)  # Dice of the file and of PyTorch with the truth, where a lesion is known
    for n, (picture, reference, truth) in enumerate(zip(about.pictures, about.reference, about.truths, strict=True)):
        was, became = reference.mask(), lesion(stored[n], cut, reference.shape, about.preprocess)
        rows.append(PictureMasks(picture.name, *overlap(was, became), float(was.mean()), float(became.mean())))
        true = None if truth is None else truth.mask()
        if true is not None and true.any():
            against[:, n] = overlap(became, true)[0], overlap(was, true)[0]
    counts = np.vstack([np.ones((1, count)), drawn_counts(about.groups, repeats, seed)])
    dice, iou = (np.array([getattr(row, name) for row in rows]) for name in ("dice", "iou"))
    was, became = (np.array([getattr(row, name) > 0 for row in rows]) for name in ("was", "became"))
    test = np.arange(count) >= about.val
    lesions = ~np.isnan(against[0])
    differs = sorted((row for row in rows if row.dice < 1.0), key=lambda row: (row.dice, row.picture))[:WORST]
    place = {row.picture: n for n, row in enumerate(rows)}
    shown = {
        row.picture: lesion(stored[n], cut, about.reference[n].shape, about.preprocess)
        for row in differs
        for n in [place[row.picture]]
    }
    parity = MaskParity(
        pictures=count,
        both_empty=int((~was & ~became).sum()),
        one_empty=int((was != became).sum()),
        dice=_mean(dice, np.ones(count, bool), counts),
        iou=_mean(iou, np.ones(count, bool), counts),
        outlined_dice=_mean(dice, was | became, counts),
        truth=_mean(against[0], lesions & test, counts),
        difference=_mean(against[0] - against[1], lesions, counts),
        worst=tuple(differs),
    )
    return parity, shown


def _mean(values: np.ndarray, among: np.ndarray, counts: np.ndarray) -> Estimate:
    """Mean of values (N,) over the pictures `among` (N,) bool, with its interval; unknown where there are none."""
    known = np.where(among, values, 0.0)
    found = ratio(counts @ known, counts @ among.astype(np.float64))
    return with_interval(float(found[0]), found[1:])
