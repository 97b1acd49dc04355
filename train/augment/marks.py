"""Burned-in calipers and words, on pictures of every class alike.

In BUSI calipers are drawn on 22 % of the benign pictures, 13 % of the malignant and none of the normal ones: a network
can read the class from them (K. Mikolaj et al., "Removing confounding information from fetal ultrasound images",
arXiv:2303.13918, found the same with standard planes). Marks that anyone may carry say less. So how many there are and
how they look is drawn before a mask is looked at, from numbers that depend neither on it nor on the class; a lesion
only moves the ends of half the measurements onto its outline.
"""

import math
import string
from dataclasses import dataclass

import cv2
import numpy as np

_FINE = 2  # marks are drawn on a grid so much finer, as on the machine's own screen, then averaged
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX_SMALL)
_UPPER, _LOWER = string.ascii_uppercase + string.digits + " ", string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Calipers:
    """One or two measured distances. ends: (n, 2, 2) float, the two ends x, y of each in pixels. arm: half a mark's
    width in pixels. slanted: x instead of +. dotted: joined by dots. numbered: 1 and 2 beside the first ends."""

    ends: np.ndarray
    arm: float
    slanted: bool
    dotted: bool
    numbered: bool


def calipers(shape: tuple[int, int], mask: np.ndarray | None, rng: np.random.Generator) -> Calipers:
    """Draw the measurements for a picture of `shape`. mask: (H, W) bool; None and an empty one are the same.

    With a lesion, half of the pictures are measured across it, from outline to outline through its centroid. Otherwise
    across an ellipse that is not there, as large as BUSI's lesions and where those lie.
    """
    height, width = shape
    count = 1 + int(rng.random() < 0.65)
    style = rng.random(4)
    arm = max(2.0, rng.uniform(0.010, 0.020) * min(height, width))
    on_lesion = rng.random() < 0.5
    middle = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.15, 0.55) * height])
    half_x = math.exp(rng.uniform(math.log(0.05), math.log(0.40)))
    half_y = min(half_x * rng.uniform(0.4, 1.1), 0.30)
    first, second = rng.uniform(-0.35, 0.35), rng.uniform(-0.15, 0.15)
    outline = mask if on_lesion and mask is not None and mask.any() else None
    if outline is not None:
        moments = cv2.moments(outline.view(np.uint8), True)
        middle = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    ends = []
    for angle in (first, first + second + math.pi / 2)[:count]:
        way = np.array([math.cos(angle), math.sin(angle)])
        if outline is None:
            lengths = [float(np.hypot(*(way * (half_x * width, half_y * height))))] * 2
        else:
            lengths = [_reach(outline, middle, way), _reach(outline, middle, -way)]
        there, back = (max(length, 1.5 * arm) for length in lengths)
        ends.append([middle + there * way, middle - back * way])
    room = np.maximum((width - 1 - arm, height - 1 - arm), arm)
    slanted, dotted, numbered = (style[:3] < (0.25, 0.6, 0.4)).tolist()
    return Calipers(np.clip(ends, arm, room), arm, slanted, dotted, numbered)


def _reach(mask: np.ndarray, start: np.ndarray, way: np.ndarray) -> float:
    """Pixels from `start` to the last place of the mask in direction `way`; 0 when there is none."""
    steps = np.arange(math.ceil(math.hypot(*mask.shape)))
    x, y = np.rint(start[:, None] + way[:, None] * steps).astype(np.intp)
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    hit = np.flatnonzero(mask[y[inside], x[inside]])
    return float(hit[-1]) if len(hit) else 0.0


def with_calipers(luma: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8 with `calipers` burned in, bright or greyish. mask: (H, W) bool or None."""
    made = calipers(luma.shape, mask, rng)
    layer = np.zeros((_FINE * luma.shape[0], _FINE * luma.shape[1]), np.uint8)
    arm, thick = _FINE * made.arm, 1 + int(rng.random() < 0.6)
    straight = ((1.0, 0.0), (0.0, 1.0))
    ways = arm * np.array(((0.8, 0.8), (0.8, -0.8)) if made.slanted else straight)
    for number, ends in enumerate(_FINE * made.ends, 1):
        for end in ends:
            for way in ways:
                cv2.line(layer, _point(end - way), _point(end + way), 255, thick, cv2.LINE_AA)
        if made.dotted:
            count = max(2, int(np.hypot(*(ends[1] - ends[0])) / (2.2 * _FINE)))
            dots = ends[0] + np.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
            for x, y in np.rint(dots).astype(int).tolist():
                layer[y : y + 2, x : x + 2] = 255
        if made.numbered:
            beside = _point(ends[0] + (-2.5 * arm, -0.8 * arm))
            cv2.putText(layer, str(number), beside, cv2.FONT_HERSHEY_SIMPLEX, 0.09 * arm, 255, thick, cv2.LINE_AA)
    return _burned(luma, layer, 255 - 105 * rng.random() ** 2, False)


def with_text(luma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8 with one to three short words burned in, mostly near a border, sometimes cut off by it."""
    height, width = luma.shape
    layer = np.zeros((_FINE * height, _FINE * width), np.uint8)
    font, thick = _FONTS[rng.integers(len(_FONTS))], 1 + int(rng.random() < 0.4)
    capital = _FINE * rng.uniform(0.028, 0.050) * height
    scale = capital / cv2.getTextSize("H", font, 1.0, thick)[0][1]
    letters = _LOWER if rng.random() < 0.2 else _UPPER
    for _ in range(1 + int(rng.choice(3, p=(0.6, 0.3, 0.1)))):
        word = "".join(letters[k] for k in rng.integers(len(letters), size=rng.integers(2, 10)))
        (wide, tall), _ = cv2.getTextSize(word, font, scale, thick)
        place = rng.random(2)
        if rng.random() < 0.85:
            axis, far = int(rng.random() < 0.6), rng.random() < 0.6
            place[axis] = 1 - 0.1 * place[axis] if far else 0.1 * place[axis]
        left = place[0] * (_FINE * width - 0.7 * wide) - 0.15 * wide
        base = place[1] * (_FINE * height - tall) + tall
        cv2.putText(layer, word, _point((left, base)), font, scale, 255, thick, cv2.LINE_AA)
    return _burned(luma, layer, 255 - 105 * rng.random() ** 2, rng.random() < 0.25)


def _point(place) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


def _burned(luma: np.ndarray, layer: np.ndarray, level: float, rim: bool) -> np.ndarray:
    """Lay `layer`, (2 H, 2 W) uint8 coverage, over the picture at that level; rim: dark around it, as machines draw
    words to keep them legible on bright tissue.
    """
    x, y, wide, tall = cv2.boundingRect(layer)
    if not wide:
        return luma
    top, left, bottom, right = max(0, y // 2 - 2), max(0, x // 2 - 2), (y + tall) // 2 + 3, (x + wide) // 2 + 3
    box = np.s_[top:bottom, left:right]
    luma = luma.copy()
    part = luma[box].astype(np.float32)
    layer = layer[_FINE * top : _FINE * bottom, _FINE * left : _FINE * right]
    if rim:
        part *= 1 - np.float32(0.8) * _coverage(cv2.dilate(layer, np.ones((3, 3), np.uint8)))
    part += (np.float32(level) - part) * _coverage(layer)
    luma[box] = np.rint(part)
    return luma


def _coverage(layer: np.ndarray) -> np.ndarray:
    size = (layer.shape[1] // _FINE, layer.shape[0] // _FINE)
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
