"""The buffers of one stream -> pictures; how much of them is in colour is looked at as often as somebody asks.

In MJPEG it takes a second decoding: so it is done as often as the judge looks at a picture's quality, and at once when
the screen shows something else, for there the judge looks at once, too. Between, what was seen last stands.
"""

import math
from dataclasses import replace

import numpy as np

from device.capture.pixels import Layout, Picture, coloured_in_jpeg, picture
from device.quality import STEP
from device.scene import SceneLimits, thumbnail

COLOUR_S = 0.2
# Of the whole screen, of which the picture has at least half where it is worth looking at.
NEW = SceneLimits().new / 2


class Decoder:
    """layout, least, full: of `device.capture.pixels.picture`. One stream each: it keeps what was seen before."""

    def __init__(self, layout: Layout, least: tuple[int, int], full: bool = False) -> None:
        self.layout, self._least, self._full = layout, least, full
        self._places: np.ndarray | None = None
        self._looked, self._shown = -math.inf, np.full((1, 1), math.inf)

    def picture(self, data: bytes, at: float) -> Picture:
        """Decode the next buffer, which is of the time `at` (seconds, of any clock that runs on).

        Its places in colour are at most COLOUR_S old, and of a picture that differed by less than NEW grey levels.
        Raises Undecodable.
        """
        found = picture(data, self.layout, self._least, self._full, colour=False)
        if found.places is not None:
            return found
        shown = thumbnail(found.luma[::STEP, ::STEP])
        if not 0 <= at - self._looked < COLOUR_S or np.abs(shown - self._shown).mean() >= NEW:
            self._places = coloured_in_jpeg(data, self.layout)
            self._looked, self._shown = at, shown
        return replace(found, places=self._places)
