"""The mask that a model gives of a frame, as a few polygons that can be drawn over its picture."""

import cv2
import numpy as np

from device.bundle_parts import MaskOutput
from device.preprocess import Preprocess, pictured, restored

PIECES = 4  # the largest ones: more are specks, and what goes to the page must have a bound
# Of the largest piece's area: what is smaller is no second lesion but a speck. Half of BUSI's pictures have one.
SPECK = 0.1
POINTS = 64  # of one piece
_NEAR = 0.75  # pixels of the model's input that a simplified line may be off at first
_COARSER = 1.5

Point = tuple[float, float]  # (x, y) in shares 0..1 of the picture's width and height, from its upper left corner
Polygon = tuple[Point, ...]
Outline = tuple[Polygon, ...]  # () where nothing is outlined

_CORNERS = np.ones((2, 2), np.uint8)


def lesion(stored: np.ndarray, cut: float, shape: tuple[int, int], preprocess: Preprocess) -> np.ndarray:
    """A mask as the file stores it (h, w) -> (H, W) bool on the picture's grid: which pixels belong to a lesion.

    The numbers are enlarged bilinearly and then cut, which gives what enlarged logits would. cut: MaskOutput.cut, or 0
    for logits and a threshold of 0.5.
    """
    return restored(np.asarray(stored, np.float32), shape, preprocess) > cut


def outline(stored: np.ndarray, mask: MaskOutput, shape: tuple[int, int], preprocess: Preprocess) -> Outline:
    """A mask as the file stores it (h, w) -> the largest PIECES of it, the largest first, specks left out, of at most
    POINTS each.

    shape: the picture's (H, W). Lines run along the outer edges of pixels of the model's input, on which the mask is
    enlarged: nothing finer is known, and a frame of two megapixels costs no more than a small one. Holes are filled.
    """
    if not (stored > mask.cut).any():  # bilinear enlargement never exceeds what it enlarges
        return ()
    inside = pictured(shape, preprocess)
    return traced(lesion(stored, mask.cut, inside, preprocess))


def plain(found: Outline) -> list[list[list[float]]]:
    """As JSON has it, to a ten-thousandth of the picture, which is less than a pixel of what is shown."""
    return [[[round(x, 4), round(y, 4)] for x, y in polygon] for polygon in found]


def traced(pixels: np.ndarray) -> Outline:
    """(h, w) bool -> polygons around its pieces, as `outline` says."""
    height, width = pixels.shape
    # On the grid of the pixels' corners, so that a line runs round the pixels and not through them: OpenCV's contours
    # join centres, which takes half a pixel off every side and leaves a piece of one pixel without any area. Pieces
    # that a single pixel parts become one.
    corners = np.zeros((height + 1, width + 1), np.uint8)
    corners[:height, :width] = pixels
    corners = cv2.dilate(corners, _CORNERS, anchor=(1, 1), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    found, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = sorted(found, key=cv2.contourArea, reverse=True)[:PIECES]
    areas = [cv2.contourArea(one) for one in largest]
    largest = [one for one, area in zip(largest, areas) if area >= SPECK * areas[0]]
    size = np.array((width, height), np.float64)
    return tuple(tuple((float(x), float(y)) for x, y in _simple(one) / size) for one in largest)


def _simple(line: np.ndarray) -> np.ndarray:
    """(n, 2) points of a closed line near `line` (m, 1, 2), at most POINTS of them."""
    near = _NEAR
    simple = cv2.approxPolyDP(line, near, True)
    while len(simple) > POINTS:
        near *= _COARSER
        simple = cv2.approxPolyDP(line, near, True)
    if len(simple) > 2:
        return simple[:, 0].astype(np.float64)
    left, top, across, down = cv2.boundingRect(line)  # of so small a piece this is all
    right, bottom = left + across - 1, top + down - 1
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
