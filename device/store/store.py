"""The folder of studies as a whole: database, pictures and audit log, changed together.

What is committed is also told in the audit log, exactly once: the entry is committed with the change, in the table
`due`, and moved from there to the log afterwards; what a kill leaves in between is moved at the next occasion.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from device.errors import UserError
from device.store import (
    AUDIT,
    DATABASE,
    LOCK,
    PICTURES,
    Clock,
    bounds,
    database,
    make_folder,
    owned_like,
    pictures,
    system_clock,
)
from device.store.audit import AuditLog, decode, log_files
from device.store.bounds import Limits, Sized
from device.store.database import Study

Tell = Callable[..., None]


class Store:
    """An open folder of studies. Not for two threads at once; two processes may have it open."""

    def __init__(self, folder: Path, make: bool = False, clock: Clock = system_clock, audit: AuditLog | None = None):
        """Open it; with `make`, make what is missing. Raises UserError when it cannot be used, OSError as it comes."""
        self.folder, self.clock = Path(folder), clock
        if make:
            make_folder(self.folder)
            make_folder(self.folder / PICTURES)
        self.pictures = self.folder / PICTURES
        self.connection = database.open_database(self.folder / DATABASE, make)
        try:
            if make:
                owned_like(self.folder / DATABASE, self.folder)
                (self.folder / DATABASE).chmod(0o640)  # SQLite gives its other files the same
            self.id = database.fact(self.connection, "store")
            self.audit = audit or AuditLog(self.folder / AUDIT, clock)
        except BaseException:
            self.connection.close()
            raise
        self._told: int | None = None  # the last `due` entry that is known to stand in the log; None: look there

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    @contextmanager
    def change(self) -> Iterator[Tell]:
        """One transaction. What is yielded adds an audit entry to it, `tell(what, **values)`, which `settle` moves."""
        with database.transaction(self.connection):
            yield self._tell

    def _tell(self, what: str, **values: Any) -> None:
        entry = json.dumps(values, allow_nan=False)
        self.connection.execute("INSERT INTO due (what, entry) VALUES (?, ?)", (what, entry))

    def settle(self) -> None:
        """Move what is due to the audit log. Raises OSError or sqlite3.Error; then the rest stays due."""
        if not self.connection.execute("SELECT 1 FROM due").fetchone():
            return
        with database.transaction(self.connection):  # so that no second process moves the same entries
            told = self._last_told() if self._told is None else self._told
            self._told = None  # unknown again, should this fail
            for row in self.connection.execute("SELECT * FROM due ORDER BY id").fetchall():
                if row["id"] > told:
                    self.audit.append(row["what"], **json.loads(row["entry"]), store=self.id, change=row["id"])
                    told = row["id"]
            self.connection.execute("DELETE FROM due")
            self._note_head()
        self._told = told

    def note_head(self) -> None:
        """Keep the hash of the log's last line in the database, so that an end cut off is noticed."""
        with database.transaction(self.connection):
            self._note_head()

    def _note_head(self) -> None:
        n, head = self.audit.head
        database.set_fact(self.connection, "audit_n", str(n))
        database.set_fact(self.connection, "audit_head", head)

    def noted_head(self) -> dict[int, str]:
        """{number: hash} of the log's line that was noted last."""
        n, head = (database.fact(self.connection, name) for name in ("audit_n", "audit_head"))
        return {} if n is None or head is None else {int(n): head}

    def _last_told(self) -> int:
        for path in reversed(log_files(self.audit.folder)):
            found = filter(None, map(decode, path.read_bytes().split(b"\n")))
            told = [entry["change"] for entry in found if entry.get("store") == self.id and "change" in entry]
            if told:
                return max(told)
        return 0

    def sized(self) -> list[Sized]:
        """Every study with the bytes of its pictures, in the order they were made."""
        query = "SELECT study, sum(bytes) FROM items GROUP BY study"
        sums = {row[0]: row[1] or 0 for row in self.connection.execute(query)}
        return [Sized(one, sums.get(one.id, 0)) for one in database.studies(self.connection)]

    def delete(self, study: Study, why: str) -> None:
        """Delete a whole study: rows and audit entry in one commit, then the pictures. Raises sqlite3.Error."""
        self.delete_all([study], why)

    def delete_all(self, studies: list[Study], why: str) -> None:
        """Delete these studies, all of them in one commit or none. Raises sqlite3.Error."""
        with self.change() as tell:
            for study in studies:
                found = database.items(self.connection, study.id)
                hashes = hashlib.sha256("\n".join(item.sha256 or "" for item in found).encode()).hexdigest()
                told = {"items": len(found), "pictures_sha256": hashes, "begun": study.begun}
                tell("deleted", study=study.id, why=why, exported=study.exported, **told)
                self.connection.execute("DELETE FROM studies WHERE id = ?", (study.id,))
        for study in studies:
            pictures.remove_study(self.pictures, study.id)

    def make_room(self, limits: Limits, open_study: str | None, needed: int, free: int, lent: int) -> None:
        """Delete what the limits say before `needed` bytes are written; free, lent: bytes of the file system, before
        that, as bounds.make_room has them.

        Raises NotSaved when there would still be no room; then only what is too old has gone. Raises sqlite3.Error.
        """
        old = bounds.too_old(self.sized(), limits, self.clock(), open_study)
        if old:
            self.delete_all([one.study for one in old], "age")
            free += sum(one.bytes for one in old)
        used = database.used_bytes(self.connection)
        chosen = bounds.make_room(self.sized(), limits, open_study, needed, used, free, lent)
        if chosen:
            self.delete_all([one.study for one in chosen], "room")

    def mark_exported(self, study: Study, how: str, sha256: str | None) -> Study:
        """Note that a study has left the machine. sha256: of the file that was written, None of a folder."""
        at = self.clock().iso
        with self.change() as tell:
            self.connection.execute("UPDATE studies SET exported = ? WHERE id = ?", (at, study.id))
            tell("exported", study=study.id, how=how, sha256=sha256)
        self.settle()
        return replace(study, exported=at)


@contextmanager
def alone(folder: Path, patience_s: float = 1.0) -> Iterator[None]:
    """Be the folder's one recorder. Raises UserError when another process is: `busi-kd device run` is running.

    patience_s: whoever asks whether a recorder runs holds the lock for an instant, and must not keep one from starting.
    """
    path = folder / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        owned_like(path, folder)
        until = time.monotonic() + patience_s
        while not _locked(handle):
            if time.monotonic() >= until:
                raise UserError(f"{folder}: another process is recording there; stop it (systemctl stop busi-kd).")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_open(store: Store, study: Study) -> bool:
    """Whether a daemon that runs now may still add to this study."""
    if study.ended is not None or study.interrupted:
        return False
    try:
        with alone(store.folder, 0.0):
            return False
    except UserError:
        return True


Failure = (OSError, sqlite3.Error)


def because(error: OSError | sqlite3.Error) -> str:
    """What failed, in the words of the system."""
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
