"""A process that does nothing but tick 30 times a second: what is late here is late by the machine, not by busi-kd."""

import os
import subprocess
import sys

LATE_S = 0.03  # a tick so much later than it should be
_TICK = """
import sys, time
due = time.monotonic()
while True:
    due += 1 / 30
    time.sleep(max(0.0, due - time.monotonic()))
    now = time.monotonic()
    if now - due > float(sys.argv[1]):
        print(due, now, flush=True)
        due = now
"""


class Metronome:
    """Ticks from now on until `end`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", _TICK, str(LATE_S)], stdout=subprocess.PIPE)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._partial = b""
        self.late: list[tuple[float, float]] = []  # when each late tick was due and when it came, time.monotonic()

    def take(self) -> None:
        """Take in what it has said."""
        while data := self._process.stdout.read(1 << 16):
            *lines, self._partial = (self._partial + data).split(b"\n")
            self.late += [tuple(map(float, line.split())) for line in lines]

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate()

    def beside(self, begun: float, ended: float) -> bool:
        """Whether a tick was late in that time, time.monotonic()."""
        return any(due < ended and came > begun for due, came in self.late)
