"""In which line of a TOML file a key stands: tomllib gives the values alone.

A scanner for texts that tomllib has taken: it checks nothing, and only finds its way over comments, strings, arrays and
inline tables (TOML 1.0, toml.io/en/v1.0.0). tests/device/test_config_lines.py holds it against tomllib.
"""

import re
import tomllib
from typing import Any

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # also what may stand between the values of an array
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")  # numbers, dates (one may hold a blank) and words
_STRINGS = (  # the long ones first; up to two quotes may stand before the closing three
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)


def lines_of(text: str) -> dict[Path, int]:
    """Every table, key and array element of a valid TOML text -> its line, from 1 on (of a table the first naming it).

    A path is made of keys and, for elements of arrays, indices from 0 on. Nothing is promised of other texts.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.lines = text, 0, {}
        self._counted_to, self._line = 0, 1
        self._tables: dict[Path, int] = {}  # arrays of tables -> the last index

    def document(self) -> None:
        table: Path = ()
        while self._skip(_BETWEEN) < len(self.text):
            if self._peek("[["):
                self.at += 2
                names = self._key()
                parent = self._resolved(names[:-1])
                array = (*parent, names[-1])
                self._note(array)
                self._tables[array] = self._tables.get(array, -1) + 1
                table = (*array, self._tables[array])
                self._note(table)
                self.at += 2
            elif self._peek("["):
                self.at += 1
                table = self._resolved(self._key())
                self.at += 1
            else:
                self._pair(table)

    def _resolved(self, names: list[str]) -> Path:
        """The path that a header means: below an array of tables, its last element."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            self._note(path)
            if path in self._tables:
                path = (*path, self._tables[path])
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for name in self._key():
            path = (*path, name)
            self._note(path)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        """The parts of a dotted key; stops at what follows it."""
        names = []
        while True:
            self._skip(_BLANK)
            bare = _BARE_KEY.match(self.text, self.at)
            if bare is not None:
                names.append(bare[0])
                self.at = bare.end()
            else:
                start = self.at
                self._string()
                names.append(tomllib.loads(f"k = {self.text[start : self.at]}")["k"])  # its escapes undone
            self._skip(_BLANK)
            if not self._peek("."):
                return names
            self.at += 1

    def _value(self, path: Path) -> None:
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline(path)
        elif self._peek('"') or self._peek("'"):
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_BETWEEN)
            if self._peek("]"):
                break
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._skip(_BETWEEN)
            if self._peek(","):
                self.at += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self._peek("}"):
                break
            self._pair(path)
            self._skip(_BLANK)
            if self._peek(","):
                self.at += 1
        self.at += 1

    def _string(self) -> None:
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                return
        raise ValueError(f"no string at {self.at}")

    def _note(self, path: Path) -> None:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        self.lines.setdefault(path, self._line)

    def _peek(self, what: str) -> bool:
        if self.at >= len(self.text):
            raise ValueError("the text ends too early")
        return self.text.startswith(what, self.at)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self.at = pattern.match(self.text, self.at).end()
        return self.at


def find(lines: dict[Path, int], path: Path) -> int | None:
    """The line of `path`, or of the nearest table around it that is known; None for the whole file."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def leaves(data: Any, path: Path = ()) -> list[Path]:
    """Every path in parsed TOML: tables, keys and array elements, itself (when it is not the root) in front."""
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        found += leaves(value, (*path, name))
    return found
