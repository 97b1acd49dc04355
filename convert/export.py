"""Student -> ONNX: a network that takes the camera's luma directly, checked against PyTorch in ONNX Runtime."""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from convert.two_heads import ClassOutput
from train.networks.backbone import Luma, fold_stem
from train.segmentation.networks.encoders import mobilenet_maps
from train.segmentation.networks.two_heads import FINEST, TwoHeads

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

    outputs = ("logits",)

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


class OneChannelHeads(nn.Module):
    """The deployed form of a network with two heads: (1, 1, H, W) float luma -> (1, classes), (1, 1, h, w) logits."""

    outputs = ("logits", "mask")

    def __init__(self, network: TwoHeads) -> None:
        super().__init__()
        self.classifier = OneChannel(network.classifier)
        self.decoder = copy.deepcopy(network.decoder)

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        net = self.classifier.net
        maps = mobilenet_maps(net, luma - self.classifier.mean, FINEST)
        return net.forward_head(maps[-1]), self.decoder(maps)


Deployed = OneChannel | OneChannelHeads


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


def deployable(student: Luma | ClassOutput, relu_activations: bool) -> Deployed:
    """The network that is exported, in eval mode; with both heads where there are two. relu_activations: hard-swish and
    hard-sigmoid through relu6."""
    network = OneChannelHeads(student.both) if isinstance(student, ClassOutput) else OneChannel(student)
    if relu_activations:
        rewrite_activations(network)
    return network.eval()


def export_onnx(network: nn.Module, size: tuple[int, int], path: Path, outputs: tuple[str, ...] | None = None) -> None:
    """Write `network` as ONNX with a fixed batch of one, input `luma` (1, 1, H, W).

    outputs: their names; None: as `network` itself says, which is then a `Deployed`."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporter deprecation notes that say nothing to the user
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, *size),),
            str(path),
            input_names=["luma"],
            output_names=list(network.outputs if outputs is None else outputs),
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
    return np.concatenate([session.run(["logits"], {"luma": one})[0] for one in shown])
