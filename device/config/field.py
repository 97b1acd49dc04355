"""What one key of the configuration takes: its kind, its range, what it is for; read from TOML and written as TOML."""

import dataclasses
import ipaddress
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from device.config.quantity import Kind, WrongQuantity
from device.errors import nearest

_FRAME_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_CUT = re.compile(r"([0-9]{1,5})x([0-9]{1,5})\+([0-9]{1,5})\+([0-9]{1,5})@([0-9]{1,5})x([0-9]{1,5})")
_PLAIN = {
    "count": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "path": "a path in quotes",
    "listen": 'an IP address of this machine in quotes, such as "127.0.0.1", or "lan"',
    "frame size": 'WIDTHxHEIGHT in pixels and in quotes, such as "1280x720"',
    "region": 'WIDTHxHEIGHT+X+Y@FRAMEWIDTHxFRAMEHEIGHT in pixels and in quotes, such as "640x480+320+120@1280x720"',
}


class WrongValue(ValueError):
    """A value does not suit its key; str() goes on from `KEY is VALUE, which `, without a full stop."""


@dataclass(frozen=True)
class Spec:
    """The rule of one key.

    kind: of quantity, or one of the plain ones; a `word` is one of `choices`, `listen` an IP address or lan, a
    `frame size` a pair of pixels, and a `region` the text of a rectangle that lies within its frame. A `text` matches
    `pattern` as a whole; `shape` says in words what that is.
    about: for the example file. low, high: the range, both ends included, in the held unit. zero: what 0 means, where
    it is allowed although it lies outside the range. unset: the word that stands for None. Without `unset` there is
    always a value.
    """

    kind: Kind | Literal["count", "number", "flag", "word", "path", "text", "listen", "frame size", "region"]
    about: str
    low: float | None = None
    high: float | None = None
    zero: str | None = None
    unset: str | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    shape: str = ""

    def read(self, raw: Any) -> Any:
        """A value of TOML -> the one that the settings hold. Raises WrongValue."""
        if self.unset is not None and raw == self.unset:
            return None
        if isinstance(self.kind, Kind):
            value = self._quantity(raw)
        else:
            value = self._plain(raw)
        self.check(value)
        return value

    def check(self, value: Any) -> None:
        """Raise WrongValue for a number outside the range; value: as the settings hold it, of any kind."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value)

    def write(self, value: Any) -> str:
        """The TOML text that `read` makes `value` of."""
        if value is None:
            return quoted(self.unset)
        if isinstance(self.kind, Kind):
            return quoted(self.kind.write(value))
        if self.kind == "flag":
            return "true" if value else "false"
        if self.kind in ("count", "number"):
            return repr(value)
        if self.kind == "frame size":
            return quoted("{}x{}".format(*value))
        text = str(value)
        return quoted(f"./{text}" if text == self.unset else text)  # a file may be called `none`

    def takes(self) -> str:
        """What may be written there, for the example file: kinds, units, range, special words."""
        if isinstance(self.kind, Kind):
            said = f"{self.kind.name} in {', '.join(self.kind.units)}"
        elif self.kind == "word":
            said = " | ".join(map(quoted, self.choices))
        elif self.kind == "text":
            said = self.shape
        else:
            said = _PLAIN[self.kind]
        if self.low is not None:
            said += f", {self._shown(self.low)} to {self._shown(self.high)}"
        if self.zero is not None:
            said += f", or {self._shown(0)}: {self.zero}"
        if self.unset is not None:
            said += f", or {quoted(self.unset)}"
        return said

    def _quantity(self, raw: Any) -> float | int:
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            raw = str(raw) if isinstance(raw, float) and math.isfinite(raw) else "1"  # the sentence: it has no unit
        if not isinstance(raw, str):
            raise WrongValue(f"is no {self.kind.name}: write one in quotes, such as {self.kind.example!r}")
        try:
            return self.kind.parse(raw)
        except WrongQuantity as error:
            or_unset = "" if self.unset is None else f", or {self.unset!r}"
            raise WrongValue(f"{error}{or_unset}") from error

    def _plain(self, raw: Any) -> Any:
        if self.kind == "word":
            if raw not in self.choices:
                hint = nearest(raw, list(self.choices)) if isinstance(raw, str) else ""
                raise WrongValue(f"is not {_either(self.choices)}{hint}")
            return raw
        if self.kind == "text":
            if not isinstance(raw, str) or re.fullmatch(self.pattern, raw) is None:
                raise WrongValue(f"is not {self.shape}{self._or_unset()}")
            return raw
        if self.kind == "frame size":
            match = _FRAME_SIZE.fullmatch(raw) if isinstance(raw, str) else None
            if match is None:
                raise WrongValue(f"is not {_PLAIN[self.kind]}{self._or_unset()}")
            return int(match[1]), int(match[2])
        if self.kind == "region":
            match = _CUT.fullmatch(raw) if isinstance(raw, str) else None
            if match is None:
                raise WrongValue(f"is not {_PLAIN[self.kind]}{self._or_unset()}")
            width, height, x, y, frame_width, frame_height = map(int, match.groups())
            if min(width, height) < 1 or x + width > frame_width or y + height > frame_height:
                raise WrongValue(f"does not lie within its frame of {frame_width}x{frame_height} pixels")
            return raw
        if self.kind == "path":
            return self._path(raw)
        if self.kind == "listen":
            return _listen(raw)
        wanted = {"count": (int,), "number": (int, float), "flag": (bool,)}[self.kind]
        if type(raw) not in wanted or (isinstance(raw, float) and not math.isfinite(raw)):
            raise WrongValue(f"is not {_PLAIN[self.kind]}")
        if self.kind == "number":
            try:
                return float(raw) + 0.0
            except OverflowError:
                raise WrongValue("is far too large") from None
        return raw

    def _path(self, raw: Any) -> Path:
        if not isinstance(raw, str):
            raise WrongValue(f"is not {_PLAIN['path']}{self._or_unset()}")
        if not raw.strip() or "\0" in raw:
            raise WrongValue(f"names no file: write {_PLAIN['path']}{self._or_unset()}")
        if raw.startswith("~"):
            raise WrongValue("begins with ~, which nothing replaces here: write the whole path")
        return Path(raw)

    def _or_unset(self) -> str:
        return "" if self.unset is None else f", or {self.unset!r}"

    def _check_range(self, value: float) -> None:
        if self.low is None or self.low <= value <= self.high or (self.zero is not None and value == 0):
            return
        zero = "" if self.zero is None else f", or {self._shown(0)}: {self.zero}"
        raise WrongValue(f"lies outside {self._shown(self.low)} to {self._shown(self.high)}{zero}")

    def _shown(self, value: float) -> str:
        return self.kind.write(value) if isinstance(self.kind, Kind) else f"{value:g}"


def key(default: Any, kind: Any, about: str, **limits: Any) -> Any:
    """A field of a section's dataclass; `limits` are those of Spec."""
    return dataclasses.field(default=default, metadata={"spec": Spec(kind, about, **limits)})


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _listen(raw: Any) -> str:
    """`lan`, or an IP address as text."""
    try:
        return raw if raw == "lan" else str(ipaddress.ip_address(raw if isinstance(raw, str) else ""))
    except ValueError:
        raise WrongValue(f"is not {_PLAIN['listen']}") from None


def _either(words: tuple[str, ...]) -> str:
    return ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"
