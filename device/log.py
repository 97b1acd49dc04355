"""Lines for the journal, and the file with one row per judged frame."""

import csv
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device.errors import UserError

MAX_ROWS = 2_000_000  # about 18 hours at 30 frames a second, 200 MB: a bound, so that no run fills the card


def say(text: str) -> None:
    """One line on stdout, at once. Two threads may call it: a line goes out in one write."""
    sys.stdout.write(" ".join(text.splitlines()) + "\n")
    sys.stdout.flush()


def pairs(values: dict[str, Any]) -> str:
    """`key=value` with blanks between: None is `none`, floats have two decimals, what holds a blank is quoted."""
    return " ".join(f"{key}={_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    text = str(value).replace('"', "'")
    return f'"{text}"' if " " in text or not text else text


class RowFile:
    """A CSV file that holds whole lines whenever the process is killed: each row is one write of its own.

    The file is begun anew. After MAX_ROWS rows, or once a row cannot be written (card full), nothing more is
    written and `say` is told once: a daemon must go on judging without its record.
    """

    def __init__(self, path: Path, notice: str, columns: Iterable[str], say=say) -> None:
        """Write a `# notice` line and the header. Raises UserError when the file cannot be made."""
        self.path, self.rows, self._say = Path(path), 0, say
        head = f"# {notice}\n".encode() + _csv_line(columns)
        try:
            self._file = open(path, "wb", buffering=0)  # unbuffered, for one write per row
            self._file.write(head)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); give another file.") from error

    def add(self, values: Iterable[Any]) -> None:
        """Append one row; None is an empty cell and floats keep every digit."""
        if self._file.closed:
            return
        if self.rows >= MAX_ROWS:
            self._end(f"it holds {MAX_ROWS} rows")
            return
        line = _csv_line(values)
        try:
            written = self._file.write(line)
            if written != len(line):  # the disk became full in the middle of a row
                os.ftruncate(self._file.fileno(), self._file.tell() - written)
                self._end("the disk is full")
                return
        except OSError as error:
            self._end(error.strerror)
            return
        self.rows += 1

    def _end(self, why: str) -> None:
        self._say(f"{self.path}: no further row is written: {why}.")
        self.close()

    def close(self) -> None:
        """Close the file; rows added later are left out."""
        self._file.close()


def _csv_line(values: Iterable[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode("utf-8", "backslashreplace")  # a file name need not be UTF-8
