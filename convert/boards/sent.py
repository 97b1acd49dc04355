"""A result file that somebody sent in: device/bench.py's report, read as what any stranger's file is."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from device import schema
from device.bench_report import SCHEMA_VERSION
from device.errors import UserError

MAX_BYTES = 4_000_000  # a report of one bundle has some 10 kB


@dataclass(frozen=True)
class Machine:
    """The board. Each is None where it is not known. cores: usable. memory_mb: MiB. cooling: as its owner called it."""

    model: str | None
    architecture: str | None
    cores: int | None
    governor: str | None
    memory_mb: float | None
    kernel: str | None
    os: str | None
    python: str | None
    cooling: str | None = None


@dataclass(frozen=True)
class Measured:
    """One bundle or plain file with one thread count. model_*: ms of the interpreter alone; path_*: from picture to
    verdict, of a plain file to its logits.

    model_sha256: of the TFLite file; None where the report is older than this key. fps: 1000 / mean path. memory_mb:
    MiB at most. cpu_percent, other_percent: of the process, of others; 100 = one core. cool_c, hot_c: temperature
    before and at most; warmer_c: how much it rose within a round, the median of the rounds. mhz: the least clock.
    valid: False when heat or supply held it back. error: why there are no figures. Each but threads is None where it
    is not known.
    """

    model_sha256: str | None
    name: str | None
    variant: str | None
    bundle_id: str | None
    threads: int
    interpreter: str | None
    file_kb: float | None
    model_p50: float | None
    model_p95: float | None
    path_p50: float | None
    path_p95: float | None
    fps: float | None
    memory_mb: float | None
    cpu_percent: float | None
    other_percent: float | None
    cool_c: float | None
    hot_c: float | None
    warmer_c: float | None
    mhz: float | None
    valid: bool | None
    error: str | None


@dataclass(frozen=True)
class Sent:
    """One file: its name, when it was measured (UTC), on what, by which version of busi-kd, and its rows."""

    file: str
    created: datetime
    version: str
    machine: Machine
    rows: tuple[Measured, ...]


def read(path: Path) -> Sent:
    """Read a result file. Raises UserError when it is unreadable, too large or not such a report."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes; a result file of device bench is smaller.")
        said = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: this result cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{path}: this is no JSON; send the file that `device bench --result` wrote.") from error
    try:
        return _sent(path, said)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}: not a result of `busi-kd device bench` ({type(error).__name__}: {str(error)[:80]}); "
            "send the file that --result wrote."
        ) from error


def read_all(folder: Path) -> list[Sent]:
    """The files of a folder, by board and time. Raises UserError for the first one that does not read, and for none."""
    found = [read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise UserError(f"{folder}: no result file (*.json) in it; make one by `busi-kd device bench --result FILE`.")
    return sorted(found, key=lambda one: (one.machine.model or "", one.created, one.file))


def _sent(path: Path, said: Any) -> Sent:
    if said["schema_version"] != SCHEMA_VERSION:
        raise UserError(
            f"{path}: of the report's version {schema.shown(said['schema_version'])}, and {SCHEMA_VERSION} is read; "
            "measure again with this busi-kd."
        )
    if said.get("kind") is not None:
        raise UserError(f"{path}: measured with --pipeline, which this table has no place for; measure without it.")
    created = datetime.fromisoformat(said["created"])
    if created.tzinfo is None:
        raise ValueError("the time has no zone")
    version = said["software"]["busi-kd"]
    machine = schema.load(Machine, said["machine"], path)
    rows = tuple(schema.load(Measured, dict(_fields(row)), path) for row in said["rows"])
    if type(version) is not str or not rows:
        raise ValueError("no version or no rows")
    return Sent(path.name, created, version, machine, rows)


def _fields(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "model_sha256", row.get("model_sha256")
    for key in ("name", "variant", "bundle_id", "threads", "interpreter", "file_kb", "fps", "valid", "error"):
        yield key, row[key]
    yield "memory_mb", row["peak_memory_mb"]
    yield "cpu_percent", row["process_cpu_percent"]
    yield "other_percent", row["other_cpu_percent"]
    for key, group, name in (
        ("model_p50", "interpreter_ms", "p50"),
        ("model_p95", "interpreter_ms", "p95"),
        ("path_p50", "path_ms", "p50"),
        ("path_p95", "path_ms", "p95"),
        ("cool_c", "temperature_c", "before"),
        ("hot_c", "temperature_c", "max"),
        ("mhz", "clock_mhz", "min"),
    ):
        value = None if row[group] is None else row[group][name]
        if group.endswith("_ms") and value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{group} is {schema.shown(value)}")
        yield key, value
    heats = [(one["temperature_c"]["before"], one["temperature_c"]["after"]) for one in row["rounds"] or ()]
    # Within a round: from the first round to the last the other rows have warmed the board as well.
    rises = [after - before for before, after in heats if before is not None and after is not None]
    yield "warmer_c", median(rises) if rises else None
