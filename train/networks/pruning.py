"""Structured pruning before a training: whole channels go, and the network that is left is trained as any other.

Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, by their package Torch-Pruning: layers whose
channels hang together lose the same ones, those with the least L2 norm of all their weights (group magnitude).

Every layer loses the same share, so the sizes do not depend on the weights: a network that is built anew, to load the
weights of a run into it, is pruned to the very same sizes.
"""

import torch
import torch_pruning as tp
from torch import nn

from device.errors import UserError

_TRACING = (RuntimeError, ValueError, KeyError, IndexError, AttributeError)  # what following foreign code raises
ROUND_TO = 4  # channels; fewer, odd ones would cost an int8 kernel as much as the next multiple


def prune(net: nn.Module, share: float, channels: int, size: tuple[int, int], keep: list[nn.Module]) -> None:
    """Take about `share` (0..1) of the channels of each layer out of `net`, in place.

    channels, size: of its input, (1, channels, *size). keep: layers whose outputs stay all, the classifier. Raises
    UserError when the network cannot be followed through.
    """
    example = torch.zeros(1, channels, *size)
    training = net.training
    net.eval()
    try:
        pruner = tp.pruner.MagnitudePruner(
            net,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=share,
            ignored_layers=keep,
            round_to=ROUND_TO,
        )
        pruner.step()
        with torch.no_grad():
            net(example)
    except _TRACING as error:
        said = " ".join(str(error).split())[:160]
        raise UserError(
            f"this network cannot be pruned ({type(error).__name__}: {said}); set network.prune to 0."
        ) from error
    net.train(training)
