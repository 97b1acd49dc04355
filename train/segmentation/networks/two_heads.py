"""One MobileNetV3 with two heads: the classifier as it ships, and a light decoder that outlines.

The decoder is a lite R-ASPP (Howard et al., Searching for MobileNetV3, ICCV 2019, section 6.4) changed for int8. Theirs
multiplies the coarse map by a sigmoid of its pooled self; here the pooled self is added: convolution, addition, ReLU
and bilinear enlargement stay in one piece of an int8 graph, and a sum keeps its range better than a product. Theirs
joins one finer level; here every level down to a quarter of the picture is added, smoothed by a depthwise and a
pointwise convolution (the top-down sums of Lin et al., Feature Pyramid Networks, CVPR 2017).
"""

from typing import NamedTuple

from train import torchvision_shim  # noqa: F401  before timm

# isort: split
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from device.errors import UserError
from train.networks.backbone import Luma
from train.segmentation.networks.encoders import is_mobilenet, mobilenet_maps

FINEST = 4  # the outline's grid: a quarter of the picture's


class Heads(NamedTuple):
    """mask: (N, 1, h, w) logits, positive on a lesion. classes: (N, K) logits, None of a network that only outlines."""

    mask: Tensor
    classes: Tensor | None = None


def pointwise(own: int, out: int) -> nn.Sequential:
    """1x1 convolution, BatchNorm, ReLU."""
    return nn.Sequential(nn.Conv2d(own, out, 1, bias=False), BatchNormAct2d(out))


class Smooth(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with BatchNorm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), BatchNormAct2d(width)
        )
        self.pointwise = pointwise(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Decoder(nn.Module):
    """Maps from fine to coarse, of `widths` channels -> (N, 1, h, w) logits on the finest map's grid."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.top = pointwise(widths[-1], width)
        self.context = nn.Sequential(nn.Conv2d(widths[-1], width, 1), nn.ReLU())
        self.laterals = nn.ModuleList(pointwise(own, width) for own in widths[-2::-1])
        self.smooths = nn.ModuleList(Smooth(width) for _ in widths[:-1])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        coarse = maps[-1]
        seen = self.top(coarse) + self.context(coarse.mean(dim=(2, 3), keepdim=True))
        for lateral, smooth, fine in zip(self.laterals, self.smooths, maps[-2::-1], strict=True):
            larger = F.interpolate(seen, size=fine.shape[2:], mode="bilinear", align_corners=False)
            seen = smooth(larger + lateral(fine))
        return self.head(seen)


class TwoHeads(nn.Module):
    """Luma (N, 1, H, W) 0..255 -> Heads; the outline on a quarter of the picture's grid.

    net: a MobileNetV3 of timm with a classifier, as `train.networks.backbone.build` gives it, so that a shipped
    classifier's weights fit `classifier` as they are. Raises UserError when it is another kind of network.
    """

    def __init__(self, classifier: Luma, name: str, width: int) -> None:
        super().__init__()
        if not is_mobilenet(classifier.net):
            raise UserError(f"the network {name!r} is no MobileNetV3 of timm; choose another network.backbone.")
        self.classifier = classifier
        with torch.no_grad():
            classifier.eval()
            device = next(classifier.parameters()).device
            maps = self._maps(torch.zeros(1, 1, 64, 64, device=device))
            classifier.train()
        self.decoder = Decoder(tuple(one.shape[1] for one in maps), width)

    def _maps(self, luma: Tensor) -> list[Tensor]:
        return mobilenet_maps(self.classifier.net, self.classifier.normal(luma), FINEST)

    def forward(self, luma: Tensor) -> Heads:
        maps = self._maps(luma)
        return Heads(self.decoder(maps), self.classifier.net.forward_head(maps[-1]))
