"""Students that timm does not have. Each tells, as timm's networks do, its first convolution and its classifier."""

from collections.abc import Callable

from train import torchvision_shim  # noqa: F401  before timm

# isort: split
import timm
from timm.models import mobilenetv3
from torch import Tensor, nn


class HandCNN(nn.Module):
    """(N, 3, H, W) -> (N, classes): three convolutions, the mean of each map, one linear layer; 2.5 k weights.

    Its TFLite file in int8 is to fit in 5.21 kB, as the distilled network of the compression study on a Raspberry Pi
    that busi-kd is held against. There a layer costs half a kilobyte besides its weights, hence few and dense ones; the
    first, 5 x 5 with stride 4, buys a view of 29 pixels early.
    """

    def __init__(self, num_classes: int, act_layer: str = "relu") -> None:
        super().__init__()
        self.pretrained_cfg = {"first_conv": "stem.conv", "classifier": "classifier"}
        self.stem = _convolution(3, 8, 6, 4)
        self.second = _convolution(8, 12, 3, 2)
        self.third = _convolution(12, 12, 3, 2)
        self.classifier = nn.Linear(12, num_classes)
        if act_layer != "relu":
            raise TypeError(f"its activation is relu, not {act_layer}")

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.third(self.second(self.stem(x))).mean((2, 3)))


def mobilenetv3_small_035(num_classes: int, **options: str) -> nn.Module:
    """MobileNetV3-Small with 0.35 of its channels (Howard et al., Searching for MobileNetV3, ICCV 2019, section 6.1.2,
    lists that width); timm stops at 0.5. As there, the last layer keeps its 1024."""
    config = timm.get_pretrained_cfg("mobilenetv3_small_050")  # the layers have the same names
    return mobilenetv3._gen_mobilenet_v3(
        "mobilenetv3_small_035", 0.35, num_classes=num_classes, pretrained_cfg=config, **options
    )


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(inputs, outputs, kernel, stride, bias=False))
    layer.add_module("norm", nn.BatchNorm2d(outputs))
    layer.add_module("act", nn.ReLU())
    return layer


STUDENTS: dict[str, Callable[..., nn.Module]] = {"hand_cnn": HandCNN, "mobilenetv3_small_035": mobilenetv3_small_035}
