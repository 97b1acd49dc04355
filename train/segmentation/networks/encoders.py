"""Backbones that classify, as encoders: luma (N, 1, H, W) 0..255 -> maps from fine to coarse, each half as large.

An encoder has `channels`, the width of each map. What a backbone has after its last map is taken away.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from device.errors import UserError
from train.networks.backbone import Luma
from train.networks.trunks import ResNetV2Stage3

_RESNET = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")
_MOBILENET = ("conv_stem", "bn1", "blocks", "conv_head", "forward_head")
_UNUSED = ("fc", "global_pool", "conv_head", "norm_head", "act2", "flatten", "classifier")


class Encoder(nn.Module):
    """`maps(luma.net, normalised picture)` as a module; `widths` by a look at a small picture."""

    def __init__(self, luma: Luma, maps: Callable[[nn.Module, Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.luma, self._of = luma, maps
        with torch.no_grad():
            luma.eval()
            self.channels = tuple(one.shape[1] for one in self(torch.zeros(1, 1, 64, 64, device=_device(luma))))
            luma.train()

    def forward(self, x: Tensor) -> list[Tensor]:
        return self._of(self.luma.net, self.luma.normal(x))


def encoder(luma: Luma, name: str) -> Encoder:
    """An encoder around a network that `train.networks.backbone.build` made without classifier.

    A timm ResNet and a timm MobileNetV3 give five maps, 1/2 to 1/32 of the size; the trunk resnetv2_50_stage3 four.
    Raises UserError on any other network.
    """
    net = luma.net
    if isinstance(net, ResNetV2Stage3):
        return Encoder(luma, trunk_maps)
    if all(hasattr(net, part) for part in _RESNET):
        maps = resnet_maps
    elif is_mobilenet(net):
        maps = _mobilenet_all
    else:
        raise UserError(f"the network {name!r} is no ResNet or MobileNetV3 of timm; choose another network.backbone.")
    for part in _UNUSED:
        if hasattr(net, part):
            delattr(net, part)
    return Encoder(luma, maps)


def is_mobilenet(net: nn.Module) -> bool:
    """Whether it is a MobileNetV3 of timm, or built like one."""
    return all(hasattr(net, part) for part in _MOBILENET)


def resnet_maps(net: nn.Module, x: Tensor) -> list[Tensor]:
    """The stem's map before pooling, then one per stage."""
    maps = [net.act1(net.bn1(net.conv1(x)))]
    seen = net.maxpool(maps[0])
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        seen = stage(seen)
        maps.append(seen)
    return maps


def trunk_maps(net: ResNetV2Stage3, x: Tensor) -> list[Tensor]:
    """The stem's map before pooling, then one per stage, the last one normalised as the trunk ends."""
    maps = [torch.relu(net.stem(net.data_bn(x)))]
    seen = nn.functional.max_pool2d(maps[0], 3, 2, 1)
    for stage in net.stages:
        seen = stage.blocks(seen)
        maps.append(seen)
    return [*maps[:-1], torch.relu(net.norm(maps[-1]))]


def mobilenet_maps(net: nn.Module, x: Tensor, finest: int) -> list[Tensor]:
    """The last map of each size, the finest 1/`finest` of the picture: before a block of layers halves it."""
    side, maps = x.shape[2], []
    seen = net.bn1(net.conv_stem(x))
    for block in net.blocks:
        before, seen = seen, block(seen)
        if seen.shape[2] < before.shape[2] and before.shape[2] * finest <= side:
            maps.append(before)
    return [*maps, seen]


def _mobilenet_all(net: nn.Module, x: Tensor) -> list[Tensor]:
    return mobilenet_maps(net, x, 2)


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device
