"""Is the daemon running, and what does it say? Read from its metrics file, which it renews and takes away at its end.

Only the file's being renewed counts, by this process's own monotonic clock: a Pi has no clock that runs without power,
so the time on a file proves nothing. What is not renewed any more belongs to a daemon that was killed or hangs.
"""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device.fleet.allowed import MAX_BYTES, Sample, admit
from device.metrics import EVERY_S

STALE_S = 3 * EVERY_S
State = Literal["running", "not running", "unknown"]

NO_FILE, NOT_RENEWED = "no metrics file", "metrics file not renewed"
NOT_READABLE, NOT_YET_KNOWN = "metrics file not readable", "not known yet"


@dataclass(frozen=True)
class Reading:
    """The daemon's state, why (one of this file's words; empty while it runs), and while it runs what may leave.

    at: time.monotonic() of the look.
    """

    state: State
    why: str
    samples: tuple[Sample, ...]
    at: float


class Watch:
    """Looks at the file again and again. clock: seconds that never jump."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._seen: tuple[int, int, int] | None = None
        self._since = clock()  # of the last renewal; before one was seen, of the first look
        self._renewed = False  # whether one was seen
        self._absent = False
        self._samples: tuple[Sample, ...] | None = ()

    def look(self) -> Reading:
        """What the file says now. Never raises for what stands there."""
        now = self._clock()
        try:
            seen, data = self._read()
        except FileNotFoundError:
            self._seen, self._renewed, self._absent = None, False, True
            return Reading("not running", NO_FILE, (), now)
        except OSError:
            return Reading("unknown", NOT_READABLE, (), now)
        if seen != self._seen:
            # A file that was not there at the look before is new; one that is met at the first may be years old.
            self._renewed = self._seen is not None or self._absent
            self._since = now
            self._seen, self._absent = seen, False
            self._samples = _admitted(data)
        if now - self._since > STALE_S:
            return Reading("not running", NOT_RENEWED, (), now)
        if not self._renewed:
            return Reading("unknown", NOT_YET_KNOWN, (), now)
        if self._samples is None:
            return Reading("unknown", NOT_READABLE, (), now)
        return Reading("running", "", self._samples, now)

    def _read(self) -> tuple[tuple[int, int, int], bytes]:
        """What tells one version of the file from another, and its bytes. Raises OSError."""
        handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would never end
        with open(handle, "rb") as stream:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{self._path} is no ordinary file")
            return (found.st_ino, found.st_mtime_ns, found.st_size), stream.read(MAX_BYTES + 1)


def _admitted(data: bytes) -> tuple[Sample, ...] | None:
    try:
        return admit(data.decode())
    except ValueError:  # UnicodeDecodeError is one
        return None
