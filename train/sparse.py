"""Magnitude pruning: weights of the least size become zero while the network learns, more and more of them.

Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017, equation 1.
What is zero may come back when its gradient lifts it above another's size.
"""

from collections.abc import Iterator

import torch
from torch import nn

GROWS_FOR = 0.75  # of the training; for the rest of it the share stays as it is


def share_at(step: int, steps: int, final: float) -> float:
    """The share of zeros, 0..1, behind `step` of `steps` optimisation steps: final * (1 - (1 - t)^3)."""
    gone = min(1.0, step / max(1.0, GROWS_FOR * steps))
    return final * (1.0 - (1.0 - gone) ** 3)


@torch.no_grad()
def sparsify(network: nn.Module, share: float) -> None:
    """Zero that share of the weights of each of `layers`, the least by size, in place."""
    for layer in layers(network):
        weight = layer.weight
        zeros = int(share * weight.numel())
        if zeros:
            least = weight.abs().reshape(-1).topk(zeros, largest=False, sorted=False).indices
            kept = torch.ones(weight.numel(), dtype=weight.dtype, device=weight.device)
            kept[least] = 0.0
            weight.mul_(kept.reshape(weight.shape))  # whatever its layout in memory is


def layers(network: nn.Module) -> Iterator[nn.Conv2d]:
    """The convolutions that hold nearly all weights: not the first one, nor those that go channel by channel."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > 3:
            yield module
