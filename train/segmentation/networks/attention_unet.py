"""Attention U-Net (Oktay et al., MIDL 2018): a U-Net whose skip connections pass through gates.

The layers follow the common public form: two 3x3 convolutions per level with BatchNorm and ReLU, nearest enlargement
and a 3x3 convolution on the way up, and a gate as wide as half its level. With 64 to 1024 channels it has the 34.9 M
parameters that others state.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def double_conv(own: int, out: int) -> nn.Sequential:
    """Two times 3x3 convolution, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (own, out):
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def up_conv(own: int, out: int) -> nn.Sequential:
    """Enlarged to twice the size, then 3x3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(own, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class Gate(nn.Module):
    """x * sigmoid(psi(relu(W_g g + W_x x))): where the coarser level g sees nothing, the skip x is silenced."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(channels // 2, 1)
        self.coarse = nn.Sequential(nn.Conv2d(channels, inside, 1), nn.BatchNorm2d(inside))
        self.skip = nn.Sequential(nn.Conv2d(channels, inside, 1), nn.BatchNorm2d(inside))
        self.psi = nn.Sequential(nn.Conv2d(inside, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        return skip * self.psi(F.relu(self.coarse(coarse) + self.skip(skip)))


class PlainEncoder(nn.Module):
    """(N, 1, H, W) -> maps of `channels`, each half as large as the one before; the first as large as the picture."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.levels = nn.ModuleList(
            double_conv(own, out) for own, out in zip((1, *channels[:-1]), channels, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.levels[0](x)]
        for level in self.levels[1:]:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        return maps


class AttentionUNet(nn.Module):
    """A decoder with gates over any encoder that gives maps from fine to coarse and their `channels`.

    Gives (N, 1, H, W) logits: enlarged bilinearly when the encoder's finest map is smaller than its input.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        widths = encoder.channels[::-1]  # from coarse to fine
        self.ups = nn.ModuleList(up_conv(own, out) for own, out in pairwise(widths))
        self.gates = nn.ModuleList(Gate(out) for out in widths[1:])
        self.levels = nn.ModuleList(double_conv(2 * out, out) for out in widths[1:])
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)
        seen = maps[-1]
        for up, gate, level, skip in zip(self.ups, self.gates, self.levels, maps[-2::-1], strict=True):
            seen = up(seen)
            seen = level(torch.cat([gate(seen, skip), seen], dim=1))
        logits = self.head(seen)
        if logits.shape[2:] == x.shape[2:]:
            return logits
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
