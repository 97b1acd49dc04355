"""What a network costs, by counting."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(network: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one picture of `size` (height, width), as torch counts them: convolutions and
    linear layers. The network takes (1, 1, H, W) and stays in the mode it is in."""
    training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, *size, device=next(network.parameters()).device))
    network.train(training)
    return sum(weight.numel() for weight in network.parameters()), counter.get_total_flops() // 2
