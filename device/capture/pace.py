"""Real time for sources that could run faster, such as files."""

import math
import time

from device.errors import UserError

DEFAULT_FPS = 30.0
# Below 1 the pause between two frames could not be told from a source that has stopped.
MIN_FPS, MAX_FPS = 1.0, 240.0


def checked_fps(fps: float) -> float:
    """`fps` itself when it is 0 (no pauses) or within MIN_FPS..MAX_FPS. Raises UserError otherwise."""
    if fps == 0 or (math.isfinite(fps) and MIN_FPS <= fps <= MAX_FPS):
        return float(fps)
    raise UserError(f"--fps is {fps:g}: give {MIN_FPS:g} to {MAX_FPS:g} frames per second, or 0 for every frame.")


class Pace:
    """Says when the next frame is due. fps: frames per second, or 0 for no pauses."""

    def __init__(self, fps: float) -> None:
        self._period = 1.0 / fps if fps else 0.0
        self._due = -math.inf

    def wait(self, timeout: float) -> bool:
        """Sleep until the next frame is due, at most `timeout` seconds; False when it is not due by then."""
        if not self._period:
            return True
        pause = self._due - time.monotonic()
        if pause > timeout:
            time.sleep(timeout)
            return False
        if pause > 0:
            time.sleep(pause)
        self._due += self._period
        now = time.monotonic()
        if self._due <= now:  # lost time is not made up for: that would be a burst no camera gives
            self._due = now + self._period
        return True
