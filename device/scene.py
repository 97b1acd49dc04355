"""Is it still the same picture? How much a frame differs from the one before, and what follows from that."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

SIDE = 16  # of the thumbnails that are compared: small enough that speckle and a grabber's noise average out

Scene = Literal["new", "moving", "still"]


@dataclass(frozen=True)
class SceneLimits:
    """Mean absolute difference of two thumbnails, in grey levels 0..255.

    new: from here on the frame shows something else (another lesion, another view, a menu), and what was seen before
    says nothing about it. still: up to here it is the same picture, noise apart; one that stays so for `still_s`
    seconds was frozen by the person at the machine. (Pictures of BUSI differ by 21 at least, one moved sideways by 40
    pixels from itself by 9 to 15, noise of 10 grey levels makes less than 0.5: tests/device/test_scene.py.)
    """

    new: float = 16.0
    still: float = 0.5
    still_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.still < self.new <= 255 or self.still_s < 0:
            raise ValueError("a scene needs 0 <= still < new <= 255 grey levels, and still_s of 0 seconds or more.")


def thumbnail(luma: np.ndarray) -> np.ndarray:
    """(H, W) uint8 luma -> (SIDE, SIDE) float32 means of its areas, 0..255."""
    return cv2.resize(luma.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Change:
    """difference: of a frame to the one before, None for the first. drift: to the frame since which the picture counts
    as the same, 0 when that is this one. Mean absolute differences of thumbnails, grey levels 0..255."""

    difference: float | None
    drift: float


class Watch:
    """Compares each frame with the one before, and with the first of those that have shown the same since: a slow
    movement differs little from frame to frame, but adds up."""

    def __init__(self, limits: SceneLimits) -> None:
        self._still = limits.still
        self._last: np.ndarray | None = None
        self._same: np.ndarray | None = None

    def see(self, luma: np.ndarray) -> Change:
        """How much the next frame, (H, W) uint8 luma, has changed."""
        small, before = thumbnail(luma), self._last
        self._last = small
        drift = math.inf if self._same is None else float(np.abs(small - self._same).mean())
        if drift > self._still:
            self._same, drift = small, 0.0
        return Change(None if before is None else float(np.abs(small - before).mean()), drift)
