"""Towards the lesion's place: a small segmentation head beside the classifier, dropped at export."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.objectives.features import Tap, as_map, look
from train.recipe import MaskRecipe


class Masks(nn.Module):
    """weight * (binary cross-entropy + soft Dice loss), mean over the pictures whose mask is known.

    Each tapped layer goes through a 1x1 convolution to `width` channels, is enlarged to the first layer's grid, and all
    are summed; BatchNorm, ReLU and a 3x3 convolution give one logit per place. The mask is averaged onto that grid.
    Dice loss: 1 - (2 sum(p m) + 1) / (sum(p) + sum(m) + 1) per picture (Milletari et al., V-Net, 3DV 2016, with the
    sums not squared; the 1 makes an empty prediction of an empty mask perfect).
    """

    def __init__(self, recipe: MaskRecipe, student: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = recipe.weight
        # The recipe names the timm network's modules; around it stands the normalisation.
        self._paths = tuple(f"net.{layer}" for layer in recipe.layers)
        self._tap = Tap(student, self._paths, "student")
        look(student, size)
        self.laterals = nn.ModuleList(
            nn.Conv2d(as_map(self._tap.seen[path]).shape[1], recipe.width, 1) for path in self._paths
        )
        self.head = nn.Sequential(nn.BatchNorm2d(recipe.width), nn.ReLU(), nn.Conv2d(recipe.width, 1, 3, padding=1))

    def logits(self) -> Tensor:
        """(N, 1, h, w) of the pictures that the student saw last."""
        maps = [lateral(self._tap.seen[path]) for path, lateral in zip(self._paths, self.laterals, strict=True)]
        grid = maps[0].shape[2:]
        enlarged = [F.interpolate(one, size=grid, mode="bilinear", align_corners=False) for one in maps[1:]]
        return self.head(maps[0] + sum(enlarged)).float()

    def forward(self, batch: dict[str, Tensor], logits: Tensor) -> dict[str, Tensor]:
        place = self.logits()
        return {"masks": self.weight * mask_loss(place, batch["mask"], batch["mask_known"])}


def mask_loss(place: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """place: (N, 1, h, w) logits; mask: (N, 1, H, W) 0..1; known: (N,) 0 or 1 -> scalar, 0 when none is known."""
    mask = F.adaptive_avg_pool2d(mask, place.shape[2:])
    cross = F.binary_cross_entropy_with_logits(place, mask, reduction="none").mean(dim=(1, 2, 3))
    chance = torch.sigmoid(place)
    overlap, total = (chance * mask).sum(dim=(1, 2, 3)), (chance + mask).sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return ((cross + dice) * known).sum() / known.sum().clamp(min=1)
