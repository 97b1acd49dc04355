"""The self-test source: a moving synthetic phantom, always marked as such. It shows nobody."""

import time

from device.capture import Frame, NoData
from device.capture.pace import Pace, checked_fps
from device.phantom_clip import PhantomClip


class PhantomSource:
    """An endless phantom clip of 480 x 640 pixels, the same for the same seed.

    fps: frames per second; 0 gives every frame as fast as it is taken.
    """

    synthetic = True
    skipped = 0

    def __init__(self, fps: float, seed: int = 0) -> None:
        self.live = checked_fps(fps) > 0
        self.description = f"phantom seed {seed}"
        self._fps, self._seed = fps, seed
        self._pace = Pace(fps)
        self._clip: PhantomClip | None = None
        self._sequence = 0

    def open(self) -> None:
        """Draw the tissue, which takes a second or so on a Pi; a second opening goes on where it was."""
        if self._clip is None:
            self._clip = PhantomClip(self._seed, fps=self._fps or 30.0)

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises NoData when it is not due yet."""
        if not self._pace.wait(timeout):
            raise NoData("the next frame is not due yet")
        captured, sequence = time.monotonic(), self._sequence
        pixels = self._clip.frame(sequence).image
        self._sequence += 1
        return Frame(pixels, sequence, captured, f"phantom-{self._seed}#{sequence}")

    def close(self) -> None:
        """The tissue is kept: it is the same when opened again."""
