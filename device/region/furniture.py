"""Is it still the same layout? What the screen round the picture is like, so coarsely that none of it can be read.

One bit per cell of a grid (brighter than the screen's ground or not) and two per piece of the strips beside the
region. A cell is about 40 x 40 pixels of a 1280 x 720 screen, twice the height of a line of writing, so a name leaves
no more than "something stands here".
"""

import cv2
import numpy as np

from device.region.region import Region

COLUMNS, ROWS = 32, 18  # cells of the grid
PIECES = 8  # of each side's strip
STRIP = 0.02  # of the frame's height: how wide the strip is
AWAY = 0.025  # of the frame's height, from the region to the strip: a found region ends a little inside the picture
BRIGHT = 12  # grey levels above the screen's darkest quarter: a menu, a bar, much writing
LEVELS = (10, 32, 80)  # grey levels above it that part a piece of the strip into four grades
CELLS_APART = 0.12  # of the cells may differ: the patient's line and figures change
ALIKE = 0.4  # of the cells that are bright now or were before have to be so both times
PIECES_APART = 0.25  # of the strip's pieces may differ by a grade or more
LENGTH = (COLUMNS * ROWS + 2 * 4 * PIECES) // 4  # hexadecimal digits of a signature


def signature(luma: np.ndarray, region: Region) -> str:
    """LENGTH hexadecimal digits for a full frame (frame_height, frame_width) uint8 luma. Raises ValueError for another
    size."""
    cells, pieces = _measure(luma, region)
    bits = np.concatenate([cells.ravel(), *((pieces >> bit & 1).astype(bool) for bit in (0, 1))])
    return np.packbits(bits).tobytes().hex()


def changed(luma: np.ndarray, region: Region, known: str) -> str | None:
    """What has changed round the region since `known` was its signature, in words; None while it is the same layout.

    Raises ValueError as `signature` does, and for a text that is no signature.
    """
    if len(known) != LENGTH:
        raise ValueError(f"a signature has {LENGTH} hexadecimal digits.")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(known), np.uint8)).astype(bool)
    count = COLUMNS * ROWS
    before = bits[count : count + 4 * PIECES].astype(int) + 2 * bits[count + 4 * PIECES :].astype(int)
    cells, pieces = _measure(luma, region)
    outside = _outside(region)
    now, then = cells[outside], bits[:count].reshape(cells.shape)[outside]
    if now.size and ((now != then).mean() > CELLS_APART or (now & then).sum() < ALIKE * (now | then).sum()):
        return "the screen round the picture looks different"
    if (pieces != before).mean() > PIECES_APART:
        return "the screen right beside the picture looks different: it may have become larger or moved"
    return None


def _measure(luma: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """(ROWS, COLUMNS) bool of the cells, False within the region, and (4 * PIECES,) grades 0..3 of the strip."""
    if luma.shape != (region.frame_height, region.frame_width):
        raise ValueError(f"a frame of {luma.shape[1]}x{luma.shape[0]} is not one of the region's ({region}).")
    outside = np.ones(luma.shape, bool)
    outside[region.y : region.bottom, region.x : region.right] = False
    blank = np.where(outside, luma, 0)  # the picture itself must not be kept, however coarsely
    ground = float(np.percentile(luma[outside][::16], 25)) if outside.any() else 0.0
    cells = cv2.resize(blank, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA) > ground + BRIGHT
    wide = max(2, round(STRIP * region.frame_height))
    away = round(AWAY * region.frame_height)
    top, left = max(0, region.y - away - wide), max(0, region.x - away - wide)
    bottom, right = region.bottom + away, region.right + away
    strips = (
        luma[top : top + wide, region.x : region.right],
        luma[bottom : bottom + wide, region.x : region.right],
        luma[region.y : region.bottom, left : left + wide].T,
        luma[region.y : region.bottom, right : right + wide].T,
    )
    means = np.concatenate([_pieces(strip) for strip in strips])
    return cells & _outside(region), np.digitize(means - ground, LEVELS)


def _pieces(strip: np.ndarray) -> np.ndarray:
    """(PIECES,) means along a strip; zeros where the region ends at the frame's own edge."""
    if not strip.size:
        return np.zeros(PIECES)
    return cv2.resize(strip, (PIECES, 1), interpolation=cv2.INTER_AREA)[0].astype(float)


def _outside(region: Region) -> np.ndarray:
    """(ROWS, COLUMNS) bool: cells that lie wholly outside the region."""
    x = np.arange(COLUMNS + 1) * region.frame_width / COLUMNS
    y = np.arange(ROWS + 1) * region.frame_height / ROWS
    within_x = (x[1:] > region.x) & (x[:-1] < region.right)
    within_y = (y[1:] > region.y) & (y[:-1] < region.bottom)
    return ~(within_y[:, None] & within_x[None])
