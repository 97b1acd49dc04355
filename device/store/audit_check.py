"""Is the audit log as it was written? Names the first line that is not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.store.audit import CONTINUED, FIRST, ROTATED, decode, log_files, sha256


@dataclass(frozen=True)
class Chain:
    """What was found. lines: whole entries from the oldest kept. head: SHA-256 of the last. torn: bytes at the very end
    that a power cut has left and the next entry will set aside. wrong: the first fault as one sentence, or None."""

    lines: int
    first: int | None
    last: int
    head: str
    torn: int
    wrong: str | None


def verify(folder: Path, known: dict[int, str] | None = None) -> Chain:
    """Read the whole log. known: hashes that were noted down elsewhere, by line number: each must be found there.

    Raises OSError when a file cannot be read.
    """
    chain = _Reading()
    found = log_files(folder)
    for path in found:
        chain.read(path.name, path.read_bytes(), path == found[-1])
        if chain.wrong:
            break
    wrong = chain.wrong or chain.beginning() or chain.missing(known or {})
    return Chain(chain.lines, chain.first, chain.n, chain.head, chain.torn, wrong)


class _Reading:
    """The chain so far."""

    def __init__(self) -> None:
        self.lines, self.first, self.n, self.head, self.torn = 0, None, 0, FIRST, 0
        self.wrong: str | None = None
        self._first_before = FIRST
        self._kept: set[tuple[int, str]] = set()
        self._hashes: dict[int, str] = {0: FIRST}

    def read(self, name: str, data: bytes, last: bool) -> None:
        at = number = 0
        while at < len(data) and self.wrong is None:
            number += 1
            end = data.find(b"\n", at)
            line = data[at:end] if end >= 0 else data[at:]
            entry = decode(line) if end >= 0 else None
            aside = self._set_aside(data, at)
            if aside is not None:
                number += data.count(b"\n", at, aside) - 1
                at = aside
                continue
            if entry is None:
                if end < 0 and last:  # may be followed by nothing: the next entry sets it aside
                    self.torn = len(line)
                else:
                    self.wrong = f"{name}, line {number}: was altered, or is no entry."
                return
            self._take(name, number, line, entry)
            at = end + 1

    def _set_aside(self, data: bytes, at: int) -> int | None:
        """Where the entry begins that sets aside the torn bytes from `at` on; None when they are none."""
        end = data.find(b"\n", at)
        while end >= 0:
            following = data.find(b"\n", end + 1)
            entry = decode(data[end + 1 : following]) if following >= 0 else None
            if entry is not None:
                torn = data[at:end]
                fits = entry["what"] == CONTINUED and entry["before"] == self.head and len(torn) > 0
                fits = fits and entry.get("torn_bytes") == len(torn) and entry.get("torn_sha256") == sha256(torn)
                return end + 1 if fits else None
            end = following
        return None

    def _take(self, name: str, number: int, line: bytes, entry: dict[str, Any]) -> None:
        where = f"{name}, line {number} (entry {entry['n']})"
        if self.first is None:
            self.first, self._first_before, self.n, self.head = entry["n"], entry["before"], entry["n"] - 1, None
        if self.head is not None and entry["n"] != self.n + 1:
            self.wrong = f"{where}: entry {self.n + 1} should stand here; lines were removed, inserted or exchanged."
        elif self.head is not None and entry["before"] != self.head:
            self.wrong = f"{where}: does not follow the line before; that line was altered, or this one was put there."
        if entry["what"] == ROTATED and "kept_from" in entry:
            self._kept.add((entry["kept_from"], entry["kept_before"]))
        self.lines, self.n, self.head = self.lines + 1, entry["n"], sha256(line)
        self._hashes[self.n] = self.head

    def beginning(self) -> str | None:
        """The fault of the chain's first line: older ones may be gone only when a later entry says so."""
        if self.first is None or (self.first == 1 and self._first_before == FIRST):
            return None
        if (self.first, self._first_before) in self._kept:
            return None
        return f"the log begins with entry {self.first}, and no later entry says that those before it were removed."

    def missing(self, known: dict[int, str]) -> str | None:
        """The fault of the first known hash that the log has not."""
        for n, noted in sorted(known.items()):
            if n > self.n:
                return f"the log ends with entry {self.n}, but entry {n} was written once; its end was removed."
            if (self.first or 1) <= n and self._hashes.get(n) != noted:
                return f"entry {n}: has another hash than was noted down; the log was rewritten."
        return None
