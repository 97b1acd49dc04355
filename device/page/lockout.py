"""Wrong PINs: a few are free, then each locks for twice as long as the one before. Memory is bounded.

Tries are counted per address and, for all that come over a network, together as well: an attacker has many addresses.
The device's own screen has a count of its own, so that nobody outside can lock it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 5  # tries
FREE_TOGETHER = 20
FIRST_S, LONGEST_S = 30.0, 3600.0
ADDRESSES = 256
TOGETHER = "network"


@dataclass
class _Count:
    wrong: int = 0
    until: float = 0.0  # locked


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
        """The try that was counted last was right."""
        self._counts.pop(address or "", None)
        if address is not None:
            self._together.wrong = max(0, self._together.wrong - 1)
            self._together.until = 0.0 if self._together.wrong < FREE_TOGETHER else self._together.until

    def _count(self, address: str | None) -> _Count:
        count = self._counts.setdefault(address or "", _Count())
        self._counts.move_to_end(address or "")
        while len(self._counts) > ADDRESSES:
            self._counts.popitem(last=False)  # the network's common count still holds what it has tried
        return count

    def _add(self, count: _Count, free: int) -> int:
        count.wrong += 1
        over = count.wrong - free
        if over >= 0:
            count.until = self._clock() + min(FIRST_S * 2.0 ** min(over, 32), LONGEST_S)
        return max(0, -over)
