"""A video file as a source, through OpenCV's FFmpeg."""

import math
import os
import time
from pathlib import Path

import cv2
import numpy as np

from device.capture import EndOfStream, Frame, NoData, NoDevice
from device.capture.pace import DEFAULT_FPS, MAX_FPS, MIN_FPS, Pace, checked_fps
from device.errors import UserError

# Both libraries print a page of their own about a broken file; the error raised here says it in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET


class VideoSource:
    """The frames of a video file.

    fps: frames per second; None takes the file's own pace, 0 gives every frame as fast as it is taken. loop: begin
    again after the last frame.
    """

    synthetic = None
    skipped = 0

    def __init__(self, path: Path, fps: float | None = None, loop: bool = False) -> None:
        self.path, self.loop = Path(path), loop
        self._fps = None if fps is None else checked_fps(fps)
        self.live = self._fps != 0
        self.description = f"video {path}"
        self._video: cv2.VideoCapture | None = None
        self._first: np.ndarray | None = None
        self._pace = Pace(0)
        self._index = self._sequence = 0

    def open(self) -> None:
        """Open the file and decode its first frame. Raises UserError when one of the two cannot be done."""
        # is_file first: OpenCV would also take an address or a pattern of names.
        if not os.path.isfile(self.path):
            raise UserError(f"{self.path}: no such video file; check the path.")
        self._start()
        fps = self._fps
        if fps is None:
            fps = self._video.get(cv2.CAP_PROP_FPS)
            if not math.isfinite(fps) or not MIN_FPS <= fps <= MAX_FPS:  # some files say 0, some 90000
                fps = DEFAULT_FPS
        self._pace = Pace(fps)

    def _start(self) -> None:
        self.close()
        cv2.setLogLevel(0)  # silent; see above
        self._video = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        found, self._first = self._video.read()
        self._index = 0
        if not found:
            self.close()
            raise UserError(f"{self.path}: holds no video that can be decoded; give a video file such as .avi or .mp4.")

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises NoData (not due yet), NoDevice (the file is gone when it loops), EndOfStream."""
        if not self._pace.wait(timeout):
            raise NoData("the next frame is not due yet")
        captured = time.monotonic()
        pixels = self._read()
        if pixels is None and self.loop:
            try:
                self._start()  # seeking to frame 0 is not exact in every container
            except UserError as error:
                raise NoDevice(str(error)) from error
            pixels = self._read()
        if pixels is None:
            raise EndOfStream(f"{self.path} has no further frame after {self._index}{self._announced()}")
        self._index += 1
        self._sequence += 1
        return Frame(pixels, self._sequence - 1, captured, f"{self.path.name}#{self._index - 1}")

    def _read(self) -> np.ndarray | None:
        """The next frame, or None at the end: the library does not tell an end from a broken rest."""
        if self._first is not None:
            pixels, self._first = self._first, None
            return pixels
        found, pixels = self._video.read()
        return pixels if found else None

    def _announced(self) -> str:
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        return f", although the file announces {count:.0f}" if count > self._index else ""

    def close(self) -> None:
        """Let go of the file."""
        if self._video is not None:
            self._video.release()
            self._video = self._first = None
