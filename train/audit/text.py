"""Burned-in text: found cheaply, read by OCR (RapidOCR with PP-OCRv4 models, which come in its wheel)."""

import re
from functools import lru_cache

import cv2
import numpy as np

MIN_SCORE = 0.6  # of the recogniser, per line
SIDE = 448  # pixels of the shorter side that the text detector sees


@lru_cache(maxsize=1)
def _reader():
    """The OCR engine, one per process, on one thread: the audit runs a process per core."""
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, use_cls=False, det_limit_side_len=SIDE)


def may_have_text(pixels: np.ndarray) -> bool:
    """Whether two shapes that could be letters stand side by side on one line; a wide net, it only saves reading.

    Burned-in letters are thin bright strokes with hard edges, 6 to 40 pixels high. Three thresholds are tried: letters
    that touch bright tissue part from it at one or the other.
    """
    picture = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    strokes = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((9, 9), np.uint8))
    return any(_in_line(mask) for mask in (strokes > 60, strokes > 80, (strokes > 60) & (picture >= 190)))


def _in_line(mask: np.ndarray) -> bool:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T.astype(int)
    fits = (height >= 6) & (height <= 40) & (width >= 2) & (width <= 60) & (area >= 8)
    x, width, height, foot = x[fits], width[fits], height[fits], (y + height)[fits]
    for n in range(len(x)):
        gap = x - (x[n] + width[n])
        beside = (gap >= -1) & (gap <= 1.5 * height[n])
        if (beside & (np.abs(foot - foot[n]) <= 2) & (np.abs(height - height[n]) <= 2)).any():
            return True
    return False


def read_lines(pixels: np.ndarray) -> tuple[str, ...]:
    """The lines of text in a uint8 picture, (H, W) or (H, W, 3) BGR, from top to bottom; () when there are none."""
    if not may_have_text(pixels):
        return ()
    found, _ = _reader()(pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), use_cls=False)
    return tuple(text.strip() for _, text, score in found or () if float(score) >= MIN_SCORE and is_text(text))


def is_text(line: str) -> bool:
    """Whether a line carries a label: two letters or digits that are not only digits (calipers are numbered)."""
    letters = re.sub(r"[^A-Za-z0-9]", "", line)
    return len(letters) >= 2 and not letters.isdecimal()


def says_axilla(line: str) -> bool:
    """Whether a line names the axilla: `RT AXILLA`, `rt axilla`, a cut `T AX`, `LT AXIL`.

    Not the breast's axillary tail (`AX TAIL`). One misread letter is forgiven in the whole word.
    """
    text = re.sub(r"[^A-Z]", " ", line.upper().replace("1", "I"))
    if "TAI" in text:
        return False
    if re.search(r"(^|\s)([RLI]?TB?|[RLI])?\s*AX(I|IL|ILL|ILLA\w*)?(\s|$)", text):
        return True
    joined = text.replace(" ", "")
    return any(_differing(joined[start : start + 6], "AXILLA") <= 1 for start in range(max(1, len(joined) - 5)))


def _differing(found: str, word: str) -> int:
    """Number of letters that differ; a `found` of another length differs wholly."""
    return sum(a != b for a, b in zip(found, word)) if len(found) == len(word) else len(word)
