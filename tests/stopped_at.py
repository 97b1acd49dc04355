"""Something done in a process of its own that is stopped at a step: as by a pulled plug, or by a full disk.

A step is a change of the file system, a flush of it or a program that is started, as Python's audit events tell.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

CHANGES = {
    "os.rename",
    "os.symlink",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "shutil.copyfile",
    "shutil.rmtree",
}
_ANNOUNCED = "tests.step"
DONE, REFUSED, DONE_ALL_THE_SAME = 0, 1, 2


def announced(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` as a step, for what Python does not audit."""

    def wrapped(*arguments: Any) -> Any:
        sys.audit(_ANNOUNCED)
        return call(*arguments)

    return wrapped


class Stopper:
    """Stops this process's children. how: kill (SIGKILL before the step) or fail (the step is refused, as by a full
    disk). opened: a file that is opened to be written is a step, too. spared: what is no step.

    Make one at most: an audit hook stays for the life of a process.
    """

    def __init__(self, how: str, steps: set[str], opened: bool = False, spared: frozenset[str] = frozenset()) -> None:
        self._kills, self._steps, self._opened = how == "kill", steps - spared, opened
        self._left: int | None = None  # steps until the end; None: not counting
        os.fsync, os.sync = announced(os.fsync), announced(os.sync)
        sys.addaudithook(self._count)

    def run(self, action: Callable[[], Any], at: int | None, refusals: tuple[type[Exception], ...] = (OSError,)) -> int:
        """Do it in a child, stopped at step `at` (from 1; None: not at all). Returns the child's status: DONE, REFUSED
        (one of `refusals`), DONE_ALL_THE_SAME in spite of the step that failed, or less than 0, the signal."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._left = at
        try:
            action()
        except refusals:
            os._exit(REFUSED)
        os._exit(DONE_ALL_THE_SAME if at is not None and self._left is None else DONE)

    def _count(self, event: str, arguments: tuple) -> None:
        if self._left is None or not self._is_step(event, arguments):
            return
        self._left -= 1
        if self._left == 0:
            self._left = None
            if self._kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(28, "No space left on device")

    def _is_step(self, event: str, arguments: tuple) -> bool:
        if event == "open":
            flags = arguments[2]
            return self._opened and isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        return event == _ANNOUNCED or event in self._steps
