"""A trunk that timm does not have: pre-activation ResNet50 without its last stage, in MXNet gluon's style.

He et al., Identity Mappings in Deep Residual Networks, ECCV 2016 (pre-activation), table 1 of He et al. 2015 for the
depths. Differences from timm's `resnetv2_50`: BatchNorm on the input, BatchNorm + ReLU after the stem, the final norm
is the first one of the absent stage 4. Key names are timm's, so that the weight file loads strictly.
"""

import torch
from torch import Tensor, nn


class PreActBottleneck(nn.Module):
    """norm-ReLU-conv three times (1x1, 3x3, 1x1); the shortcut starts after the first ReLU where it projects."""

    def __init__(self, inputs: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        middle = outputs // 4
        if project:
            self.downsample = nn.Sequential()
            self.downsample.add_module("conv", nn.Conv2d(inputs, outputs, 1, stride, bias=False))
        else:
            self.downsample = None
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        y = self.conv1(active)
        y = self.conv2(torch.relu(self.norm2(y)))
        return shortcut + self.conv3(torch.relu(self.norm3(y)))


class ResNetV2Stage3(nn.Module):
    """Stem and stages 1-3 of ResNet50 v2: (N, 3, H, W) -> (N, 1024) pooled features; 16 pixels stride."""

    num_features = 1024

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6)) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm2d(3, affine=False)
        self.stem = nn.Sequential()
        self.stem.add_module("conv", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.stem.add_module("norm", nn.BatchNorm2d(64))
        self.stages = nn.ModuleList()
        channels = 64
        for s, depth in enumerate(depths):
            outputs, blocks = 256 * 2**s, []
            for b in range(depth):
                blocks.append(PreActBottleneck(channels, outputs, 2 if b == 0 and s > 0 else 1, b == 0))
                channels = outputs
            stage = nn.Module()
            stage.blocks = nn.Sequential(*blocks)
            self.stages.append(stage)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.stem(self.data_bn(x))), 3, 2, 1)
        for stage in self.stages:
            x = stage.blocks(x)
        return torch.relu(self.norm(x)).mean((2, 3))
