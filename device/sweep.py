"""What a sweep over the breast came to: frames seen, frames abstained from, and the highest probability that lasted."""

import math
from collections import Counter, deque
from dataclasses import dataclass

from device.decide import ABSTAIN
from device.over_time import Belief

SUSTAINED_S = 1.0


@dataclass(frozen=True)
class SweepSummary:
    """frames: judged ones by verdict over time. seconds: from the first to the last. sustained_malignant: the highest
    P(malignant) that was held or exceeded for SUSTAINED_S without a break, 0..1, and sustained_at, when that time was
    over; None when nothing lasted so long."""

    frames: dict[str, int]
    seconds: float
    sustained_malignant: float | None
    sustained_at: float | None

    @property
    def seen(self) -> int:
        """Frames judged."""
        return sum(self.frames.values())

    @property
    def abstained(self) -> int:
        """Frames of which the system could not say what they show."""
        return self.frames.get(ABSTAIN, 0)


class Sweep:
    """Counts beliefs as they come, in memory that the frame rate times SUSTAINED_S bounds."""

    def __init__(self, sustained_s: float = SUSTAINED_S) -> None:
        self._sustained_s = sustained_s
        self._frames: Counter[str] = Counter()
        self._first = self._last = 0.0
        self._began = 0.0  # of the stretch without a break
        # [P, when the next frame took its place], P rising: the least of the window stands first.
        self._lows: deque[list[float]] = deque()
        self._best: tuple[float, float] | None = None

    def add(self, belief: Belief) -> None:
        """Take in the next frame. What begins anew, a frame without probabilities, and a pause as long as a stretch
        break it."""
        if not self._frames:
            self._first = belief.at
        self._frames[belief.verdict.label] += 1
        self._last = belief.at
        malignant = belief.verdict.probabilities.get("malignant")
        if malignant is None or belief.frames == 1:
            self._lows.clear()
        if malignant is None:
            return
        if self._lows:
            self._lows[-1][1] = belief.at
        while self._lows and self._lows[0][1] <= belief.at - self._sustained_s:
            self._lows.popleft()
        if not self._lows:
            self._began = belief.at
        while self._lows and self._lows[-1][0] >= malignant:
            self._lows.pop()
        self._lows.append([malignant, math.inf])
        least = self._lows[0][0]
        if belief.at - self._began >= self._sustained_s and (self._best is None or least > self._best[0]):
            self._best = least, belief.at

    @property
    def seen(self) -> int:
        """Frames judged so far."""
        return sum(self._frames.copy().values())

    def summary(self) -> SweepSummary:
        """What it came to so far."""
        value, at = self._best or (None, None)
        return SweepSummary(dict(self._frames), self._last - self._first if self._frames else 0.0, value, at)
