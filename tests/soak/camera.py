"""A camera with a switch for each way of failing, for the daemon's child process."""

import mmap
import os
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from device.capture import Frame, NoData, NoDevice, NoSignal
from device.capture.decoder import Decoder
from device.capture.pace import Pace
from device.capture.pixels import Layout
from device.preprocess import read_picture

SWITCH_BYTES = 16
OK = "ok"
# What the switch's first byte says; the other side writes it.
MODES = (
    OK,
    "no signal",
    "no device",
    "no data",
    "hangs",
    "killed",
    "crashes",
    "truncated",
    "zero bytes",
    "other size",
    "colour",
    "blank",
    "undecodable for long",
)


class Switch:
    """The byte that both sides map: what the camera does now, and how often it has looked."""

    def __init__(self, path: Path) -> None:
        with open(path, "r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), SWITCH_BYTES)

    @property
    def mode(self) -> str:
        """One of MODES."""
        return MODES[self._map[0]]

    @mode.setter
    def mode(self, mode: str) -> None:
        self._map[0] = MODES.index(mode)


class FaultyCamera:
    """One picture, moved a little with each frame, coded as JPEG as a grabber does; faults by the switch.

    switch, picture: files. fps: frames per second.
    """

    description, synthetic, live, skipped = "faulty camera", None, True, 0

    def __init__(self, switch: str, picture: str, fps: float = 30.0) -> None:
        self._switch, self._picture, self._pace = switch, picture, Pace(fps)
        self._sequence = 0
        self._held: Switch | None = None

    def open(self) -> None:
        """Map the switch; raises what it says."""
        self._held = self._held or Switch(Path(self._switch))
        self._fail_for_good(self._held.mode)
        luma = read_picture(Path(self._picture))
        self._decoder = Decoder(Layout("MJPG", *luma.shape[:2]), luma.shape[:2], full=True)
        self._codes = [cv2.imencode(".jpg", np.roll(luma, shift, axis=1))[1].tobytes() for shift in range(4)]
        small = cv2.resize(luma, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        self._small = cv2.imencode(".jpg", small)[1].tobytes()
        # A false-colour map, as on a photograph or Doppler.
        self._colour = cv2.imencode(".jpg", cv2.applyColorMap(luma, cv2.COLORMAP_JET))[1].tobytes()
        self._blue = cv2.imencode(".jpg", np.full((*luma.shape[:2], 3), (255, 0, 0), np.uint8))[1].tobytes()

    def grab(self, timeout: float) -> Frame:
        """The next frame, or the fault that the switch says."""
        mode = self._held.mode
        if mode == "no data":
            time.sleep(timeout)
            raise NoData("the frames have stopped")
        if not self._pace.wait(timeout):
            raise NoData("the next frame is not due yet")
        self._fail_for_good(mode)
        captured = time.monotonic()
        found = self._decoder.picture(self._code(mode), captured)
        self._sequence += 1
        return Frame(found.luma, self._sequence - 1, captured, mode, found.coloured)

    def _fail_for_good(self, mode: str) -> None:
        if mode == "no signal":
            raise NoSignal("the cable was pulled")
        if mode == "no device":
            raise NoDevice("the grabber was unplugged")
        if mode in ("hangs", "killed", "crashes"):
            self._held.mode = OK  # once: the next process is well
        if mode == "hangs":
            threading.Event().wait()
        if mode in ("killed", "crashes"):
            os.kill(os.getpid(), signal.SIGKILL if mode == "killed" else signal.SIGSEGV)

    def _code(self, mode: str) -> bytes:
        code = self._codes[self._sequence % len(self._codes)]
        if mode in ("truncated", "undecodable for long"):
            return code[: len(code) // 2]
        named = {"zero bytes": b"", "other size": self._small, "colour": self._colour, "blank": self._blue}
        return named.get(mode, code)

    def close(self) -> None:
        """Nothing is held but the switch."""
