"""A region of a frame: the rectangle that holds the ultrasound picture, and the only part that is looked at further.

A cut is always made inward: where the frame was decoded smaller than its source sends it, a pixel that shows anything
of what lies outside is left out, so that writing right beside the picture never comes along.
"""

import re
from dataclasses import dataclass

import numpy as np

from device.errors import UserError

MIN_SIDE = 32  # pixels; device.familiar takes nothing smaller
MAX_SIDE = 16384
ASPECT_SLACK = 0.02  # by which the two sides of a frame may be scaled apart: decoders round sizes up
_TEXT = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})@(\d{1,5})x(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Region:
    """x, y: the upper left pixel; width, height: how many pixels. All in the full frame as its source sends it, which
    has frame_width x frame_height. Raises ValueError when it is no whole part of that frame of MIN_SIDE a side."""

    x: int
    y: int
    width: int
    height: int
    frame_width: int
    frame_height: int

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.width, self.height, self.frame_width, self.frame_height)
        if any(type(value) is not int for value in values):
            raise ValueError("a region is made of six whole numbers of pixels.")
        if max(self.frame_width, self.frame_height) > MAX_SIDE:
            raise ValueError(
                f"the frame {self.frame_width}x{self.frame_height} is larger than {MAX_SIDE} pixels a side."
            )
        if min(self.width, self.height) < MIN_SIDE:
            raise ValueError(f"the region {self.width}x{self.height} is smaller than {MIN_SIDE} pixels a side.")
        if (
            min(self.x, self.y) < 0
            or self.x + self.width > self.frame_width
            or self.y + self.height > self.frame_height
        ):
            raise ValueError(
                f"the region {self.width}x{self.height}+{self.x}+{self.y} does not lie within its frame of "
                f"{self.frame_width}x{self.frame_height}."
            )

    def __str__(self) -> str:
        """WIDTHxHEIGHT+X+Y@FRAMEWIDTHxFRAMEHEIGHT, as `parse` reads it."""
        return f"{self.width}x{self.height}+{self.x}+{self.y}@{self.frame_width}x{self.frame_height}"

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height


def parse(text: str) -> Region:
    """A region of its text, `640x480+320+90@1280x720` (as X11 writes geometry, then the frame's size).

    Raises UserError when the text has another form or the region does not fit its frame.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{text!r} is no region; write WIDTHxHEIGHT+X+Y@FRAMEWIDTHxFRAMEHEIGHT, such as 640x480+320+90@1280x720."
        )
    width, height, x, y, frame_width, frame_height = (int(group) for group in match.groups())
    try:
        return Region(x, y, width, height, frame_width, frame_height)
    except ValueError as error:
        raise UserError(f"{text!r}: {error} Correct it.") from None


def scaled(region: Region, width: int, height: int) -> Region:
    """The region in the same frame decoded at width x height pixels, the full size or smaller, rounded inward.

    MJPEG decoded at 1/k has ceil(side / k) pixels, of which number i shows pixels i k to i k + k - 1; a resized frame
    has i side / size onward. The region keeps only what is inside by both, and in a smaller frame one pixel less at
    each edge that is not the frame's own, because filters look a pixel further. Raises ValueError when the size is
    another shape than the frame's, larger, or so small that less than MIN_SIDE pixels a side are left.
    """
    if (width, height) == (region.frame_width, region.frame_height):
        return region
    if not (0 < width <= region.frame_width and 0 < height <= region.frame_height) or not _same_shape(
        (width, height), (region.frame_width, region.frame_height)
    ):
        raise ValueError(
            f"a frame of {width}x{height} is not one of {region.frame_width}x{region.frame_height} decoded smaller; "
            "find or set the region for that size."
        )
    left, right = _inward(region.x, region.right, region.frame_width, width)
    top, bottom = _inward(region.y, region.bottom, region.frame_height, height)
    return Region(left, top, right - left, bottom - top, width, height)


def crop(region: Region, pixels: np.ndarray) -> np.ndarray:
    """The region's part of a frame, (H, W) or (H, W, channels): a copy, so that nothing else of the frame goes along.

    The frame may have been decoded smaller than the region's (see `scaled`, also for the ValueError).
    """
    part = scaled(region, pixels.shape[1], pixels.shape[0])
    return pixels[part.y : part.bottom, part.x : part.right].copy()


def overlap(one: Region, other: Region) -> float:
    """Intersection over union of two regions of frames of one size, 0..1. Raises ValueError for different sizes."""
    if (one.frame_width, one.frame_height) != (other.frame_width, other.frame_height):
        raise ValueError("regions of frames of different sizes cannot be compared.")
    across = max(0, min(one.right, other.right) - max(one.x, other.x))
    down = max(0, min(one.bottom, other.bottom) - max(one.y, other.y))
    both = across * down
    return both / (one.width * one.height + other.width * other.height - both)


def _same_shape(size: tuple[int, int], full: tuple[int, int]) -> bool:
    # one pixel of rounding up is much in a small frame
    slack = max(ASPECT_SLACK, 1 / min(size))
    return abs(size[0] * full[1] / (size[1] * full[0]) - 1) <= slack


def _inward(low: int, high: int, full: int, size: int) -> tuple[int, int]:
    """The pixels of `size` that show nothing but pixels low to high - 1 of `full`."""
    factor = -(-full // size)
    first, last = -(-low * size // full), high * size // full
    if -(-full // factor) == size:
        first, last = max(first, -(-low // factor)), min(last, size if high == full else high // factor)
    return first + (low > 0), last - (high < full)
