"""Reads the configuration file, strictly: whatever is wrong there is told in one sentence with its line."""

import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device import schema
from device.config.field import WrongValue
from device.config.lines import find, lines_of
from device.config.settings import KEYS, SECTIONS
from device.errors import UserError, nearest

FILE = Path("/etc/busi-kd/config.toml")
NO_FILE = Path("none")  # given as the file: do without
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Found:
    """What a file says. values: by dotted key, those that are right. lines: of these keys. problems: sentences, each
    with file and line, in the file's order."""

    path: Path
    values: dict[str, Any]
    lines: dict[str, int]
    problems: tuple[str, ...]


def read(path: Path | None) -> Found | None:
    """The values of the file `path`; without one those of FILE. None where that is missing, and for NO_FILE.

    Raises UserError when it cannot be read, is no TOML, or holds anything wrong: the first problem and how many more.
    """
    found = examine(path)
    if found is not None and found.problems:
        first, *more = found.problems
        there_are = f" {len(more)} more: busi-kd device config check {found.path} lists them." if more else ""
        raise UserError(first + there_are)
    return found


def examine(path: Path | None) -> Found | None:
    """As `read`, but problems of keys and values are told in the answer instead of raised."""
    text = None if path == NO_FILE else _text(path or FILE, must_be=path is not None)
    return None if text is None else parse(text, path or FILE)


def parse(text: str, path: Path) -> Found:
    """The same for a text; path: what it is called. Raises UserError when it is no TOML."""
    text = text.removeprefix("\ufeff")  # what Windows editors write before the first line
    try:
        data = tomllib.loads(text)
        lines = lines_of(text.replace("\r\n", "\n"))
    except RecursionError:
        raise UserError(f"{path}: is nested too deep to be read; see busi-kd device config example.") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is what Python says of a number of 5000 digits
        raise UserError(_no_toml(path, error, text)) from error
    values: dict[str, Any] = {}
    problems: list[tuple[int, str]] = []

    def wrong(where: tuple[str, ...], sentence: str) -> None:
        line = find(lines, where)
        problems.append((line or 0, f"{path}, line {line}: {sentence}"))

    for section, table in data.items():
        if section not in SECTIONS:
            wrong((section,), _unknown_section(section, table))
        elif not isinstance(table, dict):
            wrong((section,), f"{section} is {schema.shown(table)}, but it is a section: write [{section}] in a line.")
        else:
            for name, raw in table.items():
                dotted = f"{section}.{name}"
                if dotted not in KEYS:
                    wrong((section, name), _unknown_key(section, name))
                    continue
                try:
                    values[dotted] = KEYS[dotted].spec.read(raw)
                except WrongValue as error:
                    wrong((section, name), f"{dotted} is {schema.shown(raw)}, which {error}.")
    known = {dotted: find(lines, tuple(dotted.split("."))) for dotted in values}
    return Found(path, values, known, tuple(sentence for _, sentence in sorted(problems, key=lambda one: one[0])))


def _text(path: Path, must_be: bool) -> str | None:
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # reading a pipe or a device might never end
            what = "a folder" if stat.S_ISDIR(kind) else "no ordinary file"
            raise UserError(f"{path}: is {what}; give a configuration file (TOML).")
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        if not must_be:
            return None
        raise UserError(f"{path}: no such configuration file; busi-kd device config example prints one.") from error
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{schema.shown(str(path))}: is no name of a file; give a configuration file.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct that, or give another file.") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES} bytes, so it is no configuration file; give another.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: is not written in UTF-8; save the file in that encoding.") from error


def _no_toml(path: Path, error: ValueError, text: str) -> str:
    said = " ".join(str(error).split())
    at = re.search(r" \((?:at line (\d+), column (\d+)|at end of document)\)$", said)
    if at is None:
        return f"{path}: is no TOML ({said[:200]}); see busi-kd device config example."
    line, place = (at[1], f"in column {at[2]}") if at[1] else (len(text.splitlines()), "at the end of the file")
    what = f"{said[: at.start()][:200]} {place}"
    return f'{path}, line {line}: is no TOML ({what}); texts and quantities stand in quotes, such as "500 ms".'


def _unknown_section(name: str, value: Any) -> str:
    shown = schema.shown(name)
    if isinstance(value, dict):
        return f"unknown section [{_plain(name)}]{nearest(name, list(SECTIONS))}; remove it or correct its name."
    owners = [one.section for one in KEYS.values() if one.name == name]
    if owners:
        return f"the key {shown} stands outside of a section; put it below the line [{owners[0]}]."
    return f"unknown key {shown} outside of a section; remove it, or put it below its section's line."


def _unknown_key(section: str, name: str) -> str:
    own = [one.name for one in KEYS.values() if one.section == section]
    owners = [one.section for one in KEYS.values() if one.name == name]
    if owners:
        return f"the key {schema.shown(name)} is none of [{section}]; it belongs below the line [{owners[0]}]."
    return f"unknown key {schema.shown(name)} in [{section}]{nearest(name, own)}; remove it or correct its name."


def _plain(name: str) -> str:
    shown = schema.shown(name)
    return name if shown == f"'{name}'" else shown
