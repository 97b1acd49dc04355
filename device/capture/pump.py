"""The capture thread: opens the source, moves its frames into the slot, and opens it again when it fails."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from device.capture import CaptureError, EndOfStream, Frame, NoAnswer, NoData, NoRegion, Source, Undecodable
from device.errors import UserError
from device.latest import Latest

GRAB_TIMEOUT_S = 0.5  # also how long the thread may take to notice that it should end
NO_DATA_S = 2.0  # a shorter pause is no change of state; capture.pace.MIN_FPS relies on it
BACK_OFF_S = (0.2, 1.5)  # first and longest pause before a source is opened again
MAX_NAMED = 100  # undecodable frames named in the log; further ones are only counted

WAITING, OK, ENDED, STALLED = "waiting", "ok", EndOfStream.state, "stalled"


@dataclass(frozen=True)
class Signal:
    """The source: WAITING for the first frame, OK, STALLED, or a CaptureError's state; detail: why, if known."""

    state: str
    detail: str = ""


@dataclass(frozen=True)
class Grabbed:
    """A frame with the time.monotonic() at which it lay decoded in hand."""

    frame: Frame
    at: float


class Pump:
    """The thread and what it makes known. Every attribute is replaced whole, so another thread may read it.

    signal: the source's state. heard: time.monotonic() at which the source last answered anything. absent: the same
    for the last certain answer that there is no frame, None before. captured, undecodable: counts.
    failure: what ended the thread early, for the other thread to raise.
    """

    def __init__(self, source: Source, slot: Latest[Grabbed], say: Callable[[str], None]) -> None:
        self._source, self._slot, self._say = source, slot, say
        self._stop = threading.Event()
        # A daemon thread, because a driver that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.signal = self._before_stall = Signal(WAITING)
        self._edges = threading.RLock()  # both threads say edges, and each edge begins where the last one ended
        self.heard = time.monotonic()
        self.absent: float | None = None
        self.captured = self.undecodable = 0
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to capture."""
        self.heard = time.monotonic()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread, which closes the source; False when it is still stuck in the source after `timeout` s."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._pump()
        except Exception as error:  # noqa: BLE001 not swallowed: the judging thread raises it
            self.failure = error
        finally:
            self._source.close()
            self._slot.close()

    def _pump(self) -> None:
        back_off = BACK_OFF_S[0]
        opened = False
        while not self._stop.is_set():
            captured = self.captured
            try:
                self._source.open()
                opened = True
                self._move_frames()
            except EndOfStream as error:
                self._change(Signal(EndOfStream.state, str(error)))
                if self.undecodable and not self.captured:
                    raise UserError(
                        f"{self._source.description}: none of its {self.undecodable} pictures decodes; "
                        "replace them or give another source."
                    ) from error
                return
            except UserError as error:
                if not opened:  # at the very start it is the request that is wrong, later the source has gone
                    raise
                self._change(Signal("no device", str(error)))
            except CaptureError as error:
                self._change(Signal(error.state, str(error)))
            if not getattr(self._source, "keeps_process", False):
                self._source.close()
            if self.captured > captured:
                back_off = BACK_OFF_S[0]
            self._wait(back_off)
            back_off = min(2 * back_off, BACK_OFF_S[1])

    def _move_frames(self) -> None:
        """Until stopped, or until the source fails for good."""
        last = time.monotonic()
        while not self._stop.is_set():
            try:
                frame = self._source.grab(GRAB_TIMEOUT_S)
            except NoData as error:
                if not isinstance(error, NoAnswer):
                    self._known_absence()
                if isinstance(error, NoRegion):  # the device is well
                    last = self.heard
                    self._change(Signal(error.state, str(error)))
                if time.monotonic() - last >= NO_DATA_S:
                    raise
                continue
            except Undecodable as error:
                self._hear()
                self._count_undecodable(error)
                if self.heard - last >= NO_DATA_S:  # not one frame, but all of them: that none is to be had is certain
                    self._known_absence()
                    if self._source.live:
                        self._change(Signal(error.state, str(error)))
                continue
            last = self.heard = time.monotonic()
            if not self._hand_over(Grabbed(frame, last)):
                return
            self.captured += 1
            self._change(Signal(OK))

    def _hand_over(self, grabbed: Grabbed) -> bool:
        if self._source.live:
            self._slot.put(grabbed)
            return True
        while not self._slot.put_when_empty(grabbed, GRAB_TIMEOUT_S):
            self._hear()  # it is the judge that takes its time, not the source
            if self._stop.is_set():
                return False
        return True

    def _wait(self, seconds: float) -> None:
        """The pause before opening again, during which it is known that there is no frame."""
        until = time.monotonic() + seconds
        self._known_absence()
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, GRAB_TIMEOUT_S)):
            self._known_absence()

    def _known_absence(self) -> None:
        self._hear()
        self.absent = self.heard

    def _count_undecodable(self, error: Undecodable) -> None:
        self.undecodable += 1
        if self.undecodable <= MAX_NAMED:
            self._say(f"left out: {error}")
        if self.undecodable == MAX_NAMED:
            self._say("further frames that do not decode are counted, but not named.")

    def watch(self, longest: float) -> None:
        """For the other thread to call: STALLED once the source has answered nothing at all for `longest` seconds."""
        with self._edges:
            silent = time.monotonic() - self.heard
            if silent > longest and self.signal.state not in (STALLED, ENDED):
                self._before_stall = self.signal
                self._change(Signal(STALLED, f"the source has not answered for {silent:.0f} s"))

    def _hear(self) -> None:
        with self._edges:
            self.heard = time.monotonic()
            if self.signal.state == STALLED:
                self._change(self._before_stall)

    def _change(self, signal: Signal) -> None:
        with self._edges:
            before, self.signal = self.signal, signal
            if before.state != signal.state:
                detail = f": {signal.detail}" if signal.detail else ""
                self._say(f"signal: {before.state} -> {signal.state}{detail}")
