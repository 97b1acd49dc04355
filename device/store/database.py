"""The studies' SQLite file: two tables, read and written here alone. Unknown is NULL, never zero or an empty text.

WAL with synchronous=FULL: a commit that has returned survives a power cut (https://sqlite.org/pragma.html).
"""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from device.errors import UserError

VERSION = 1
APPLICATION_ID = 0x6275_6B64  # "bukd"
BUSY_S = 5.0  # so long one process waits for another that writes
WAL_BYTES = 4_000_000  # what the write-ahead log is cut back to

# `due`: audit entries of what was committed, until they stand in the audit log; see recorder.py.
_SCHEMA = """
CREATE TABLE studies (
  id TEXT PRIMARY KEY, begun TEXT NOT NULL, begun_monotonic REAL NOT NULL, ended TEXT, boot TEXT,
  clock_synchronised INTEGER CHECK (clock_synchronised IN (0, 1)), interrupted INTEGER NOT NULL DEFAULT 0,
  label TEXT, model TEXT NOT NULL, bundle TEXT NOT NULL, synthetic INTEGER CHECK (synthetic IN (0, 1)),
  classes TEXT NOT NULL, settings TEXT NOT NULL, software TEXT NOT NULL, exported TEXT
) STRICT;
CREATE TABLE items (
  id TEXT PRIMARY KEY, study TEXT NOT NULL REFERENCES studies (id) ON DELETE CASCADE, number INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('frame', 'sweep')),
  saved TEXT NOT NULL, saved_monotonic REAL NOT NULL,
  clock_synchronised INTEGER CHECK (clock_synchronised IN (0, 1)),
  sequence INTEGER, captured REAL, scene TEXT, frames INTEGER,
  shown TEXT, shown_reason TEXT, shown_probabilities TEXT,
  verdict TEXT, reason TEXT, probabilities TEXT, logits TEXT, quality TEXT, unusual REAL,
  file TEXT UNIQUE, sha256 TEXT, bytes INTEGER, width INTEGER, height INTEGER, channels INTEGER,
  cropped INTEGER CHECK (cropped IN (0, 1)),
  sweep TEXT, sweep_begun TEXT,
  UNIQUE (study, number),
  CHECK (kind = 'sweep' OR file IS NOT NULL),
  CHECK ((file IS NULL) = (sha256 IS NULL))
) STRICT;
CREATE TABLE due (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Study:
    """One examination. begun, ended, exported: UTC as text; ended None: still open, or `interrupted` by a kill or a
    power cut. label: the technician's own words, no patient's name. settings: how verdicts were made."""

    id: str
    begun: str
    begun_monotonic: float
    ended: str | None
    boot: str | None
    clock_synchronised: bool | None
    interrupted: bool
    label: str | None
    model: str
    bundle: str
    synthetic: bool | None
    classes: list[str]
    settings: dict[str, Any]
    software: str
    exported: str | None


@dataclass(frozen=True)
class Item:
    """One saved thing: a frozen frame, or a marked sweep with or without a picture.

    shown*: the verdict over time, as it was on the screen; verdict, reason, probabilities: of the frame alone. logits:
    of the model, a null for each that is not finite. file: below the folder of pictures; cropped: whether it was cut
    to the ultrasound picture. captured: seconds on the monotonic clock. sweep: a device.sweep.SweepSummary.
    """

    id: str
    study: str
    number: int
    kind: str
    saved: str
    saved_monotonic: float
    clock_synchronised: bool | None
    sequence: int | None = None
    captured: float | None = None
    scene: str | None = None
    frames: int | None = None
    shown: str | None = None
    shown_reason: str | None = None
    shown_probabilities: dict[str, float] | None = None
    verdict: str | None = None
    reason: str | None = None
    probabilities: dict[str, float] | None = None
    logits: list[float | None] | None = None
    quality: str | None = None
    unusual: float | None = None
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    cropped: bool | None = None
    sweep: dict[str, Any] | None = None
    sweep_begun: str | None = None


_FLAGS = {"clock_synchronised", "interrupted", "synthetic", "cropped"}
_JSON = {"classes", "settings", "shown_probabilities", "probabilities", "logits", "sweep"}


def open_database(path: Path, make: bool = False) -> sqlite3.Connection:
    """The database, checked to be ours and of this version; with `make`, made when it is missing.

    Raises UserError when it is missing, of a newer busi-kd, no such database, or cannot be opened.
    """
    if not make and not path.is_file():
        raise UserError(f"{path}: no studies are saved there; give the folder of the recorder with --store.")
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be opened ({error}); check the folder and its permissions.") from error
    try:
        _prepare(connection, path, make)
    except sqlite3.Error as error:
        connection.close()
        raise UserError(
            f"{path}: cannot be used ({error}); check its permissions and the room on the card, or move it away."
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, make: bool) -> None:
    connection.row_factory = sqlite3.Row
    version, application = _pragma(connection, "user_version"), _pragma(connection, "application_id")
    empty = version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    if not (empty and make) and application != APPLICATION_ID:
        raise UserError(f"{path}: is no database of busi-kd's studies; move it away or give another folder.")
    if version > VERSION:
        raise UserError(
            f"{path}: was written by a newer busi-kd (schema {version}, this one knows {VERSION}); update busi-kd. "
            "Nothing in it was changed."
        )
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise UserError(f"{path}: its file system allows no write-ahead log (got {mode!r}); use a local disk.")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    if empty:
        with transaction(connection):
            # A second opener may have been first.
            if _pragma(connection, "user_version") == 0:
                for statement in filter(str.strip, _SCHEMA.split(";\n")):
                    connection.execute(statement)
                connection.execute("INSERT INTO facts VALUES ('store', ?)", (str(uuid.uuid4()),))
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={VERSION}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is done inside, on disk when this returns, or nothing. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back when the disk is full
            connection.execute("ROLLBACK")
        raise


def insert(connection: sqlite3.Connection, table: str, row: Study | Item) -> None:
    """Add a row; `table` is studies or items."""
    names = [field.name for field in fields(row)]
    values = [_stored(name, getattr(row, name)) for name in names]
    marks = ", ".join("?" * len(names))
    connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)


def row_hash(row: Item) -> str:
    """SHA-256 of all of a row's values, 64 hexadecimal digits: as it stands in the audit log."""
    return hashlib.sha256(json.dumps(asdict(row), sort_keys=True, allow_nan=False).encode()).hexdigest()


def _stored(name: str, value: Any) -> Any:
    if value is None:
        return None
    return json.dumps(value, allow_nan=False, sort_keys=True) if name in _JSON else value


def _read(kind: type, row: sqlite3.Row) -> Any:
    values = {}
    for field in fields(kind):
        value = row[field.name]
        if value is not None and field.name in _JSON:
            value = json.loads(value)
        elif value is not None and field.name in _FLAGS:
            value = bool(value)
        values[field.name] = value
    return kind(**values)


def studies(connection: sqlite3.Connection) -> list[Study]:
    """All studies in the order they were made."""
    return [_read(Study, row) for row in connection.execute("SELECT * FROM studies ORDER BY rowid")]


def study(connection: sqlite3.Connection, begins: str) -> Study:
    """The study whose id begins so. Raises UserError when there is none or more than one."""
    found = [one for one in studies(connection) if begins and one.id.startswith(begins)]
    if len(found) != 1:
        what = "more than one study has an id that begins so; give more of it" if found else "no such study"
        raise UserError(f"study {begins!r}: {what}; `busi-kd device studies list` shows their ids.")
    return found[0]


def items(connection: sqlite3.Connection, study_id: str | None = None) -> list[Item]:
    """A study's items in the order they were saved; without an id, those of all studies."""
    where, values = ("", ()) if study_id is None else ("WHERE study = ?", (study_id,))
    return [_read(Item, row) for row in connection.execute(f"SELECT * FROM items {where} ORDER BY rowid", values)]


def next_number(connection: sqlite3.Connection, study_id: str) -> int:
    """The number of a study's next item, from 1."""
    query = "SELECT coalesce(max(number), 0) + 1 FROM items WHERE study = ?"
    return connection.execute(query, (study_id,)).fetchone()[0]


def fact(connection: sqlite3.Connection, name: str) -> str | None:
    """One of the store's own facts: `store` (its id), `audit_n` and `audit_head` (the audit log's last known line)."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def set_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Write one of the store's facts."""
    connection.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes that saved pictures and the rows take; pages of deleted rows are used again and do not count."""
    pictures = connection.execute("SELECT coalesce(sum(bytes), 0) FROM items").fetchone()[0]
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pictures + pages * _pragma(connection, "page_size")
