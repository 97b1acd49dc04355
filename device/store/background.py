"""A recorder in a thread of its own: a card may take seconds to flush, and judging must not wait for it."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from device.judge import Snapshot
from device.store import NotSaved
from device.store.recorder import Recorder

WAITING = 32  # calls; a picture of a crop each at most, some 10 MB


class Background:
    """Calls of a recorder, one after another in their order.

    `do(recorder.save_frame, pixels, snapshot, True)` gives a Future at once: its result is the saved item, once that is
    on disk, and its exception NotSaved. The pixels must not be written to afterwards.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._calls: queue.Queue[tuple[Future, Callable, tuple] | None] = queue.Queue(WAITING)
        self._shown: tuple[str, str | None] | None = None
        self._lost = 0  # audit entries that found no place
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def do(self, call: Callable, *arguments: Any) -> Future:
        """Have a method of the recorder called. Never waits; when too many wait already, the Future holds NotSaved."""
        future: Future = Future()
        if not self._put((future, call, arguments)):
            future.set_exception(NotSaved("Not saved: the card does not keep up; try again in a moment."))
        return future

    def shown(self, snapshot: Snapshot) -> None:
        """Tell the audit log what is on the screen when that has changed; to be called for each judged frame."""
        said = snapshot.belief.verdict.label, snapshot.belief.verdict.reason
        if said != self._shown:
            self._shown = said
            self._tell(self.recorder.shown, snapshot)

    def tell(self, what: str, **values: Any) -> None:
        """Add an entry to the audit log."""
        self._tell(lambda: self.recorder.tell(what, **values))

    def _tell(self, call: Callable, *arguments: Any) -> None:
        lost = self._lost

        def told() -> None:
            if lost:
                self.recorder.tell("left out", entries=lost, why="the card did not keep up")
            call(*arguments)

        if self._put((Future(), told, ())):
            self._lost = 0
        else:
            self._lost += 1

    def _put(self, call: tuple[Future, Callable, tuple]) -> bool:
        if self._closed:
            return False
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while (waiting := self._calls.get()) is not None:
            future, call, arguments = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                future.set_exception(error)
            else:
                future.set_result(result)

    def close(self, wait_s: float = 1.0) -> bool:
        """Take nothing more, do what waits, and close the recorder.

        False when the card was too slow for that: what was not reported as saved is then lost with the process, and the
        study is marked as interrupted at the next start.
        """
        if not self._closed:
            self._closed = True
            threading.Thread(target=self._calls.put, args=(None,), daemon=True).start()  # the queue may be full
        self._thread.join(wait_s)
        if self._thread.is_alive():
            return False
        self.recorder.close()
        return True
