"""Student -> ONNX: a network that takes the camera's luma directly, checked against PyTorch in ONNX Runtime."""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from train.networks.backbone import Luma, fold_stem

OPSET = 18


class ReluHardsigmoid(nn.Module):
    """hard-sigmoid as relu6(x + 3) / 6: the same function, in operators that XNNPACK takes in int8."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(x + 3.0) * (1.0 / 6.0)


class ReluHardswish(nn.Module):
    """hard-swish as (x / 6) * relu6(x + 3), Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * (1.0 / 6.0)) * nn.functional.relu6(x + 3.0)


class OneChannel(nn.Module):
    """The deployed form of a student: (1, 1, H, W) float luma 0..255 -> (1, classes) logits.

    The three equal input channels are summed in the stem and its weights take the division by std, so that one
    subtraction is all that is left of the normalisation. Exact up to rounding, also at the zero-padded border,
    because the mean is subtracted before the padding.
    """

    def __init__(self, student: Luma) -> None:
        super().__init__()
        self.net = copy.deepcopy(student.net)
        self.mean = 255.0 * student.mean
        if not student.one_channel:
            fold_stem(self.net)
        first = self.net.get_submodule(self.net.pretrained_cfg["first_conv"])
        first.weight = nn.Parameter(first.weight.detach() / (255.0 * student.std))

    def forward(self, luma: Tensor) -> Tensor:
        return self.net(luma - self.mean)


def rewrite_activations(module: nn.Module) -> None:
    """Put hard-swish and hard-sigmoid of a network through relu6, in place."""
    for name, child in module.named_children():
        kind = type(child).__name__.lower()
        if kind.startswith("hardswish"):
            setattr(module, name, ReluHardswish())
        elif kind.startswith("hardsigmoid"):
            setattr(module, name, ReluHardsigmoid())
        else:
            rewrite_activations(child)


def deployable(student: Luma, relu_activations: bool) -> OneChannel:
    """The network that is exported, in eval mode. relu_activations: hard-swish and hard-sigmoid through relu6."""
    network = OneChannel(student)
    if relu_activations:
        rewrite_activations(network)
    return network.eval()


def export_onnx(network: OneChannel, size: tuple[int, int], path: Path) -> None:
    """Write `network` as ONNX with a fixed batch of one, input `luma` (1, 1, H, W), output `logits`."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporter deprecation notes that say nothing to the user
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, *size),),
            str(path),
            input_names=["luma"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def run_onnx(path: Path, lumas: np.ndarray, centre: int = 0) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, classes) logits in ONNX Runtime, one by one; the network takes luma - centre."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shown = (luma[None, None].astype(np.float32) - centre for luma in lumas)
    return np.concatenate([session.run(None, {"luma": one})[0] for one in shown])
