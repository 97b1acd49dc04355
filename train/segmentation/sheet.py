"""A contact sheet: the best, the middling and the worst outlines of a row beside the truth."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from device import RESEARCH_NOTICE
from device.preprocess import read_picture, to_luma
from train.data.busi import DataSet, Picture
from train.segmentation.outlines import truth_of
from train.segmentation.results import SegResult, read_outline
from train.segmentation.study import Row, SegStudy
from train.studies.grid.study import Key

_TILE, _GAP, _LINE = (280, 220), 6, 18  # width and height of a picture's place; gap; a line of text; pixels
_BACK, _TEXT, _TITLE = (24, 26, 30), (222, 226, 232), (255, 208, 92)
_TRUTH, _PREDICTED = (255, 214, 0), (0, 220, 255)
LEGEND = "Yellow: as drawn in the data set. Cyan: as predicted"
PATIENTS = "Patients' pictures: keep the sheet where the data are."


def ranked(
    study: SegStudy, row: Row, results: dict[Key, SegResult], pictures: dict[str, Picture], label: str
) -> list[tuple[float, Key, Picture]]:
    """(Dice, job, picture) of the row's lesion pictures of a class under its first seed, best first."""
    found = []
    for job in study.jobs([row]):
        if job.seed == row.seeds[0] and job.key in results:
            for name, score in results[job.key].scores.items():
                if score.dice is not None and name in pictures and pictures[name].label == label:
                    found.append((score.dice, job.key, pictures[name]))
    return sorted(found, key=lambda one: (-one[0], one[2].name))


def chosen(ordered: list, count: int) -> dict[str, list]:
    """`count` each of the best, the middle and the worst, none of them twice; fewer when there are not so many."""
    count = min(count, len(ordered) // 3)
    middle = (len(ordered) - count) // 2
    parts = {"best": ordered[:count], "median": ordered[middle : middle + count]}
    return parts | {"worst": ordered[len(ordered) - count :]}


def draw(
    out: Path, study: SegStudy, row: Row, data: DataSet, results: dict[Key, SegResult], count: int = 4
) -> bytes | None:
    """A PNG for a row: `count` best, median and worst outlines of each lesion class; None when nothing is there.

    Raises UserError when a picture or mask does not decode.
    """
    by_name = {picture.name: picture for picture in data.pictures}
    lines = []
    for label in ("benign", "malignant"):
        for what, ones in chosen(ranked(study, row, results, by_name, label), count).items():
            tiles = [_tile(out, picture, key, dice) for dice, key, picture in ones]
            if tiles:
                lines.append((f"{label}, {what}", tiles))
    if not lines:
        return None
    whose = f"SYNTHETIC {data.name}." if data.synthetic else PATIENTS
    legend = f"{LEGEND}, by the network whose test part the picture is in."
    return page((f"{row.name}: outlines by Dice. {RESEARCH_NOTICE}", legend, whose), lines)


def page(head: Sequence[str], lines: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]) -> bytes:
    """A PNG. head: sentences above, the first one the title. lines: (title, [(caption, what `tile` gave)])."""
    top = len(head) * _LINE + 2 * _GAP
    down = _TILE[1] + 2 * _LINE + _GAP
    width = max(_GAP + (_TILE[0] + _GAP) * max(len(tiles) for _, tiles in lines), 1000)
    sheet = Image.new("RGB", (width, top + down * len(lines)), _BACK)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, text in enumerate(head):
        pen.text((_GAP, _GAP + number * _LINE), text, font=font, fill=_TEXT if number else _TITLE)
    for number, (title, tiles) in enumerate(lines):
        upper = top + number * down
        pen.text((_GAP, upper), title, font=font, fill=_TITLE)
        for place, (caption, picture) in enumerate(tiles):
            left = _GAP + (_TILE[0] + _GAP) * place
            sheet.paste(Image.fromarray(picture), (left, upper + _LINE))
            pen.text((left, upper + _LINE + _TILE[1]), caption, font=font, fill=_TEXT)
    png = io.BytesIO()
    sheet.save(png, "PNG", compress_level=6)
    return png.getvalue()


def tile(luma: np.ndarray, truth: np.ndarray | None, predicted: np.ndarray | None) -> np.ndarray:
    """A picture (H, W) uint8 with both edges, fitted into its place: RGB. An outline (H, W) bool; None: not known."""
    scale = min(_TILE[0] / luma.shape[1], _TILE[1] / luma.shape[0])
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    picture = cv2.cvtColor(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    for mask, colour in ((truth, _TRUTH), (predicted, _PREDICTED)):
        if mask is not None and mask.shape == luma.shape:
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, lines, -1, colour, 1)
    whole = np.full((_TILE[1], _TILE[0], 3), _BACK, np.uint8)
    whole[: size[1], : size[0]] = picture
    return whole


def _tile(out: Path, picture: Picture, key: Key, dice: float) -> tuple[str, np.ndarray]:
    luma = to_luma(read_picture(picture.path))
    drawn = tile(luma, truth_of(picture, luma.shape), read_outline(out, key, picture))
    return f"{picture.name.removesuffix('.png')}: Dice {100 * dice:.1f}", drawn
