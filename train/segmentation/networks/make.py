"""A recipe's network by its name, and what it costs."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from device.errors import UserError
from train.data.busi import CLASSES
from train.networks.backbone import Luma, build
from train.recipe import NetworkRecipe
from train.segmentation.networks.hybrid import HybridTwoHeads
from train.segmentation.networks.two_heads import Heads, TwoHeads
from train.segmentation.recipe import SegNetwork

RESNET101 = NetworkRecipe("resnet101", weights="random")
MOBILENET = NetworkRecipe("mobilenetv3_small_100", weights="random", mean=0.5, std=0.5, stem="luma", activation="relu")


def make(recipe: SegNetwork, size: tuple[int, int], weights_dir: Path | None, fresh: bool = False) -> nn.Module:
    """The network with its first weights; `fresh` skips those, which will be loaded over.

    It takes luma (N, 1, H, W) 0..255 and gives (N, 1, h, w) logits, `two-heads` Heads. Raises UserError: a size that
    the network cannot halve so often, a backbone of another kind, or as `train.networks.backbone.build` does.
    """
    network = _made(recipe, size, weights_dir, fresh)
    try:
        with torch.no_grad():
            network.eval()
            network(torch.zeros(1, 1, *size, device=next(network.parameters()).device))
            network.train()
    except RuntimeError as error:  # two maps of a skip connection do not have the same size
        raise UserError(
            f"the network {recipe.name!r} does not take {size[0]} x {size[1]} pixels: every level halves "
            "them; give multiples of 32, or fewer levels."
        ) from error
    return network


def _made(recipe: SegNetwork, size: tuple[int, int], weights_dir: Path | None, fresh: bool) -> nn.Module:
    from train.segmentation.networks import lightbtseg

    if recipe.name in ("lightbtseg-teacher", "two-heads"):
        if recipe.channels:
            raise UserError(f"network.channels is not for {recipe.name!r}, whose backbone decides; leave it away.")
        first = recipe.backbone or (RESNET101 if recipe.name == "lightbtseg-teacher" else MOBILENET)
        first = replace(first, weights="random") if fresh else first
        if recipe.name == "two-heads":
            return _two_heads(recipe, first, size, weights_dir, fresh)
        return lightbtseg.teacher(build(first, size, weights_dir), first.name)
    if recipe.name == "simplified-unet":
        net = lightbtseg.student(recipe.channels)
    else:
        from train.segmentation.networks import baselines  # MONAI takes seconds to import

        makers = {
            "unet": baselines.unet,
            "unet++": baselines.unet_plus_plus,
            "attention-unet": baselines.attention_unet,
        }
        try:
            net = makers[recipe.name](recipe.channels)
        except ValueError as error:
            raise UserError(str(error)) from error
    scale = recipe.backbone or NetworkRecipe("", mean=0.5, std=0.5)
    return Luma(net, scale.mean, scale.std, one_channel=True)


def _two_heads(
    recipe: SegNetwork, first: NetworkRecipe, size: tuple[int, int], weights_dir: Path | None, fresh: bool
) -> nn.Module:
    classifier = build(first, size, weights_dir, len(CLASSES))
    if recipe.transformer is None:
        return TwoHeads(classifier, first.name, recipe.width)
    second = replace(recipe.transformer, weights="random") if fresh else recipe.transformer
    transformer = build(second, size, weights_dir, len(CLASSES))
    return HybridTwoHeads(classifier, transformer, (first.name, second.name), recipe.width, size)


def heads(answer: Tensor | Heads) -> Heads:
    """What any of the networks gives, in float32, as Heads."""
    answer = answer if isinstance(answer, Heads) else Heads(answer)
    return Heads(answer.mask.float(), None if answer.classes is None else answer.classes.float())
