"""A recorded session as a source: the frames of a live one again, at the pace at which they came."""

import csv
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path

from device.capture import EndOfStream, Frame, NoData, Undecodable
from device.capture.pace import checked_fps
from device.errors import UserError
from device.preprocess import read_picture

TIMES = "session.csv"
COLUMNS = ("captured_s", "file")
# A recording that was paused for hours is not replayed with the pause; the daemon's own states begin far below.
LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True)
class Recorded:
    """One frame of a session. at: seconds since the session's first frame."""

    at: float
    file: str


def read_times(folder: Path) -> list[Recorded]:
    """The frames of the session in `folder`, in the order in which they came.

    A last line that a power cut has left unfinished is left out. Raises UserError when the folder holds no session, or
    one whose times go backwards or whose files would lie elsewhere.
    """
    path = Path(folder) / TIMES
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a folder that 'busi-kd device capture' wrote."
        ) from error
    lines = text.split("\n")[:-1]  # what is behind the last line's end was not finished
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise UserError(f"{path}: its first line is not {','.join(COLUMNS)}; give the folder of a recorded session.")
    frames: list[Recorded] = []
    first = None
    for row in rows[1:]:
        try:
            said, file = row
            captured = float(said)
        except ValueError as error:
            raise UserError(f"{path}: {','.join(row)!r} is no row of {','.join(COLUMNS)}; record it again.") from error
        first = captured if first is None else first
        at = captured - first
        if not math.isfinite(at) or (frames and at < frames[-1].at) or Path(file).name != file:
            raise UserError(f"{path}: the row {','.join(row)!r} does not follow the one before it; record it again.")
        frames.append(Recorded(at, file))
    if not frames:
        raise UserError(f"{path}: holds no frame; record the session again.")
    return frames


class SessionSource:
    """The frames of a recorded session (`busi-kd device capture`).

    fps: None replays them as they came, pauses of more than LONGEST_PAUSE_S cut down to it; a number gives so many a
    second, 0 each as fast as it is taken. loop: begin again after the last one.
    """

    synthetic = None
    skipped = 0

    def __init__(self, folder: Path, fps: float | None = None, loop: bool = False) -> None:
        self.folder, self.loop = Path(folder), loop
        self._fps = None if fps is None else checked_fps(fps)
        self.live = self._fps != 0
        self.description = f"session {folder}"
        self._frames: list[Recorded] = []
        self._due: list[float] = []
        self._next = self._sequence = 0
        self._began: float | None = None

    def open(self) -> None:
        """Read the times. Raises UserError as read_times does."""
        self._frames = read_times(self.folder)
        self._due, self._next, self._began = _due(self._frames, self._fps), 0, None

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises NoData (not due yet), Undecodable, EndOfStream."""
        if self._next == len(self._frames):
            if not self.loop:
                raise EndOfStream(f"all {len(self._frames)} frames of {self.folder} were read")
            self._next, self._began = 0, None
        if not self._wait(timeout):
            raise NoData("the next frame is not due yet")
        recorded = self._frames[self._next]
        self._next += 1
        captured = time.monotonic()
        try:
            pixels = read_picture(self.folder / recorded.file)
        except UserError as error:
            raise Undecodable(str(error)) from error
        self._sequence += 1
        return Frame(pixels, self._sequence - 1, captured, recorded.file)

    def _wait(self, timeout: float) -> bool:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        left = self._began + self._due[self._next] - now
        if left > 0:
            time.sleep(min(left, timeout))
        return left <= timeout

    def close(self) -> None:
        """Nothing is held between two grabs."""


def _due(frames: list[Recorded], fps: float | None) -> list[float]:
    """Seconds after the first frame at which each is due."""
    if fps is not None:
        return [number / fps if fps else 0.0 for number in range(len(frames))]
    due = [0.0]
    for before, after in itertools.pairwise(frames):
        due.append(due[-1] + min(after.at - before.at, LONGEST_PAUSE_S))
    return due
