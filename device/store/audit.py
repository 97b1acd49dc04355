"""The audit log: what was shown and saved, append-only, each line chained to the one before by SHA-256.

One JSON object per line, keys sorted, no blanks: `n` counts the lines from 1, `before` is the SHA-256 of the line
before without its newline (64 zeros before the first), `own` is the SHA-256 of this line without the member `own`.
So any altered, removed, inserted or exchanged line is noticed. What a chain cannot show is that somebody rewrote all of
it from some line on; for that the last hash must be known elsewhere (`head`).
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device import files
from device.store import Clock, make_folder, owned_like

FILE_BYTES = 1_000_000
FILES = 16
MAX_ENTRY = 1 << 15  # bytes of one line
FIRST = "0" * 64
CONTINUED, ROTATED = "continued", "rotated"
_NAME = re.compile(r"audit-(\d{8})\.jsonl")
_RESERVED = {"n", "at", "monotonic", "clock", "what", "before", "own"}


def sha256(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _canonical(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def encode(entry: dict[str, Any]) -> bytes:
    """The line of an entry that has no `own` yet, with its newline."""
    return _canonical(entry | {"own": sha256(_canonical(entry))}) + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The entry of a line without its newline; None unless it is byte for byte what `encode` would write."""
    try:
        entry = json.loads(line)
        own = entry.pop("own")
        whole = encode(entry) == line + b"\n"
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):  # no JSON, no object, no own hash
        return None
    good = whole and type(entry.get("n")) is int and isinstance(entry.get("before"), str)
    return entry | {"own": own} if good and isinstance(entry.get("what"), str) else None


def log_files(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def entries(folder: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """(line without its newline, entry) of every whole entry, oldest first; what is none is left out (see `verify`)."""
    for path in log_files(folder):
        for line in path.read_bytes().split(b"\n")[:-1]:
            entry = decode(line)
            if entry is not None:
                yield line, entry


class AuditLog:
    """The log, to be added to; several processes may, one at a time, by a lock on its folder.

    Bounds: a file takes `file_bytes`, `files_kept` of them stay; the oldest goes only behind an entry that says with
    which hash the chain that is kept begins.
    """

    def __init__(self, folder: Path, clock: Clock, file_bytes: int = FILE_BYTES, files_kept: int = FILES) -> None:
        """Make the folder if missing. Raises OSError when that fails."""
        self.folder, self._clock = Path(folder), clock
        self._file_bytes, self._files_kept = file_bytes, max(1, files_kept)
        make_folder(self.folder)
        self._seen: tuple[str, int] | None = None  # the last file's name and size when the next three were read
        self._n, self._head, self._torn = 0, FIRST, b""

    @property
    def head(self) -> tuple[int, str]:
        """Number and SHA-256 of the last line: what to note down elsewhere. (0, 64 zeros) of an empty log."""
        with self._alone():
            return self._n, self._head

    def append(self, what: str, **values: Any) -> dict[str, Any]:
        """Add one entry and flush it to disk; returns it. Raises OSError when it cannot be written: then it is not
        there, not even in part; ValueError for one that is too long or holds a NaN."""
        if clash := _RESERVED & values.keys():
            raise ValueError(f"an audit entry names {sorted(clash)} itself.")
        with self._alone():
            if self._torn:
                self._write(CONTINUED, {"torn_bytes": len(self._torn), "torn_sha256": sha256(self._torn)}, b"\n")
            entry = self._write(what, values)
            self._rotate()
        return entry

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with files.held(self.folder, "entry into the audit log", wait=True):
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        """Read where the chain ends, unless nobody has written since."""
        found = log_files(self.folder)
        now = (found[-1].name, found[-1].stat().st_size) if found else None
        if now == self._seen and not self._torn:
            return
        self._n, self._head, self._torn = 0, FIRST, b""
        for path in reversed(found):
            data = path.read_bytes()
            if path == found[-1] and not data.endswith(b"\n"):
                data, self._torn = _split_torn(data)
            lines = data.split(b"\n")[:-1]
            # What was altered is told by verify; the chain goes on from whatever stands there.
            after = 0
            for line in reversed(lines):
                entry = decode(line)
                if entry is not None:
                    self._n = entry["n"] + after
                    break
                after += 1
            if lines:
                self._head = sha256(lines[-1])
                break
        self._seen = now

    def _write(self, what: str, values: dict[str, Any], ahead: bytes = b"") -> dict[str, Any]:
        stamp = self._clock()
        head = {"n": self._n + 1, "at": stamp.iso, "monotonic": round(stamp.monotonic, 6), "clock": stamp.synchronised}
        entry = values | head | {"what": what, "before": self._head}
        line = encode(entry)
        if len(line) > MAX_ENTRY:
            raise ValueError(f"an audit entry {what!r} of {len(line)} bytes is too long.")
        path = self._file_for(len(ahead) + len(line))
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            size = os.fstat(handle).st_size
            if size == 0 and not ahead:
                owned_like(path, self.folder)
                files.sync_folder(self.folder)
            _write_whole(handle, ahead + line, size)
            self._seen = path.name, size + len(ahead) + len(line)
        finally:
            os.close(handle)
        self._n, self._head, self._torn = self._n + 1, sha256(line[:-1]), b""
        return entry

    def _file_for(self, size: int) -> Path:
        found = log_files(self.folder)
        if not found:
            return self.folder / "audit-00000001.jsonl"
        # A torn line and the entry that sets it aside stay together in one file.
        if self._torn or found[-1].stat().st_size + size <= self._file_bytes or found[-1].stat().st_size == 0:
            return found[-1]
        return self.folder / f"audit-{int(_NAME.fullmatch(found[-1].name)[1]) + 1:08d}.jsonl"

    def _rotate(self) -> None:
        found = log_files(self.folder)
        while len(found) > self._files_kept:
            first = next((e for e in map(decode, found[1].read_bytes().split(b"\n")) if e is not None), None)
            kept = {"kept_from": first["n"], "kept_before": first["before"]} if first else {}
            self._write(ROTATED, {"removed": found[0].name} | kept)
            found[0].unlink()
            files.sync_folder(self.folder)
            found = log_files(self.folder)


def _split_torn(data: bytes) -> tuple[bytes, bytes]:
    """What is whole, and what a power cut has left behind the last whole line."""
    end = len(data)
    while end > 0:
        end = data.rfind(b"\n", 0, end - 1) + 1 if end > 1 else 0
        begin = data.rfind(b"\n", 0, max(0, end - 1)) + 1
        if end and decode(data[begin : end - 1]) is not None:
            break
    return data[:end], data[end:]


def _write_whole(handle: int, data: bytes, size: int) -> None:
    """One write and a flush, or an OSError and the file as it was."""
    try:
        if os.write(handle, data) != len(data):  # the disk became full in the middle
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise
