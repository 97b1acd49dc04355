"""Finding the region of interest: what moves on the screen is the ultrasound picture, what stands still is furniture.

Each look compares a frame, averaged down to WORK_WIDTH pixels, with the one of the look before. Two running halves of
the movement seen must lead to the same rectangle, or nothing is said. A frozen picture is never guessed at here;
`device.region.still` makes a proposal of one frame alone, which is for a person to confirm.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from device.region import area
from device.region.region import MIN_SIDE, Region, overlap

WORK_WIDTH = 400  # pixels at least; a whole number of the frame's go into one
EVERY_S = 0.18  # between two looks: speckle has changed by then, and a Pi has other work
TURN = 5  # looks, after which the other half is added to
LEAST = 10  # looks in each half before anything is said
MEMORY = 60  # looks in both halves, at which all that was seen before begins to count half
CLIP = 8.0  # grey levels that one look can count: a menu that opens once must not outweigh a picture that moves
INWARD = 2  # pixels of a map: what lies on the edge may show both sides of it, and a comma of the writing above
LEAST_AREA = 0.06  # of the frame; a thumbnail is smaller
MOST_EDGES = 3  # of the frame's; what reaches so many fills it, and nothing says what is furniture
RIVAL = 0.35  # of the largest area; so large a second one may be the picture as well
LEAST_FILL = 0.45  # of its rectangle is filled by a sector, by a rectangle nearly all
MOST_LOST = 0.25  # of the moving area may be cut off to keep writing out
LEAST_AGREEMENT = 0.85  # of the two halves, as intersection over union

Kind = Literal["found", "proposal", "unknown"]


@dataclass(frozen=True)
class Finding:
    """kind: found by movement; proposal: of one frame, to be confirmed by a person; unknown: region is None.
    confidence: 0..1, how well two halves of what was seen agree (a proposal: how full its rectangle is); None where
    unknown. reason: in words."""

    kind: Kind
    region: Region | None
    confidence: float | None
    reason: str


def unknown(reason: str) -> Finding:
    """A finding that says why there is none."""
    return Finding("unknown", None, None, reason)


class Finder:
    """Gathers movement of frames of one source of frame_width x frame_height pixels. Memory: five maps of about
    WORK_WIDTH columns, whatever comes."""

    def __init__(self, frame_width: int, frame_height: int) -> None:
        self.frame_width, self.frame_height = frame_width, frame_height
        self.step = max(1, round(frame_width / WORK_WIDTH))
        self._size = max(1, frame_width // self.step), max(1, frame_height // self.step)
        self._last: np.ndarray | None = None
        self._looked = 0.0
        self._forget()

    def _forget(self) -> None:
        shape = self._size[::-1]
        self._halves = [np.zeros(shape, np.float32) for _ in range(2)]
        self._luma = np.zeros(shape, np.float32)
        self._counts = [0, 0]
        self._turn = 0

    def due(self, captured: float) -> bool:
        """Whether a frame of `captured` (time.monotonic()) is to be looked at: EVERY_S seconds behind the last one."""
        return self._last is None or not 0 <= captured - self._looked < EVERY_S

    def feed(self, luma: np.ndarray, captured: float) -> bool:
        """Look at a frame, (H, W) uint8 luma of the whole screen, if it is due; True when it was looked at. The frame
        may have been decoded smaller."""
        if not self.due(captured):
            return False
        self._looked = captured
        width, height = self._size
        if luma.shape == (self.frame_height, self.frame_width):
            luma = luma[: height * self.step, : width * self.step]  # whole steps: averaging is fast then
        small = cv2.resize(luma, self._size, interpolation=cv2.INTER_AREA)
        if self._last is not None:
            self._add(small)
        self._last = small
        return True

    def _add(self, small: np.ndarray) -> None:
        half = self._turn // TURN % 2
        self._turn += 1
        self._halves[half] += np.minimum(cv2.absdiff(small, self._last).astype(np.float32), CLIP)
        self._counts[half] += 1
        cv2.accumulateWeighted(small, self._luma, 1 / self.looks)
        if self.looks >= MEMORY:
            for moved in self._halves:
                moved *= 0.5
            self._counts = [count // 2 for count in self._counts]

    @property
    def looks(self) -> int:
        """Comparisons that the next finding rests on."""
        return sum(self._counts)

    def finding(self) -> Finding:
        """What can be said now. Costs some ten milliseconds; the same frames give the same finding."""
        if min(self._counts) < LEAST:
            return unknown(f"too little was seen yet ({self.looks} of {2 * LEAST} looks)")
        movement = (self._halves[0] + self._halves[1]) / self.looks
        found = area.moving(movement)
        whole = movement.size
        if found is None or found.largest < LEAST_AREA * whole:
            return unknown("nothing large moves: a frozen picture, or no picture; move the probe, or set it by hand")
        left, top, right, bottom = found.box
        edges = (left <= 1) + (top <= 1) + (right >= self._size[0] - 1) + (bottom >= self._size[1] - 1)
        if edges >= MOST_EDGES:
            return unknown("the whole frame moves, so nothing tells the picture from what is round it; set it by hand")
        if found.second > RIVAL * found.largest:
            return unknown("two large areas move, and nothing says which is the picture; set it by hand")
        if found.largest < LEAST_FILL * (right - left) * (bottom - top):
            return unknown("what moves is neither a rectangle nor a sector; set it by hand")
        box, lost = area.keep_out(found, movement, self._luma)
        if lost > MOST_LOST * np.count_nonzero(found.mask):
            return unknown("writing stands so close to the picture that no rectangle leaves it out; set it by hand")
        region = self._region(box)
        if region is None:
            return unknown("what moves is too small for a picture; set it by hand")
        halves = [self._of_half(part, count) for part, count in zip(self._halves, self._counts)]
        if None in halves:
            return unknown("only for a part of the time did anything large move; go on moving the probe")
        agreement = min(overlap(*halves), *(overlap(region, half) for half in halves))
        if agreement < LEAST_AGREEMENT:
            return unknown("what moves has not kept its place; go on moving the probe, or set it by hand")
        return Finding("found", region, round(agreement, 3), f"what moved in {self.looks} looks")

    def _of_half(self, moved: np.ndarray, count: int) -> Region | None:
        found = area.moving(moved / count)
        return None if found is None else self._region(area.keep_out(found, moved / count, self._luma)[0])

    def _region(self, box: area.Box) -> Region | None:
        return in_frame(box, self.step, self.frame_width, self.frame_height)


def in_frame(box: area.Box, step: int, frame_width: int, frame_height: int) -> Region | None:
    """A box of a map in the full frame, INWARD small pixels further in at each side; None when that is too small."""
    left, top = ((at + INWARD) * step for at in box[:2])
    right, bottom = ((at - INWARD) * step for at in box[2:])
    if min(right - left, bottom - top) < MIN_SIDE:
        return None
    return Region(left, top, right - left, bottom - top, frame_width, frame_height)
