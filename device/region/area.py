"""From a map of how much each place moves to the rectangle round what moves, and the writing kept out of it.

All maps are small ones, (h, w), a few pixels of the frame to a pixel; device/region/find.py makes them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_MOVEMENT = 0.7  # grey levels between two looks; JPEG's own flicker after averaging stays below
OVER_NOISE = 2.2  # times the noise of what stands still
MOST_NOISE = 3.0  # grey levels: what moves more is no noise, even where all of the frame does
SURE = 2.0  # times the limit: so much a part of a moving area has to move
SURE_SHARE = 0.05  # that part
EDGE = 0.25  # of the movement a block of JPEG further in has to be there at the edge
FILL = 0.04  # of the fullest column (row) has to be filled by one that counts
STROKE = 7  # pixels: thinner things are writing, ticks and bars; an edge between two grounds is none
STRUCTURE = 10  # grey levels by which they stand out
RIM = 3  # pixels within which the box's edge is not trusted to be free of them
STILL = 0.04  # of its structure a place may move and is furniture yet

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two are the first outside


@dataclass(frozen=True)
class Areas:
    """What moves. mask: of the largest area, holes filled. box: round it. largest, second: sizes in pixels."""

    mask: np.ndarray
    box: Box
    largest: int
    second: int


def moving(movement: np.ndarray) -> Areas | None:
    """The largest area that moves, of a map (h, w) float32 of mean movement in grey levels; None where nothing does.

    The noise is read off the quieter quarter of the map: furniture fills more than that of every machine's screen.
    """
    smooth = cv2.medianBlur(movement.astype(np.float32), 3)
    limit = min(max(LEAST_MOVEMENT, OVER_NOISE * float(np.percentile(movement, 25))), MOST_NOISE)
    weak = (cv2.blur(smooth, (3, 3)) > limit).astype(np.uint8)
    # Opening takes away clocks, figures and a pointer's trail; closing then joins what black parts have torn apart.
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    weak = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=4)
    sure = smooth > SURE * limit
    every = stats[1:count, cv2.CC_STAT_AREA]
    lively = np.bincount(labels[sure], minlength=count)[1:]
    sizes = np.where(lively > SURE_SHARE * every, every, 0).tolist()
    if not any(sizes):
        return None
    order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    # Blocks of JPEG carry some movement over the edge; there it is little against the picture's own beside it.
    beside = cv2.dilate(smooth, np.ones((5, 5), np.uint8))
    dense = ((smooth > np.maximum(limit, EDGE * beside)) & (labels == order[0] + 1)).astype(np.uint8)
    dense = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    dense = cv2.morphologyEx(dense, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    mask = _hull(dense)
    box = _box(mask)
    if box is None:
        return None
    return Areas(mask, box, sizes[order[0]], sizes[order[1]] if len(order) > 1 else 0)


def keep_out(areas: Areas, movement: np.ndarray, luma: np.ndarray) -> tuple[Box, int]:
    """The box made smaller until no furniture is in it, and how many pixels of the area were lost by that.

    movement: as for `moving`. luma: (h, w) float32 mean grey levels. Furniture is what stands still, has structure and
    lies outside the moving area, its dents apart, or in the
    box's rim. Each piece goes by the cut that costs least of the area.
    """
    mask, box = areas.mask, areas.box
    stroke = np.ones((STROKE, STROKE), np.uint8)
    thin = np.maximum(*(cv2.morphologyEx(luma, how, stroke) for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)))
    inner = np.zeros(mask.shape, np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.fillConvexPoly(inner, cv2.convexHull(np.vstack(outline)), 1)
    inner = cv2.dilate(inner, np.ones((3, 3), np.uint8)) > 0
    left, top, right, bottom = box
    rim = np.ones(mask.shape, bool)
    rim[top + RIM : bottom - RIM, left + RIM : right - RIM] = False
    pieces = ((thin > STRUCTURE) & (cv2.blur(movement, (3, 3)) < STILL * thin) & (rim | ~inner)).astype(np.uint8)
    lost = 0
    while pieces[top:bottom, left:right].any():
        _, _, stats, _ = cv2.connectedComponentsWithStats(pieces[top:bottom, left:right])
        x, y, width, height = (int(value) for value in stats[1][:4])
        cuts = (
            (left + x + width, top, right, bottom),
            (left, top + y + height, right, bottom),
            (left, top, left + x, bottom),
            (left, top, right, top + y),
        )
        before = np.count_nonzero(mask[top:bottom, left:right])
        after = [np.count_nonzero(mask[t:b, a:c]) for a, t, c, b in cuts]
        best = int(np.argmax(after))
        lost += before - after[best]
        left, top, right, bottom = cuts[best]
        if before == 0:
            break
    return (left, top, right, bottom), lost


def _hull(mask: np.ndarray) -> np.ndarray:
    """The area with all that lies between its own pixels both in the row and in the column."""
    return _between(mask) & _between(mask.T).T | mask


def _between(mask: np.ndarray) -> np.ndarray:
    seen = np.maximum.accumulate(mask, axis=1)
    return seen & np.maximum.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def _box(mask: np.ndarray) -> Box | None:
    """Round the area, without rows and columns that hold little of it."""
    ends = []
    for axis in (0, 1):
        filled = mask.sum(axis=axis)
        if not filled.any():
            return None
        full = np.flatnonzero(filled >= max(1.0, FILL * float(filled.max())))
        ends.append((int(full[0]), int(full[-1]) + 1))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
