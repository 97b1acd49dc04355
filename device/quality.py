"""Before a frame is judged: is there a picture, and is it of the kind that the model was trained on?"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from device.familiar import Familiar, counts, score

BLANK_SPREAD = 6.0  # standard deviation in grey levels; the least of BUSI's pictures has 27
DARK_LEVEL = 60  # grey level; in BUSI's darkest picture one place in a hundred is brighter than 120
COLOUR_DIFFERENCE = 48  # between the largest and the least channel of a place that counts as coloured
COLOUR_SHARE = 0.03  # of such places; BUSI's coloured marks take 0.008 at most

# Mean size of the Laplacian by the standard deviation of luma, at 224 x 224; BUSI's least sharp picture has 0.150.
BLURRED_EDGES = 0.14

OK, BLANK, DARK, COLOURED = "ok", "blank", "too dark", "in colour"
BLURRED, UNFAMILIAR = "blurred", "unfamiliar"
STEP = 4  # every fourth row and column say enough about colour


@dataclass(frozen=True)
class Quality:
    """state: OK, or why the frame is not judged. unusual: device.familiar.score, None when it was not asked for."""

    state: str
    unusual: float | None = None


def coloured_share(pixels: np.ndarray) -> float:
    """Share 0..1 of the places of (H, W, 3) uint8 pixels, in any order of channels, that are in colour."""
    places = coloured_places(pixels)
    return np.count_nonzero(places) / places.size


def coloured_places(pixels: np.ndarray) -> np.ndarray:
    """(H, W) bool: which of them are."""
    channels = cv2.split(pixels)  # numpy's ptp takes some seventy times as long over so short an axis
    spread = cv2.subtract(cv2.max(cv2.max(*channels[:2]), channels[2]), cv2.min(cv2.min(*channels[:2]), channels[2]))
    return spread > COLOUR_DIFFERENCE


def edges(luma: np.ndarray) -> float:
    """How sharp (H, W) uint8 luma is: the mean size of its Laplacian (4 neighbours) by its standard deviation, which
    gain and contrast do not change. Larger pictures have less: it is of the model's input."""
    changes = cv2.norm(cv2.Laplacian(luma, cv2.CV_16S, ksize=1), cv2.NORM_L1) / luma.size
    return changes / max(_spread(luma), 1e-9)


def _spread(luma: np.ndarray) -> float:
    """The standard deviation, for a fifth of numpy's time."""
    return float(cv2.meanStdDev(luma)[1][0, 0])


def _bright(luma: np.ndarray) -> int:
    """The highest grey level that a hundredth of the pixels, rounded down and at least one, reach or pass."""
    from_above = np.cumsum(counts(luma)[::-1])
    return 255 - int(np.searchsorted(from_above, max(luma.size // 100, 1)))


def least_edges(shape: tuple[int, ...]) -> float:
    """Below it luma of this shape (H, W) is blurred.

    On BUSI's 780 pictures edges fall with the side of the input from 192 to 320 pixels, and by less below (the least
    sharp has 0.191, 0.168, 0.150, 0.135 and 0.110 at 128, 192, 224, 256 and 320).
    """
    return BLURRED_EDGES * min(224 / math.sqrt(shape[0] * shape[1]), 1.25)


def assess(
    luma: np.ndarray, pixels: np.ndarray, known: Familiar | None, coloured: float | np.ndarray | None = None
) -> Quality:
    """The first of these that holds.

    blank: one grey or colour all over, as grabbers paint on loss. too dark. in colour: Doppler, a photograph, a menu.
    unfamiliar: unlike the training pictures; another kind of picture, or an ultrasound picture that is not cropped to
    its region. blurred: by motion. luma: (H, W) uint8, the model's input. pixels: the frame it was made of, (H, W) or
    (H, W, 3) uint8.
    known: of the bundle; None leaves the last two out. coloured: of the frame (device.capture.Frame), where known.
    """
    if _spread(luma) < BLANK_SPREAD:
        return Quality(BLANK)
    if _bright(luma) < DARK_LEVEL:
        return Quality(DARK)
    if coloured is None:
        coloured = coloured_share(pixels[::STEP, ::STEP]) if pixels.shape[2:] == (3,) else 0.0
    if np.mean(coloured) > COLOUR_SHARE:
        return Quality(COLOURED)
    if known is None:
        return Quality(OK)
    unusual = score(luma, known)
    if unusual > known.limit:
        return Quality(UNFAMILIAR, unusual)
    return Quality(OK if edges(luma) >= least_edges(luma.shape) else BLURRED, unusual)
