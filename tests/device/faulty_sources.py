"""Sources that fail as drivers do, for a process of their own."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from device.capture import EndOfStream, Frame, NoData, NoDevice, NoSignal, Undecodable
from device.errors import UserError


class Scripted:
    """Does what `script` says, one letter a grab, and ends after it; `live` or not.

    0-9: a frame of that luma; B: a frame of another size and of three channels; u: undecodable; d: no data; s: no
    signal; k: killed; c: a crash in C; x: exits; h: hangs for ever. `opening`: the same for open (r: refused). `marker`
    gets a line for each grab.
    """

    description, synthetic, skipped = "scripted", None, 0

    def __init__(self, script: str, live: bool = False, opening: str = "", marker: str = "") -> None:
        self.live, self._script, self._opening, self._marker = live, script, opening, marker
        self._sequence = 0

    def open(self) -> None:
        self._steps = iter(self._script)
        for step in self._opening:
            if step == "r":
                raise UserError("scripted: refused; give another script.")
            self._fail(step)

    def grab(self, timeout: float) -> Frame:
        if self._marker:
            with open(self._marker, "a") as stream:
                stream.write(f"{os.getpid()}\n")
        step = next(self._steps, None)
        if step is None:
            raise EndOfStream("the script is over")
        self._fail(step)
        pixels = np.full((30, 40, 3), 200, np.uint8) if step == "B" else np.full((8, 6), int(step), np.uint8)
        self._sequence += 1
        return Frame(pixels, self._sequence - 1, time.monotonic(), f"step {step}", 0.25 if step == "B" else None)

    def _fail(self, step: str) -> None:
        if step == "u":
            raise Undecodable("a broken frame")
        if step == "d":
            raise NoData("nothing is due")
        if step == "s":
            raise NoSignal("the cable was pulled")
        if step == "n":
            raise NoDevice("it was unplugged")
        if step == "k":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == "c":
            os.kill(os.getpid(), signal.SIGSEGV)
        if step == "x":
            sys.exit(7)
        if step == "h":
            threading.Event().wait()

    def close(self) -> None:
        if self._marker:
            Path(f"{self._marker}.closed").touch()


class SlowToLoad(Scripted):
    """In any other process than `parent` it is made only when somebody has opened the pipe `gate` for writing and
    closed it again, as by a processor that is slow to import."""

    def __init__(self, parent: int, gate: str, script: str) -> None:
        if os.getpid() != parent:
            Path(gate).read_bytes()
        super().__init__(script)


class Fast:
    """Live, and far faster than anybody asks: a new frame with every grab, numbered in its pixels."""

    description, synthetic, live, skipped = "fast", None, True, 0

    def __init__(self, frames: int) -> None:
        self._frames, self._next = frames, 0

    def open(self) -> None:
        self._next = 0

    def grab(self, timeout: float) -> Frame:
        if self._next == self._frames:
            raise EndOfStream("that was all")
        self._next += 1
        number = self._next - 1
        return Frame(np.full((2, 2), number % 251, np.uint8), number, time.monotonic(), str(number))

    def close(self) -> None:
        pass
