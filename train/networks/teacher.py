"""The hybrid teacher: a Vision Transformer beside a CNN, features concatenated, an MLP head on top."""

from pathlib import Path

import torch
from torch import Tensor, nn

from train.networks.backbone import build, feature_count
from train.recipe import TeacherRecipe


class HybridTeacher(nn.Module):
    """(N, 1, H, W) luma 0..255 -> (N, classes) logits.

    Default: ViT-Base (768 features) beside ConvNeXt-Tiny (768), 1536 in all; then for each width in `hidden`
    Linear - BatchNorm - ReLU - Dropout, and a last Linear.
    """

    def __init__(
        self,
        backbones: list[nn.Module],
        widths: list[int],
        hidden: tuple[int, ...],
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        layers: list[nn.Module] = []
        width = sum(widths)
        for units in hidden:
            layers += [nn.Linear(width, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(self, luma: Tensor) -> Tensor:
        return self.head(torch.cat([backbone(luma) for backbone in self.backbones], dim=1))


def build_teacher(
    recipe: TeacherRecipe, size: tuple[int, int], weights_dir: Path | None, classes: int
) -> HybridTeacher:
    """Make the teacher with its first weights. Raises UserError as `backbone.build` does."""
    backbones = [build(network, size, weights_dir) for network in recipe.backbones]
    widths = [feature_count(backbone, size) for backbone in backbones]
    return HybridTeacher(backbones, widths, recipe.hidden, recipe.dropout, classes)
