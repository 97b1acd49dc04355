"""What the daemon counts: frames, verdicts and the time each stage takes, in memory that does not grow."""

import math
from collections import Counter

import numpy as np

# In the order of a frame's way. `age` and `total` begin when the frame was captured, the others where the one
# before them ends. `decide` is verdict and outline.
STAGES = ("grab", "age", "prepare", "infer", "decide", "total")


class Latencies:
    """Percentiles of any number of latencies in fixed memory (8 KiB), each within 1 % of the true value.

    Bins of equal ratio from 1 microsecond to 1000 seconds, as in DDSketch (Masson, Rim, Lee, VLDB 2019, section 2):
    with ratio g = (1 + a) / (1 - a) a bin's value 2 g^i / (g + 1) is within a of everything in it. What lies outside
    that range counts as its nearer end.
    """

    ACCURACY = 0.01
    LOWEST_MS, HIGHEST_MS = 1e-3, 1e6
    _RATIO = (1 + ACCURACY) / (1 - ACCURACY)
    _LOG_RATIO = math.log(_RATIO)
    _FIRST = math.ceil(math.log(LOWEST_MS) / _LOG_RATIO)
    _BINS = math.ceil(math.log(HIGHEST_MS) / _LOG_RATIO) - _FIRST + 1

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, np.int64)
        self.highest_ms: float | None = None

    def add(self, milliseconds: float) -> None:
        """Count one latency, in milliseconds."""
        clipped = min(max(milliseconds, self.LOWEST_MS), self.HIGHEST_MS)
        self._counts[math.ceil(math.log(clipped) / self._LOG_RATIO) - self._FIRST] += 1
        self.highest_ms = milliseconds if self.highest_ms is None else max(self.highest_ms, milliseconds)

    @property
    def count(self) -> int:
        """How many latencies were counted."""
        return int(self._counts.sum())

    def percentile(self, percent: float) -> float | None:
        """The latency in milliseconds that `percent` (above 0, up to 100) of all do not exceed; None without any.

        Nearest rank, which numpy calls `inverted_cdf`.
        """
        up_to = np.cumsum(self._counts)
        if not up_to[-1]:
            return None
        rank = max(1, math.ceil(percent / 100.0 * up_to[-1]))
        index = int(np.searchsorted(up_to, rank)) + self._FIRST
        return 2.0 * self._RATIO**index / (self._RATIO + 1.0)


class Tally:
    """Frames judged, their verdicts, frames that could not be used, and the latency of every stage."""

    def __init__(self) -> None:
        self.judged = self.bad = 0
        self.verdicts: Counter[str] = Counter()
        self.stages = {stage: Latencies() for stage in STAGES}

    def add(self, label: str, stages_ms: dict[str, float]) -> None:
        """Count one judged frame: its verdict's label, and milliseconds per stage."""
        self.judged += 1
        self.verdicts[label] += 1
        for stage, milliseconds in stages_ms.items():
            self.stages[stage].add(milliseconds)
