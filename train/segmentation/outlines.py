"""A network's outlines on the grid of the picture itself."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from device.preprocess import Preprocess, prepare, read_picture, restored
from train.data.busi import Picture, load_mask
from train.segmentation.losses import enlarged
from train.segmentation.networks.make import heads
from train.segmentation.scores import Score, score

THRESHOLD = 0.5  # of the probability, after it was brought back to the picture's size


def outlines(
    network: nn.Module, pictures: Sequence[Picture], preprocess: Preprocess
) -> Iterator[tuple[Picture, np.ndarray, tuple[float, ...] | None]]:
    """Each picture with its outline (H, W) bool at its own resolution, and the class head's logits if there is one.

    Probabilities, not decisions, are brought back to the picture's size, bilinearly, and then cut at 0.5. Raises
    UserError when a picture does not decode.
    """
    network.eval()
    for picture in pictures:
        yield picture, *outline_of(network, read_picture(picture.path), preprocess)


@torch.no_grad()
def outline_of(
    network: nn.Module, frame: np.ndarray, preprocess: Preprocess
) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """The outline (H, W) bool of a frame as it was read, (H, W) or (H, W, 3) uint8, and the class head's logits.

    network: in evaluation mode. The logits are None of a network without a class head.
    """
    luma = torch.from_numpy(prepare(frame, preprocess)).to(next(network.parameters()).device).float()[None, None]
    answer = heads(network(luma))
    chance = torch.sigmoid(enlarged(answer.mask, luma.shape[2:]))[0, 0].cpu().numpy()
    classes = None if answer.classes is None else tuple(answer.classes[0].cpu().double().numpy().tolist())
    return restored(chance, frame.shape[:2], preprocess) > THRESHOLD, classes


def truth_of(picture: Picture, shape: tuple[int, int]) -> np.ndarray | None:
    """The picture's own outline (H, W) bool, all masks merged; empty of a normal picture, None where nobody drew it."""
    return load_mask(picture, shape) if picture.masks or picture.label == "normal" else None


def judged(picture: Picture, predicted: np.ndarray) -> Score | None:
    """The score of an outline (H, W) bool; None where the truth is not known."""
    truth = truth_of(picture, predicted.shape)
    return None if truth is None else score(predicted, truth)
