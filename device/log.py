"""Lines for the journal, and the file with one row per judged frame."""

import csv
import errno
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device.errors import UserError

MAX_BYTES = 200_000_000  # some 2 million rows, 18 hours at 30 frames a second: so that no run fills the card
MAX_LINE = 1 << 16  # bytes; far more than any line here has


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

    Rows are appended to a record of earlier runs: the columns' header stands once at the top, and before the rows of
    each run a `# notice` line, which readers leave out. A file that is no such record is never touched. With the first
    row the file is opened or made. At MAX_BYTES, or once a row cannot be written (card full), nothing more is written
    and `say` is told once: a daemon must go on judging without its record.
    """

    def __init__(self, path: Path, notice: str, columns: Iterable[str], say=say) -> None:
        """Check the file, and write nothing yet. Raises UserError when it is no record with these columns."""
        self.path, self.rows, self._say = Path(path), 0, say
        self._notice, self._header = f"# {notice}\n".encode(), _csv_line(columns)
        self._file: io.FileIO | None = None
        self._size, self._ended = 0, False
        self._head()

    def add(self, values: Iterable[Any]) -> None:
        """Append one row; None is an empty cell and floats keep every digit.

        Raises UserError when, at the first row, the file cannot be made or is no record with these columns.
        """
        if self._ended:
            return
        if self._file is None:
            self._open()
        line = _csv_line(values)
        if self._size + len(line) > MAX_BYTES:
            self._end(f"it has reached its bound of {MAX_BYTES} bytes")
            return
        try:
            self._write(line)
        except OSError as error:
            self._end(error.strerror)
            return
        self.rows += 1

    def _open(self) -> None:
        head = self._head()
        try:
            self._file = open(self.path, "ab", buffering=0)  # unbuffered, for one write per row
            self._size = os.fstat(self._file.fileno()).st_size
            self._write(head)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); give another file.") from error

    def _head(self) -> bytes:
        """What has to stand before this run's first row, given what the file holds now."""
        try:
            # A device or pipe holds nothing that could be lost; reading it might never end.
            if not self.path.is_file() and not self.path.is_dir():
                return self._notice + self._header
            with open(self.path, "rb") as stream:
                header = stream.readline(MAX_LINE)
                while header.startswith(b"#"):
                    header = stream.readline(MAX_LINE)
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - MAX_LINE))
                tail = stream.read().rpartition(b"\n")[2]
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}); give another file.") from error
        if not header:
            return _ending(tail) + self._notice + self._header
        if header == self._header:
            return _ending(tail) + self._notice
        if self._header.startswith(header):  # power failed in the midst of it
            return self._header[len(header) :] + self._notice
        columns = self._header.decode().strip()
        raise UserError(f"{self.path}: exists and is no record with the columns {columns}; give another file.")

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        if written != len(data):  # the disk became full in the middle
            os.ftruncate(self._file.fileno(), self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _end(self, why: str) -> None:
        self._say(f"{self.path}: no further row is written: {why}.")
        self.close()

    def close(self) -> None:
        """Close the file; rows added later are left out."""
        self._ended = True
        if self._file is not None:
            self._file.close()


def _ending(tail: bytes) -> bytes:
    """What ends a last line that was cut off, so that the next line is one of its own: its open quote, a newline."""
    return b"" if not tail else b'"\n' if tail.count(b'"') % 2 else b"\n"


def _csv_line(values: Iterable[Any]) -> bytes:
    line = io.StringIO()
    # A file name may hold a newline, but a row must be one line: it is what readers and `_ending` go by.
    cells = [v.replace("\r", "\\r").replace("\n", "\\n") if isinstance(v, str) else v for v in values]
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode("utf-8", "backslashreplace")  # a file name need not be UTF-8
