"""What a network costs, by counting."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def cost(network: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one picture of `size` (height, width), as torch counts them: convolutions,
    linear layers and attention's products. The network takes (1, 1, H, W) and stays in the mode it is in."""
    training = network.training
    network.eval()
    # As two products: the CPU's fused attention is none that torch's counter knows, and it would count nothing.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 1, *size, device=next(network.parameters()).device))
    network.train(training)
    return sum(weight.numel() for weight in network.parameters()), counter.get_total_flops() // 2
