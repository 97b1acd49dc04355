"""A contact sheet of pictures beside their random views, so that one sees what a recipe does to them."""

import io
from dataclasses import asdict

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from device import RESEARCH_NOTICE
from train.data.busi import DataSet, Picture, load_lumas
from train.data.extra import load_masks
from train.data.views import view_of
from train.recipe import Recipe

_GAP, _LINE = 6, 20  # pixels between tiles; height of a line of text
_SIDE = 224  # pixels that a tile is at least high
_BACK, _TEXT, _TITLE, _OUTLINE = (24, 26, 30), (222, 226, 232), (255, 208, 92), (255, 214, 0)


def chosen(data: DataSet, count: int, seed: int) -> list[Picture]:
    """`count` pictures, or all if there are fewer: from each class in turn, in an order that `seed` shuffles."""
    rng = np.random.default_rng(seed)
    classes = [[p for p in data.pictures if p.label == label] for label in data.classes]
    classes = [[pictures[k] for k in rng.permutation(len(pictures))] for pictures in classes]
    turns = (p for turn in range(max(map(len, classes))) for pictures in classes for p in pictures[turn : turn + 1])
    return [picture for picture, _ in zip(turns, range(count))]


def draw(data: DataSet, recipe: Recipe, pictures: list[Picture], views: int, seed: int) -> bytes:
    """A PNG: one row per picture, itself first and then its views 1 to `views`, with the lesion's outline.

    The pixels are those that a training with views of this seed sees, `view_of`. Raises UserError when a picture or
    mask does not decode.
    """
    lumas = load_lumas(pictures, recipe.preprocess)
    masks, known = load_masks(tuple(pictures), recipe.preprocess)
    height, width = lumas.shape[1:]
    times = -(-_SIDE // height)
    down, across = times * height + _LINE + _GAP, times * width + _GAP
    lines = heading(data, recipe, seed)
    top = _GAP + _LINE * len(lines)
    page = Image.new("RGB", (max(_GAP + across * (views + 1), 1000), top + down * len(pictures)), _BACK)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for number, line in enumerate(lines):
        pen.text((_GAP, _GAP + _LINE * number), line, font=font, fill=_TEXT if number else _TITLE)
    for row, (picture, luma, mask) in enumerate(zip(pictures, lumas, masks)):
        for number in range(views + 1):
            left, upper = _GAP + across * number, top + down * row
            caption = f"view {number}" if number else picture.name.removesuffix(".png")
            pen.text((left, upper), caption, font=font, fill=_TEXT)
            seen = view_of(luma, mask if known[row] else None, recipe.augment, seed, picture.name, number)
            page.paste(_tile(*seen, times), (left, upper + _LINE))
    png = io.BytesIO()
    page.save(png, "PNG", compress_level=6)
    return png.getvalue()


def heading(data: DataSet, recipe: Recipe, seed: int) -> list[str]:
    """The four lines above the pictures."""
    strengths = [f"{name} {value:g}" for name, value in asdict(recipe.augment).items() if value]
    half = -(-len(strengths) // 2)
    name = f"SYNTHETIC {data.name}" if data.synthetic else data.name
    whose = "" if data.synthetic else " These are patients' pictures: keep the sheet where the data are."
    return [
        f"Augmentation of {name}, recipe {recipe.name}, seed {seed}. {RESEARCH_NOTICE}",
        f"Yellow: the lesion's outline.{whose}",
        ", ".join(strengths[:half]) or "This recipe changes nothing.",
        ", ".join(strengths[half:]),
    ]


def _tile(luma: np.ndarray, mask: np.ndarray | None, times: int) -> Image.Image:
    """The picture enlarged `times`, each pixel a square, with the outline one pixel thin."""
    size = (times * luma.shape[1], times * luma.shape[0])
    tile = cv2.cvtColor(cv2.resize(luma, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB)
    if mask is not None:
        large = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, _OUTLINE, 1)
    return Image.fromarray(tile)
