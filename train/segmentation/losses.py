"""What an outline costs: against the truth (hard), and against another network's outline (soft).

All take logits (N, 1, H, W) and give (N,), a value per picture. Sums over a picture's places have 1 added above and
below, so that an empty outline of an empty truth costs nothing and no logarithm is of 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_PLACES = (1, 2, 3)


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean over the places of -m ln p - (1 - m) ln(1 - p), p the sigmoid; mask (N, 1, H, W) 0..1."""
    return F.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean(dim=_PLACES)


def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - (2 sum(p m) + 1) / (sum(p) + sum(m) + 1): V-Net's (Milletari et al., 3DV 2016), its sums not squared."""
    overlap, both = _overlap(logits, mask)
    return 1 - (2 * overlap + 1) / (both + 1)


def iou_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """-ln IoU, IoU = (sum(p m) + 1) / (sum(p) + sum(m) - sum(p m) + 1) (Yu et al., UnitBox, ACM MM 2016)."""
    overlap, both = _overlap(logits, mask)
    return torch.log(both - overlap + 1) - torch.log(overlap + 1)


def weight_balance(logits: Tensor, mask: Tensor) -> Tensor:
    """2 * CE + Dice loss - ln IoU: LightBTSeg's weight-balance loss (Guo et al., arXiv 2311.11086)."""
    return 2 * cross_entropy(logits, mask) + dice_loss(logits, mask) + iou_loss(logits, mask)


def _overlap(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    chance = torch.sigmoid(logits)
    return (chance * mask).sum(dim=_PLACES), (chance + mask).sum(dim=_PLACES)


HARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weight-balance": weight_balance,
    "ce": cross_entropy,
    "dice": dice_loss,
    "ce-dice": lambda logits, mask: cross_entropy(logits, mask) + dice_loss(logits, mask),
    "iou": iou_loss,
}


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the places of KL(teacher || student) between the two-class answers (lesion, none); no temperature.

    One logit z is the two-class softmax of (z, 0), so this is the softmax's KL divergence at temperature 1.
    """
    chance = torch.sigmoid(teacher)
    on = chance * (F.logsigmoid(teacher) - F.logsigmoid(student))
    off = (1 - chance) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (on + off).mean(dim=_PLACES)


SOFT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "l1": lambda student, teacher: (student - teacher).abs().mean(dim=_PLACES),
    "mse": lambda student, teacher: (student - teacher).pow(2).mean(dim=_PLACES),
}


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (N, 1, h, w) on a grid of `size`, bilinearly; as they are when that is their grid."""
    same = tuple(logits.shape[2:]) == tuple(size)
    return logits if same else F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of values (N,) over the pictures `chosen` (N,), 0 or 1; 0 when none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
