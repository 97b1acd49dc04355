"""A proposal of one frame, where nothing moves: speckle is fine and dense, furniture is flat with lines of writing.

Movement tells more (device/region/find.py). Writing beside the picture cannot be told from it here, so a proposal is
for a person to look at and confirm, never to be taken as it is.
"""

import cv2
import numpy as np

from device.region import area
from device.region.find import LEAST_AREA, RIVAL, WORK_WIDTH, Finding, in_frame, unknown

CLIP = 12  # grey levels between neighbours: writing must not outweigh speckle
TEXTURE = 0.8  # of area.LEAST_MOVEMENT: what counts as one


def propose(luma: np.ndarray) -> Finding:
    """What one frame, (H, W) uint8 luma of the whole screen, looks like: a proposal or unknown."""
    height, width = luma.shape
    step = max(1, round(width / WORK_WIDTH))
    size = max(1, width // step), max(1, height // step)
    across, down = cv2.absdiff(luma[:-1, 1:], luma[:-1, :-1]), cv2.absdiff(luma[1:, :-1], luma[:-1, :-1])
    fine = np.minimum(cv2.add(across, down), CLIP).astype(np.float32)
    texture = cv2.resize(fine[: size[1] * step, : size[0] * step], size, interpolation=cv2.INTER_AREA)
    # The median of a neighbourhood: dense texture stays, lines of writing with the flat ground between them go.
    texture = cv2.medianBlur(cv2.medianBlur(texture, 5), 5)
    found = area.moving(texture * TEXTURE)
    if found is None or found.largest < LEAST_AREA * texture.size:
        return unknown("no large area of this frame has the texture of an ultrasound picture; set it by hand")
    if found.second > RIVAL * found.largest:
        return unknown("two large areas of this frame look like a picture; set it by hand")
    region = in_frame(found.box, step, width, height)
    if region is None:
        return unknown("what looks like a picture is too small for one; set it by hand")
    left, top, right, bottom = found.box
    fill = np.count_nonzero(found.mask) / ((right - left) * (bottom - top))
    return Finding("proposal", region, round(fill, 3), "by the texture of one frame: look at it before you confirm it")
