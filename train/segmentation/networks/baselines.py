"""What the students are compared with: U-Net, U-Net++ and Attention U-Net as MONAI builds them, for two dimensions."""

from train import torchvision_shim  # noqa: F401  before monai

# isort: split
from monai.networks.nets import AttentionUnet, BasicUNet, BasicUNetPlusPlus
from torch import Tensor, nn

# Ronneberger et al., MICCAI 2015: 64 channels, doubled at each of four halvings.
CHANNELS = (64, 128, 256, 512, 1024)
_LAYERS = {"act": ("relu", {"inplace": True}), "norm": "batch"}


class Last(nn.Module):
    """The finest of the outlines that a U-Net++ gives."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[-1]


def unet(channels: tuple[int, ...]) -> nn.Module:
    """U-Net (Ronneberger et al., MICCAI 2015) with BatchNorm; the last level is as wide as the first."""
    return BasicUNet(2, 1, 1, _features(channels), **_LAYERS)


def unet_plus_plus(channels: tuple[int, ...]) -> nn.Module:
    """U-Net++ (Zhou et al., DLMIA 2018) without deep supervision, BatchNorm; the last level is as wide as the first."""
    return Last(BasicUNetPlusPlus(2, 1, 1, _features(channels), **_LAYERS))


def attention_unet(channels: tuple[int, ...]) -> nn.Module:
    """Attention U-Net (Oktay et al., MIDL 2018)."""
    channels = channels or CHANNELS
    return AttentionUnet(2, 1, 1, channels, (2,) * (len(channels) - 1))


def _features(channels: tuple[int, ...]) -> tuple[int, ...]:
    channels = channels or CHANNELS
    if len(channels) != 5:
        raise ValueError(f"network.channels of U-Net and U-Net++ must be five widths, not {list(channels)}.")
    return (*channels, channels[0])
