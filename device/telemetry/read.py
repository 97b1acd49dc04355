"""Small files of /proc and /sys, read so that nothing in them can raise: what is no answer is None."""

import math
import re
from pathlib import Path


def text(path: Path) -> str | None:
    """A small file's text without outer blanks and NULs, or None when it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip(" \t\r\n\0")
    except OSError:  # absent, vanished under our hands, or a driver that answers EIO
        return None


def folders(parent: Path, pattern: str) -> list[Path]:
    """What `pattern` matches in `parent`, sorted; none when it cannot be read."""
    try:
        return sorted(parent.glob(pattern))
    except OSError:
        return []


def number(word: str | None) -> float | None:
    """The finite number that `word` writes, or None."""
    try:
        value = float(word or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def within(value: float | None, low: float, high: float) -> float | None:
    """`value` itself when it lies in low..high, else None: a broken sensor, no measurement."""
    return value if value is not None and low <= value <= high else None


def scaled(path: Path, per_unit: float, low: float, high: float) -> float | None:
    """The number in `path` divided by `per_unit`, or None when it is none or outside low..high."""
    value = number(text(path))
    return None if value is None else within(value / per_unit, low, high)


def kib_as_mib(path: Path, key: str) -> float | None:
    """`Key:   1234 kB` in `path` as MiB."""
    match = re.search(rf"^{key}:\s+(\d{{1,15}}) kB$", text(path) or "", re.MULTILINE)
    return int(match[1]) / 1024 if match else None
