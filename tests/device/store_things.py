"""What the tests of device/store share: a clock of their own, snapshots, pictures, an open recorder."""

import re
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from device.decide import Verdict
from device.judge import Snapshot
from device.over_time import Belief
from device.quality import Quality
from device.scene import Change
from device.store import Stamp
from device.store.bounds import Limits
from device.store.facts import Origin
from device.store.recorder import Recorder
from device.sweep import SweepSummary

CLASSES = ("benign", "malignant", "normal")
ORIGIN = Origin("busi-test", "0123456789ab", CLASSES, {"half_life_s": 0.5, "threads": 1}, None)
SUMMARY = SweepSummary({"benign": 30, "abstain": 4}, 12.5, 0.375, 100.25)
Usage = namedtuple("Usage", "total used free")
MB = 1_000_000


class Clock:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self, synchronised: bool | None = True) -> None:
        self.now, self.monotonic, self.synchronised = datetime(2026, 11, 22, 9, 0, tzinfo=UTC), 1000.0, synchronised

    def __call__(self) -> Stamp:
        self.move(1.0)
        return Stamp(self.now, self.monotonic, self.synchronised)

    def move(self, seconds: float) -> None:
        self.now, self.monotonic = self.now + timedelta(seconds=seconds), self.monotonic + seconds


class Card:
    """As shutil.disk_usage: a card with so many bytes free, whatever is written."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, _: Path) -> Usage:
        return Usage(self.free, 0, self.free)


def snapshot(label: str = "malignant", sequence: int = 7, name: str = "phantom") -> Snapshot:
    """A judged frame: `label` over time, benign by itself."""
    p = {"benign": 0.25, "malignant": 0.625, "normal": 0.125}
    alone = Verdict("benign", {"benign": 0.5, "malignant": 0.25, "normal": 0.25})
    shown = Verdict("abstain", {}, "blank") if label == "abstain" else Verdict(label, p)
    belief = Belief(99.5, (0.5, 0.25, -0.75), 12, "still", 98.0, shown)
    logits = np.array([0.5, -1.25, np.inf], np.float32)
    return Snapshot(sequence, name, 99.5, logits, Change(0.25, 0.125), Quality("ok", 14.5), alone, belief, {})


def picture(seed: int = 0, height: int = 60, width: int = 80, colour: bool = False) -> np.ndarray:
    """Noise, which PNG cannot make smaller."""
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def recorder(folder: Path, free: int = 10_000 * MB, say=lambda _: None, clock=None, **limits) -> Recorder:
    """An open recorder on a card with `free` bytes."""
    return Recorder(folder, ORIGIN, Limits(**limits), clock or Clock(), Card(free), say)


def one_sentence(text: str) -> bool:
    """Whether a message to a person is one: it ends with a full stop and has no line break."""
    return bool(re.fullmatch(r"[^\n]+\.", text))
