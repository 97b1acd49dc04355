"""The file with one row per judged frame: what was said, and all that is needed to say it again."""

import csv
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from device import RESEARCH_NOTICE, log
from device.bundle import Bundle
from device.errors import UserError
from device.judge import Snapshot
from device.over_time import OverTime
from device.scene import Change, SceneLimits

_HEAD = ("sequence", "name", "captured_s", "verdict", "reason")
_NUMBERS = ("half_life_s", "gap_s", "hysteresis")
_LIMITS = ("new", "still", "still_s")


def columns(classes: tuple[str, ...]) -> list[str]:
    """verdict, reason, p_*: of the frame alone. difference, drift: see device.scene.Change. quality, unusual: see
    device.quality. z_*: logits. shown, shown_reason: the verdict over time."""
    alone = [*_HEAD, *(f"p_{name}" for name in classes)]
    return [
        *alone,
        "difference",
        "drift",
        "quality",
        "unusual",
        *(f"z_{name}" for name in classes),
        "shown",
        "shown_reason",
    ]


def open_record(path: Path, bundle: Bundle, synthetic: bool | None, how: OverTime) -> log.RowFile:
    """The file, to be added to: before each run's rows a comment line says what the run is.

    Raises UserError when the file exists and is no such record.
    """
    what = {"bundle": bundle.meta.name, "id": bundle.id, "synthetic": synthetic}
    what |= {name: repr(getattr(how, name)) for name in _NUMBERS}
    what |= {f"scene_{name}": repr(getattr(how.scene, name)) for name in _LIMITS}
    return log.RowFile(path, f"{RESEARCH_NOTICE} {log.pairs(what)}", columns(bundle.meta.classes))


def row(snapshot: Snapshot, classes: tuple[str, ...]) -> list:
    """One frame's cells, in the order of `columns`."""
    verdict, shown = snapshot.verdict, snapshot.belief.verdict
    return [
        *(snapshot.sequence, snapshot.name, snapshot.captured, verdict.label, verdict.reason),
        *(verdict.probabilities.get(name) for name in classes),
        *(snapshot.change.difference, snapshot.change.drift, snapshot.quality.state, snapshot.quality.unusual),
        *(float(z) for z in snapshot.logits),
        *(shown.label, shown.reason),
    ]


@dataclass(frozen=True)
class Run:
    """The comment that a run of the daemon begins with. line: in the file, from 1. what: its pairs."""

    line: int
    what: dict[str, str]
    how: OverTime


@dataclass(frozen=True)
class Row:
    """One frame as it was recorded. line: in the file, from 1. logits: (classes,) float32."""

    line: int
    captured: float
    verdict: str
    change: Change
    quality: str
    logits: np.ndarray
    shown: str


def read_record(path: Path, classes: tuple[str, ...]) -> Iterator[Run | Row]:
    """Each run of a record, and behind it its rows; memory does not grow with the file.

    A last row of a run that a power cut has left unfinished is left out. Raises UserError naming the line when the file
    is missing, is no record with these classes, or holds something else.
    """
    names = columns(classes)
    known = begun = False
    try:
        with open(path, "rb") as stream:
            for number, text, ends in _lines(stream):
                if text.startswith("#"):
                    yield _run(path, number, text)
                    begun = True
                elif text == ",".join(names):
                    known = True
                elif not (begun and known):
                    break
                elif (found := _row(path, number, text, names, ends)) is not None:
                    yield found
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the file of device run --verdicts."
        ) from error
    if not (begun and known):
        raise UserError(f"{path}: is no record with the columns {','.join(names)}; give that of device run --verdicts.")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str, bool]]:
    """(number from 1, text, whether a run or the file ends behind it) of each line that has its end."""
    number, held = 0, None
    while (line := stream.readline(log.MAX_LINE)).endswith(b"\n"):
        text = line[:-1].decode("utf-8", "surrogateescape")
        if held is not None:
            yield number, held, text.startswith("#")
        number, held = number + 1, text
    if held is not None:
        yield number, held, True


def _run(path: Path, number: int, text: str) -> Run:
    try:
        what = dict(pair.split("=", 1) for pair in shlex.split(text.removeprefix("#")) if "=" in pair)
        limits = SceneLimits(**{name: float(what[f"scene_{name}"]) for name in _LIMITS})
        return Run(number, what, OverTime(**{name: float(what[name]) for name in _NUMBERS}, scene=limits))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}, line {number}: does not say how frames were joined ({error}).") from error


def _row(path: Path, number: int, text: str, names: list[str], ends: bool) -> Row | None:
    try:
        (cells,) = csv.reader([text], strict=True)
        found = dict(zip(names, cells, strict=True))
        logits = np.array([float(found[name]) for name in names if name.startswith("z_")], np.float32)
        change = Change(float(found["difference"]) if found["difference"] else None, float(found["drift"]))
        return Row(
            number, float(found["captured_s"]), found["verdict"], change, found["quality"], logits, found["shown"]
        )
    except (ValueError, csv.Error) as error:
        if ends:  # power failed in the midst of it, and the next run ended the line
            return None
        raise UserError(f"{path}, line {number}: is no row of a record ({error}).") from error
