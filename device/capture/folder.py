"""A folder of pictures as a source: for replaying recorded pictures and for evaluation on the device."""

import os
import re
import time
from pathlib import Path

import cv2

from device.capture import EndOfStream, Frame, NoData, NoDevice, Undecodable, Unsupported
from device.capture.pace import Pace, checked_fps
from device.errors import UserError
from device.preprocess import pictured_stem, read_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")


def natural_key(name: str) -> tuple[list[list[str | int]], str]:
    """Sort key for a relative path by which `frame 2` stands before `frame 10`, folder by folder."""
    # re.split with a group gives text and digits in turn, so that like is compared with like.
    parts = [re.split(r"(\d+)", part.lower()) for part in name.split("/")]
    return [[int(piece) if piece.isdecimal() else piece for piece in pieces] for pieces in parts], name


def list_pictures(folder: Path) -> list[str]:
    """Names of the pictures in `folder` and its sub-folders, relative to it, in natural order.

    Hidden files are left out (macOS puts a `._name.png` beside every picture on a memory stick), and so are masks.
    Raises UserError when the folder is missing, cannot be read or holds no picture.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; give a folder of pictures.")

    def refuse(error: OSError) -> None:  # os.walk would leave the sub-folder out without a word
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); correct its permissions.")

    names = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [
            Path(parent, name).relative_to(folder).as_posix()
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and pictured_stem(name) is None
        ]
    if not names:
        raise UserError(f"{folder}: no picture there ({', '.join(SUFFIXES)}); give a folder of pictures.")
    return sorted(names, key=natural_key)


class FolderSource:
    """The pictures of a folder in natural order.

    fps: frames per second; 0 gives every picture as fast as it is taken. loop: begin again after the last one.
    A picture that does not decode is reported once and left out from then on.
    """

    synthetic = None
    skipped = 0

    def __init__(self, folder: Path, fps: float, loop: bool = False) -> None:
        self.folder, self.loop = Path(folder), loop
        self.live = checked_fps(fps) > 0
        self.description = f"folder {folder}"
        self._pace = Pace(fps)
        self._names: list[str] = []
        self._next = self._sequence = 0

    def open(self) -> None:
        """List the folder. Raises UserError when it is missing or holds no picture."""
        self._names, self._next = list_pictures(self.folder), 0

    def grab(self, timeout: float) -> Frame:
        """The next picture. Raises NoData (not due yet), Undecodable, NoDevice (folder gone), EndOfStream."""
        if not self._names:
            raise Unsupported(f"no picture of {self.folder} decodes")
        if self._next >= len(self._names):
            if not self.loop:
                raise EndOfStream(f"all pictures of {self.folder} were read")
            self._next = 0
        if not self._pace.wait(timeout):
            raise NoData("the next picture is not due yet")
        name, captured = self._names[self._next], time.monotonic()
        try:
            pixels = read_picture(self.folder / name)
        except (UserError, OSError, cv2.error) as error:
            if not os.path.isdir(self.folder):
                raise NoDevice(f"{self.folder} is gone") from error
            if self.loop:
                del self._names[self._next]  # or it would be reported again in every round
            else:
                self._next += 1
            raise Undecodable(str(error)) from error
        self._next += 1
        self._sequence += 1
        return Frame(pixels, self._sequence - 1, captured, name)

    def close(self) -> None:
        """Nothing is held between two grabs."""
