"""Quantities as people write them, `500 ms` or `2 GB`: a number and a unit, in a text, read and written exactly.

Decimal throughout: what is written for a value reads back as the same float, bit by bit.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, localcontext

from device.errors import nearest

_NUMBER = re.compile(r"([+-]?[0-9]{1,40}(?:\.[0-9]{1,400})?)\s*(.*)", re.DOTALL)
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+\s*[^0-9,]*")
_DIGITS = 800  # more than any float has, so that no product is rounded before it becomes one


class WrongQuantity(ValueError):
    """A text is no quantity of the kind that is wanted; str() goes on from `KEY is VALUE`, without a full stop."""


@dataclass(frozen=True)
class Kind:
    """One kind of quantity. units: name -> factor to the unit in which it is held, of which the first has factor 1.

    suffix: what a field's name ends in that holds such a value. whole: only whole numbers of the held unit.
    spellings: other ways to write a unit.
    """

    name: str
    units: dict[str, Decimal]
    example: str
    suffix: str = ""
    whole: bool = False
    spellings: dict[str, str] | None = None

    def parse(self, text: str) -> float | int:
        """The value of `text` in the held unit. Raises WrongQuantity for another unit, none, or no number."""
        if _COMMA.fullmatch(text.strip()):
            raise WrongQuantity("has a comma: write a point there, such as '0.5'")
        match = _NUMBER.fullmatch(text.strip())
        if match is None:
            raise WrongQuantity(f"is no {self.name}: write a number and its unit, such as {self.example!r}")
        number, unit = match[1], match[2]
        unit = (self.spellings or {}).get(unit, unit)
        if unit not in self.units:
            raise WrongQuantity(self._wrong_unit(unit))
        with localcontext() as context:
            context.prec = _DIGITS
            value = Decimal(number) * self.units[unit]
            if self.whole and value != value.to_integral_value():
                raise WrongQuantity(f"is no whole number of {next(iter(self.units))}")
        return int(value) if self.whole else float(value) + 0.0  # -0 is 0

    def write(self, value: float) -> str:
        """A text that `parse` reads back as exactly `value`: without a point where that goes, and then the shortest."""
        if value == 0:
            return f"0 {next(iter(self.units))}"
        texts = []
        with localcontext() as context:
            context.prec = _DIGITS
            exact = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
            for unit, factor in self.units.items():
                number = exact / factor
                if number * factor == exact:
                    plain = format(number, "f")
                    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
                    texts.append(("." in plain, len(plain), f"{plain} {unit}"))
        return min(texts)[2]

    def _wrong_unit(self, unit: str) -> str:
        known = ", ".join(self.units)
        if not unit:
            return f"has no unit: write it in {known}, such as {self.example!r}"
        other = next((kind for kind in KINDS if unit in kind.units or unit in (kind.spellings or {})), None)
        if other is not None:
            return f"is a {other.name}, where a {self.name} is wanted ({known}), such as {self.example!r}"
        what = unit if len(unit) <= 20 else unit[:17] + "..."
        hint = nearest(what, [*self.units, *(self.spellings or {})])
        return f"has the unknown unit {what!r}{hint}: write it in {known}, such as {self.example!r}"


def _factors(**units: str) -> dict[str, Decimal]:
    return {name: Decimal(factor) for name, factor in units.items()}


DURATION = Kind(
    "duration",
    _factors(s="1", ms="0.001", min="60", h="3600", days="86400"),
    "500 ms",
    suffix="_s",
    spellings={"day": "days", "d": "days"},
)
SIZE = Kind(
    "size",
    _factors(B="1", kB="1e3", MB="1e6", GB="1e9", TB="1e12")
    | {f"{letter}iB": Decimal(1024) ** power for power, letter in enumerate("KMGT", 1)},
    "500 MB",
    suffix="_bytes",
    whole=True,
)
TEMPERATURE = Kind("temperature", _factors(C="1"), "75 C", suffix="_c", spellings={"°C": "C"})
RATE = Kind("rate", _factors(fps="1"), "30 fps", suffix="_fps")
SHARE = Kind("share", {"%": Decimal(1)}, "20 %", suffix="_percent")  # held in percent, as gauges tell it
KINDS = (DURATION, SIZE, TEMPERATURE, RATE, SHARE)
