"""A source in a process of its own, which is killed when it does not answer."""

import array
import json
import math
import mmap
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.capture import (
    Busy,
    CaptureError,
    Changed,
    EndOfStream,
    Frame,
    NoAnswer,
    NoCable,
    NoData,
    NoDevice,
    NoRegion,
    NoSignal,
    NoSync,
    Source,
    Undecodable,
    Unsupported,
)
from device.capture import child as other_side
from device.errors import UserError

START_S = 40.0  # until the child's Python has loaded what it needs; the unit gives a start 45 s (TimeoutStartSec)
OPEN_S = 8.0  # the phantom's tissue takes a second or two on a Pi, a camera's start-up as long
HANG_S = 1.5  # a child that is asked says something every child.GRAB_S; after this silence it hangs
WHOLE_S = 3.0  # an uncut screen that nobody took within this time goes
END_S = 0.3  # time to close the source well before the process is killed
DEAD_S = 1.0  # a process that has let go of its end has a status soon after, on a busy machine too
_KINDS = (NoDevice, NoCable, NoSignal, NoSync, Busy, Changed, NoData, Unsupported, EndOfStream)
_STATES = {kind.state: kind for kind in _KINDS}


class Hung(CaptureError):
    """The source's process did not answer and was killed; a driver that blocks for ever, mostly."""

    state = "hung"


class Died(CaptureError):
    """The source's process has ended by itself: a crash of a driver or decoder, or out of memory."""

    state = "died"


class ProcessSource:
    """`kind(**arguments)` in a child process; a Source itself. arguments: what JSON can say, and paths.

    skipped: frames that the child replaced by newer ones before they were asked for. keeps_process: a failure that the
    source has told has closed it already, and its process waits for `open`; `close` ends the process.
    """

    keeps_process = True

    def __init__(self, kind: type, **arguments: Any) -> None:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
        self._spec = json.dumps({"source": f"{kind.__module__}:{kind.__qualname__}", "arguments": plain})
        twin: Source = kind(**arguments)  # never opened; it refuses wrong arguments, and says what it is
        self.description, self.synthetic, self.live = twin.description, twin.synthetic, twin.live
        self.skipped = 0
        self._sequence = 0
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._memory: mmap.mmap | None = None
        self._asked: float | None = None
        self._idle = False  # the child has closed the source and waits to be asked to open it again
        self._whole_wanted = False
        self._whole: Frame | None = None

    def open(self) -> None:
        """Let the child open the source: the same one when the source has failed by saying so, else a new one. Raises
        what the source raises, Hung and Died."""
        if not self._idle:
            self.close()
            self._start()
        self._idle = False
        self._ask(other_side.OPEN)
        self._heard(OPEN_S, OPEN_S)

    def _start(self) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join([root, *filter(None, sys.path)])
        command = [sys.executable, "-m", "device.capture.child", str(theirs.fileno()), self._spec]
        with theirs:
            self._socket = mine
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": search},
            )
        self._asked = time.monotonic()
        self._heard(START_S, START_S)  # no time of the source's: a slow machine may need longer for it than OPEN_S

    def _ask(self, what: bytes) -> None:
        self._asked = time.monotonic()
        try:
            self._socket.send(what)
        except ConnectionError as error:
            raise self._died() from error

    def grab(self, timeout: float) -> Frame:
        """The newest frame. Raises what the source raises; NoAnswer when the child has said nothing at all within
        `timeout` seconds, Hung when it has not for HANG_S, Died when it is gone."""
        if self._socket is None or self._idle:
            raise NoDevice(f"{self.description} is not open")
        while True:
            if self._asked is None:
                wanted, self._whole_wanted = self._whole_wanted, False
                self._ask(other_side.WHOLE if wanted else other_side.GRAB)
            said = self._heard(timeout, HANG_S)
            if "whole" not in said:
                break
        found = said["frame"]
        self.skipped += found["skipped"]
        pixels = copied(self._memory, found)
        self._sequence += 1
        full = found["full"] and tuple(found["full"])
        about = (found["captured"], found["name"], found["coloured"], full, found["region"], found["region_by_hand"])
        return Frame(pixels, self._sequence - 1, *about)

    def ask_whole(self) -> Frame | None:
        """What the source's process has handed over of the uncut screen, once, and ask it for more; None when there is
        nothing fresh. Its name is what the source's regions are kept under. For another thread than the one that
        grabs; never waits."""
        self._whole_wanted = True
        frame, self._whole = self._whole, None
        fresh = frame is not None and time.monotonic() - frame.captured < WHOLE_S
        return frame if fresh else None

    def _heard(self, timeout: float, hang: float) -> dict[str, Any]:
        """The child's answer; `timeout`, `hang`: seconds until NoAnswer and Hung."""
        left = min(timeout, self._asked + hang - time.monotonic())
        self._socket.settimeout(max(left, 1e-3))
        try:
            text, handed, _, _ = self._socket.recvmsg(other_side.MESSAGE, socket.CMSG_SPACE(array.array("i").itemsize))
        except TimeoutError as error:
            if time.monotonic() - self._asked < hang - 0.01:  # a wait may end a little early
                raise NoAnswer("the source's process has not answered yet") from error
            self._kill()
            raise Hung(f"{self.description} did not answer for {hang:g} s; its process was killed") from error
        except ConnectionError as error:
            raise self._died() from error
        if not text:
            raise self._died()
        self._asked = None
        said = json.loads(text)
        for _, _, data in handed:
            descriptor = array.array("i", data)[0]
            if "whole" in said:
                self._whole = _whole(descriptor, said["whole"])
            else:
                self._map(descriptor)
        self._idle = "failed" in said or "refused" in said
        return _told(said)

    def _map(self, descriptor: int) -> None:
        self._unmap()
        try:
            self._memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)

    def _unmap(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _died(self) -> Died:
        try:
            status = self._process.wait(DEAD_S)
        except subprocess.TimeoutExpired:
            self._kill()
            status = None
        why = "it closed its end" if status is None else f"signal {-status}" if status < 0 else f"status {status}"
        return Died(f"the process of {self.description} has ended ({why})")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the child, by force when it does not end by itself; harmless when closed already."""
        self._asked, self._idle = None, False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._kill()
            self._process = None
        self._unmap()


def _whole(descriptor: int, found: dict[str, Any]) -> Frame:
    try:
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
            pixels = copied(memory, found)
    finally:
        os.close(descriptor)
    return Frame(pixels, 0, found["captured"], found["name"], full=tuple(found["full"]))


def copied(memory: mmap.mmap, found: dict[str, Any]) -> np.ndarray:
    """The frame that the child's answer `found` says lies in the memory it shares; a copy, since the slot is the
    child's again with the next request."""
    shape = tuple(found["shape"])
    return np.frombuffer(memory, np.uint8, math.prod(shape), found["slot"] * found["capacity"]).reshape(shape).copy()


def _told(said: dict[str, Any]) -> dict[str, Any]:
    """`said` itself when it holds something; a failure as the exception it was on the other side."""
    if "refused" in said:
        raise UserError(said["refused"])
    if "failed" in said:
        raise _STATES.get(said["failed"], CaptureError)(said["detail"])
    if "broken" in said:
        raise Undecodable(said["broken"])
    if "none" in said:
        raise (NoRegion if said["state"] == NoRegion.state else NoData)(said["none"])
    return said
