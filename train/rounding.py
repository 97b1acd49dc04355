"""The rounding of int8 activations, felt during training: the student learns to answer alike in spite of it.

Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018, section 3.3: values are rounded on
the way forward, gradients pass as if they were not. Only activations are rounded here: weights with a scale per channel
add far less noise. The range is that of the batch, so that nothing has to be kept in checkpoints.
"""

from train import torchvision_shim  # noqa: F401  before timm

# isort: split
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

_STEPS = 255
_BENT = (nn.Hardswish, nn.SiLU)  # their input is a tensor of its own in int8, unlike that of ReLU


def rounded(x: Tensor) -> Tensor:
    """`x` in steps of 1/255 of the range from its least to its greatest value, 0 included; the gradient is 1."""
    with torch.no_grad():
        low, high = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
        scale = (high - low).clamp(min=1e-12) / _STEPS
        zero_point = torch.round(-low / scale)
        nearest = (torch.clamp(torch.round(x / scale) + zero_point, 0, _STEPS) - zero_point) * scale
    return x + (nearest - x).detach()


def feel_rounding(network: nn.Module) -> None:
    """From now on most tensors that int8 would round are rounded while `network` trains; not when it is evaluated.

    These are the outputs of convolutions with their normalisation and ReLU, of curved activations and what goes into
    them, of the gates of squeeze-and-excite (not its products), of residual sums, and of the classifier.
    """
    for module in network.modules():
        if isinstance(module, _BENT):
            module.register_forward_pre_hook(_round_input)
        residual = getattr(module, "has_skip", False)
        if residual or isinstance(module, (BatchNormAct2d, nn.Hardsigmoid, nn.Linear, *_BENT)):
            module.register_forward_hook(_round_output)


def _round_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return (rounded(inputs[0]),) if module.training else None


def _round_output(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    return rounded(output) if module.training else None
