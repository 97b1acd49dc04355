"""The child process that holds a source: it opens it, grabs from it, and answers its parent, one message a request.

A source that fails by saying so is closed and may be opened again in the same process: while a cable is out that
happens every other second, and a new process would cost a Pi a second of its processor each time.

A driver that never returns can only be got rid of by killing its process. So the source lives here, and nothing else
does: the parent (device/capture/process.py) asks over a socket, frames cross in shared memory. For a live source the
newest frame is kept until it is asked for, and those it replaced are counted; any other source is grabbed from only
when asked, so that every frame is judged.

Run as `python -m device.capture.child SOCKET SPEC`, which the parent does.
"""

import array
import ctypes
import importlib
import json
import mmap
import os
import signal
import socket
import sys
from typing import Any

import numpy as np

from device.capture import CaptureError, Frame, NoData, Source, Undecodable, Unsupported
from device.errors import UserError

GRAB_S = 0.25  # how soon a parent that waits hears that there is nothing
MAX_BYTES = 64 << 20  # of one frame: 4K in three channels is 25 MB
OPEN, GRAB, WHOLE = b"o", b"?", b"w"  # what the parent asks
SLOTS = 2  # one is the parent's to read until it asks again, the other takes the newest frame
MESSAGE = 1 << 16
_PR_SET_PDEATHSIG = 1


class Memory:
    """SLOTS frames of up to `capacity` bytes in anonymous memory that another process can map by its descriptor."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.descriptor = os.memfd_create("busi-kd-frames")
        os.ftruncate(self.descriptor, SLOTS * capacity)
        self.mapped = mmap.mmap(self.descriptor, SLOTS * capacity)

    def write(self, slot: int, pixels: np.ndarray) -> None:
        """Copy a frame into a slot."""
        target = np.frombuffer(self.mapped, np.uint8, pixels.size, slot * self.capacity)
        target.reshape(pixels.shape)[...] = pixels

    def close(self) -> None:
        """Let go of it; what others have mapped stays theirs."""
        self.mapped.close()
        os.close(self.descriptor)


class Child:
    """The loop. asked: the parent waits for an answer."""

    def __init__(self, source: Source, parent: socket.socket) -> None:
        self._source, self._parent = source, parent
        self._memory: Memory | None = None
        self._fresh_memory = self._asked = False
        self._theirs = 0  # the slot that the parent may be reading
        self._newest: dict[str, Any] | None = None
        self._skipped = 0

    def run(self) -> None:
        """Say that all is loaded; then open the source and serve it, as often as asked, until the parent is gone."""
        self._answer({"started": True})
        while self._parent.recv(16) == OPEN:
            self._newest, self._asked, self._skipped = None, False, 0
            try:
                self._source.open()
                self._answer({"opened": True})
                self._serve()
                return
            except (UserError, CaptureError) as error:
                # Closed first: a driver that hangs in it is then missed by the parent, who waits for this answer.
                self._source.close()
                self._answer(_failure(error))

    def _serve(self) -> None:
        """Until the parent is gone; what the source fails with is raised when the parent waits for it."""
        try:
            while self._listen(wait=not self._source.live and not self._asked):
                if self._asked and self._newest is not None:
                    self._hand_over()
                else:
                    self._grab()
        except (UserError, CaptureError):
            if self._newest is not None and self._awaited():
                self._hand_over()
            if self._awaited():
                raise
        self._source.close()

    def _awaited(self) -> bool:
        """Wait until the parent asks; False when it is gone."""
        while not self._asked:
            if not self._listen(wait=True):
                return False
        return True

    def _listen(self, wait: bool) -> bool:
        """Take in what the parent asks; False when it is gone."""
        self._parent.setblocking(wait)
        try:
            said = self._parent.recv(16)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            self._parent.setblocking(True)
        if said == WHOLE:
            self._hand_over_whole()
            return True
        self._asked = self._asked or bool(said)
        return bool(said)

    def _grab(self) -> None:
        try:
            self._keep(self._source.grab(GRAB_S))
        except NoData as error:
            if self._asked:
                self._answer({"none": str(error), "state": error.state})
        except Undecodable as error:
            if self._awaited():  # each is named once, so it waits until it is heard
                self._answer({"broken": str(error)})

    def _keep(self, frame: Frame) -> None:
        pixels = frame.pixels
        if pixels.dtype != np.uint8 or not 0 < pixels.nbytes <= MAX_BYTES:
            raise Unsupported(f"a frame of shape {pixels.shape} and type {pixels.dtype} is not taken")
        self._skipped += self._newest is not None
        if self._memory is None or pixels.nbytes > self._memory.capacity:
            if self._memory is not None:
                self._memory.close()
            self._memory, self._fresh_memory = Memory(pixels.nbytes), True
        slot = 1 - self._theirs
        self._memory.write(slot, pixels)
        self._newest = {"slot": slot, "shape": pixels.shape, "captured": frame.captured}
        coloured = frame.coloured if frame.coloured is None else float(np.mean(frame.coloured))
        self._newest |= {"name": frame.name, "coloured": coloured, "full": frame.full, "region": frame.region}
        self._newest["region_by_hand"] = frame.region_by_hand

    def _hand_over(self) -> None:
        frame = {**self._newest, "skipped": self._skipped, "capacity": self._memory.capacity}
        self._theirs, self._newest, self._skipped = frame["slot"], None, 0
        self._answer({"frame": frame}, self._memory.descriptor if self._fresh_memory else None)
        self._fresh_memory = False

    def _hand_over_whole(self) -> None:
        """The last frame before it was cut, in memory of its own, for whoever sets the region; None where nothing is
        cut. It is no frame of the stream: the parent neither judges nor counts it."""
        frame: Frame | None = getattr(self._source, "whole", None)
        if frame is None or frame.pixels.dtype != np.uint8 or not 0 < frame.pixels.nbytes <= MAX_BYTES:
            self._answer({"whole": None})
            return
        pixels = frame.pixels
        memory = Memory(pixels.nbytes)
        try:
            memory.write(0, pixels)
            about = {"slot": 0, "capacity": memory.capacity, "shape": pixels.shape, "captured": frame.captured}
            about |= {"full": frame.full or pixels.shape[:2], "name": getattr(self._source, "identity", "")}
            self._answer({"whole": about}, memory.descriptor)
        finally:
            memory.close()

    def _answer(self, said: dict[str, Any], descriptor: int | None = None) -> None:
        handed = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._asked = False
        try:
            self._parent.sendmsg([json.dumps(said).encode()], handed)
        except ConnectionError:  # the parent is gone; the next listening says so
            return


def _failure(error: UserError | CaptureError) -> dict[str, Any]:
    if isinstance(error, UserError):
        return {"refused": str(error)}
    return {"failed": error.state, "detail": str(error)}


def make(spec: dict[str, Any]) -> Source:
    """The source that `spec` names: {"source": "module:Class", "arguments": {...}}."""
    module, _, name = spec["source"].partition(":")
    return getattr(importlib.import_module(module), name)(**spec["arguments"])


def main(arguments: list[str]) -> int:
    """Serve the parent at the socket with the descriptor arguments[0] the source of the spec arguments[1]."""
    # The parent decides when this ends: Ctrl-C and systemd's stop reach every process of the group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # marks a sweep, and `systemctl kill` sends it to all
    # A driver that hangs would keep this process alive behind a parent that was killed.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(fileno=int(arguments[0])) as parent:
        Child(make(json.loads(arguments[1])), parent).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
