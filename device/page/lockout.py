"""Wrong PINs: a few are free, then each locks for twice as long as the one before. Memory is bounded.

Tries are counted per address and, for all that come over a network, together as well: an attacker has many addresses.
The device's own screen has a count of its own, so that nobody outside can lock it. Counts fade: else a typo a day would
in the end lock everybody out, and whoever guesses faster than they fade is locked all the same.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 5  # tries
FREE_TOGETHER = 20
FIRST_S, LONGEST_S = 30.0, 3600.0
FADES_S = 3600.0  # one wrong try is forgotten in that time: LONGEST_S, so that in the long run no more than before fit
ADDRESSES = 256
TOGETHER = "network"


@dataclass
class _Count:
    wrong: int = 0
    until: float = 0.0  # locked
    since: float = 0.0  # `wrong` fades from here on


class Lockout:
    """clock: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._together = _Count()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def locked_s(self, address: str | None) -> float:
        """Seconds for which no try is taken; 0: it may be tried. address: None of the device's own screen."""
        counts = [self._count(address)] + ([] if address is None else [self._together])
        return max(0.0, *(count.until - self._clock() for count in counts))

    def tried(self, address: str | None) -> int:
        """Count a try as wrong, before it is looked at, so that many at a time are as few. Returns how many are left
        before it locks."""
        own = self._add(self._count(address), FREE)
        return own if address is None else min(own, self._add(self._together, FREE_TOGETHER))

    def right(self, address: str | None) -> None:
        """A try that was counted was right: nothing of it stays. That of the network's wrong ones does."""
        self._counts.pop(address or "", None)
        if address is not None:
            self._together.wrong = max(0, self._together.wrong - 1)
            self._together.until = 0.0  # it was let in, so what locks now is its own try

    def _count(self, address: str | None) -> _Count:
        count = self._counts.setdefault(address or "", _Count())
        self._counts.move_to_end(address or "")
        while len(self._counts) > ADDRESSES:
            self._counts.popitem(last=False)  # the network's common count still holds what it has tried
        return count

    def _add(self, count: _Count, free: int) -> int:
        now = self._clock()
        faded = int((now - count.since) // FADES_S)
        count.since = now if faded >= count.wrong else count.since + faded * FADES_S
        count.wrong = max(0, count.wrong - faded) + 1
        over = count.wrong - free
        if over >= 0:
            count.until = now + min(FIRST_S * 2.0 ** min(over, 32), LONGEST_S)
        return max(0, -over)
