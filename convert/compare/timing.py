"""The time of many files in one run: in turn, round by round, so that what slows the machine slows all of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.runtime import Model

ROUNDS, RUNS = 10, 40


@dataclass(frozen=True)
class Time:
    """Milliseconds of one inference, one thread, of the thread itself: median and 95th percentile over all runs, and
    the median over rounds of the ratio to the first file of the run."""

    p50: float
    p95: float
    ratio: float


def times(paths: Sequence[Path], rounds: int = ROUNDS, runs: int = RUNS) -> list[Time]:
    """A Time per file. Each begins with a few runs that do not count. Raises UserError when one cannot be opened."""
    models = [Model(path) for path in paths]
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (4, *model.input.shape[1:3]), np.uint8) for model in models]
    taken = np.empty((len(models), rounds + 1, runs))
    for number in range(rounds + 1):
        for place, (model, lumas) in enumerate(zip(models, inputs, strict=True)):
            for n in range(runs):
                begun = time.thread_time()
                model.logits(lumas[n % len(lumas)])
                taken[place, number, n] = 1e3 * (time.thread_time() - begun)
    taken = taken[:, 1:]  # the first round warms up
    medians = np.median(taken, axis=2)
    ratios = np.median(medians / medians[0], axis=1)
    return [
        Time(float(np.median(one)), float(np.percentile(one, 95)), float(ratio))
        for one, ratio in zip(taken.reshape(len(models), -1), ratios, strict=True)
    ]
