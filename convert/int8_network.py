"""The student as int8 likes it: the same function with activations, constants and channels written otherwise."""

from pathlib import Path

import numpy as np
import onnx

from convert import equalise, export, fold
from convert.quantise.how import How
from convert.two_heads import ClassOutput
from device.preprocess import Preprocess
from train.networks.backbone import Luma
from train.recipe import ConvertRecipe


def write_float_onnx(student: Luma | ClassOutput, preprocess: Preprocess, path: Path) -> None:
    """Write the ONNX file that float32, float16 and int8-dynamic are made from.

    Nothing is equalised: int8-dynamic rounds the weights of a depthwise convolution with one scale for all
    channels, and what the activations gain the weights lose there (agreement with PyTorch 96 % -> 89 %).
    """
    export.export_onnx(export.deployable(student, False), (preprocess.height, preprocess.width), path)


def write_int8_onnx(
    student: Luma | ClassOutput, recipe: ConvertRecipe, preprocess: Preprocess, lumas: np.ndarray, path: Path
) -> int:
    """Write the ONNX file that int8-full is made from; returns what is to be subtracted from luma before it.

    lumas: (N, H, W) uint8 of the calibration pictures.
    """
    export.export_onnx(export.deployable(student, recipe.relu_activations), (preprocess.height, preprocess.width), path)
    model, centre = onnx.load(path), 0
    if recipe.fold:
        model, centre = fold.centred(fold.folded(model))
    if recipe.equalise:
        # By all of them: a channel that speaks on one picture in fifty was blown up where a few did not hold that one,
        # and its cry then set the step of all its neighbours (agreement with PyTorch 99 % -> 90 % on one network).
        model = equalise.equalised(model, (luma[None, None].astype(np.float32) - centre for luma in lumas))
    onnx.save(model, path)
    return centre


def how_of(recipe: ConvertRecipe) -> How:
    """How TensorFlow's part of the way goes, of a recipe's [convert]."""
    return How(recipe.int8_ranges, recipe.int8_bias_pictures, recipe.int8_rounding, slim=recipe.int8_slim)
