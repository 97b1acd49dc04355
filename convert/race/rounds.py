"""The race itself: start all, hold their answers against the reference, then time them in interleaved rounds."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convert.race.child import Child, Failed
from device.telemetry import Telemetry

LOAD_S, ANSWER_S, TIME_S = 300.0, 900.0, 300.0  # torch.compile compiles with the first answer
WARM_UP = 5
STARTING = 8  # at a time; only then are they timed, one at a time

Judge = Callable[[list[Any]], str | None]  # answers -> why they do not count, or None


@dataclass(frozen=True)
class Entry:
    """Who wants to take part. key: names the row. python: None when `why` says why it cannot. judge: of its answers."""

    key: str
    threads: int
    python: Path | None
    load: dict[str, Any]
    judge: Judge
    why: str | None = None


@dataclass
class Row:
    """What became of an entry. wall, cpu: seconds, (rounds, runs); None, and why, for one that is out of the race."""

    entry: Entry
    version: str | None = None
    pieces: int | None = None
    answers: list[Any] | None = None
    why: str | None = None
    wall: np.ndarray | None = None
    cpu: np.ndarray | None = None
    _wall: list[list[float]] = field(default_factory=list)
    _cpu: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """Of the machine meanwhile. average: the system's one-minute load average before and after. other_cpu_percent: what
    programs that are not of the race took, 100 = one core; None where it cannot be read."""

    average: tuple[float, float]
    other_cpu_percent: float | None


def race(entries: Sequence[Entry], inputs: Path, rounds: int, runs: int, seed: int = 0) -> tuple[list[Row], Load]:
    """Time all entries whose answers count: `rounds` times, in another order each time, `runs` inferences each.

    inputs: as runner.py takes them. All competitors are alive all the time, so that nothing has to be loaded again; but
    only one of them works at a time. A competitor that dies or hangs is out, with the reason; the others go on.
    """
    rows = [Row(entry, why=entry.why) for entry in entries]
    with contextlib.ExitStack() as alive:
        with ThreadPoolExecutor(STARTING) as pool:
            children = list(pool.map(lambda row: _started(row, inputs, alive), rows))
        order, draws = np.arange(len(rows)), np.random.default_rng(seed)
        before, telemetry = os.getloadavg()[0], Telemetry(firmware_every_s=0.0)
        for turn in range(rounds):
            print(f"round {turn + 1}/{rounds}", file=sys.stderr)
            draws.shuffle(order)
            for at in order:
                _timed(rows[at], children[at], runs)
        load = Load((before, os.getloadavg()[0]), _others(telemetry, rows))
    for row in rows:
        if row.why is None:
            row.wall, row.cpu = np.array(row._wall), np.array(row._cpu)
    return rows, load


def _started(row: Row, inputs: Path, alive: contextlib.ExitStack) -> Child | None:
    """The competitor's process, loaded and warm; None when it is out."""
    entry = row.entry
    if row.why is not None:
        return None
    print(f"{entry.key}: loading", file=sys.stderr)
    try:
        # Spinning threads would take the time of whoever comes next.
        child = alive.enter_context(Child.of(entry.python, {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": _search()}))
        loaded = child.ask("load", LOAD_S, threads=entry.threads, **entry.load)
        row.version, row.pieces = loaded["version"], loaded["pieces"]
        row.answers = child.ask("answer", ANSWER_S, inputs=str(inputs))["answers"]
        row.why = entry.judge(row.answers)
        if row.why is None:
            child.ask("time", TIME_S, count=WARM_UP)
    except Failed as failed:
        row.why = str(failed)
    if row.why is None:
        return child
    print(f"{entry.key}: {row.why}", file=sys.stderr)
    return None


def _timed(row: Row, child: Child | None, runs: int) -> None:
    if child is None or row.why is not None:
        return
    try:
        took = child.ask("time", TIME_S, count=runs)
    except Failed as failed:
        row.why = str(failed)
        return
    row._wall.append(took["wall"])
    row._cpu.append(took["cpu"])


def _search() -> str:
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def _others(telemetry: Telemetry, rows: list[Row]) -> float | None:
    """CPU of programs that are not of the race, 100 = one core."""
    health = telemetry.sample()
    if health.cpu_percent is None or health.process_cpu_percent is None:
        return None
    wall = sum(np.sum(row._wall) for row in rows)
    ours = 100.0 * sum(np.sum(row._cpu) for row in rows) / wall if wall else 0.0
    return max(0.0, health.cpu_percent * (os.cpu_count() or 1) - health.process_cpu_percent - ours)
