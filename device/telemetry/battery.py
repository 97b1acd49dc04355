"""The battery that the machine runs on, where one can be asked: each kind of gauge is optional.

Asked in this order, the first that answers counts: the kernel's power_supply class; PiSugar's server; a fuel gauge of
the MAX17040 family on the I2C bus of the GPIO header. What does not answer any more is unknown at the next asking.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.telemetry import gauge, pisugar, read

_CHARGING = {"Charging": True, "Full": True, "Discharging": False, "Not charging": False}


@dataclass(frozen=True)
class Battery:
    """One reading; each is None where it is unknown.

    percent: 0..100 of what it holds when full. volts: at its poles. charging: is more put in than drawn, or is it full
    and at the mains? minutes_left: until it is empty, as the gauge estimates. watts: drawn from it, 0 or more; None
    while it charges. source: the gauge.
    """

    percent: float | None
    volts: float | None
    charging: bool | None
    minutes_left: float | None
    watts: float | None
    source: str


class Gauges:
    """Looks for a battery, at most once in `every_s` seconds of `clock`."""

    def __init__(
        self,
        root: Path = Path("/"),
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        readers: tuple[Callable[[Path], Battery | None], ...] | None = None,
    ) -> None:
        """root: stands before sys/, dev/ and tmp/ (tests give a folder of their own). readers: asked in this order."""
        self._root, self._every_s, self._clock = Path(root), every_s, clock
        self._readers = (power_supply, from_pisugar, from_gauge) if readers is None else readers
        self._asked_at = -math.inf
        self._last: Battery | None = None

    def sample(self) -> Battery | None:
        """The battery as it was last asked; None when no gauge answered. Never raises because of one.

        A fraction of a millisecond without PiSugar's server, and never more than pisugar.TIMEOUT_S with it.
        """
        now = self._clock()
        if now - self._asked_at >= self._every_s:
            self._asked_at = now
            self._last = next(filter(None, (reader(self._root) for reader in self._readers)), None)
        return self._last


def power_supply(root: Path) -> Battery | None:
    """The first battery of the power_supply class that says anything: Documentation/ABI/testing/sysfs-class-power.

    One with the scope "Device" is a wireless mouse's or headset's. Units: microvolts, microamperes, microwatts,
    seconds.
    """
    for folder in read.folders(root / "sys/class/power_supply", "*"):
        if read.text(folder / "type") != "Battery" or read.text(folder / "scope") == "Device":
            continue
        if read.text(folder / "present") == "0":
            continue
        percent = read.scaled(folder / "capacity", 1.0, 0.0, 100.0)
        volts = read.scaled(folder / "voltage_now", 1e6, 0.5, 100.0)
        charging = _CHARGING.get(read.text(folder / "status") or "")
        if (percent, volts, charging) == (None, None, None):
            continue
        watts = _watts(folder, volts) if charging is False else None
        minutes = _minutes(folder) if charging is False else None
        return Battery(percent, volts, charging, minutes, watts, f"power_supply:{folder.name}")
    return None


def _watts(folder: Path, volts: float | None) -> float | None:
    power = read.scaled(folder / "power_now", 1e6, -1e3, 1e3)
    if power is not None:
        return abs(power)  # some drivers give what is drawn a minus
    amperes = read.scaled(folder / "current_now", 1e6, -1e3, 1e3)
    return None if amperes is None or volts is None else abs(amperes) * volts


def _minutes(folder: Path) -> float | None:
    for name in ("time_to_empty_now", "time_to_empty_avg"):
        seconds = read.scaled(folder / name, 1.0, 1.0, 1e7)
        if seconds is not None:
            return seconds / 60.0
    for held, drawn in (("energy_now", "power_now"), ("charge_now", "current_now")):
        left = read.scaled(folder / held, 1.0, 0.0, 1e12)
        rate = read.scaled(folder / drawn, 1.0, -1e12, 1e12)
        if left is not None and rate:
            return 60.0 * left / abs(rate)
    return None


def from_pisugar(root: Path, timeout_s: float = pisugar.TIMEOUT_S) -> Battery | None:
    """What PiSugar's server says; None when it is not there or does not answer in time."""
    said = pisugar.ask(root / pisugar.SOCKET, timeout_s)
    if said is None:
        return None
    percent = read.within(read.number(said.get("battery")), 0.0, 100.0)
    volts = read.within(read.number(said.get("battery_v")), 0.5, 100.0)
    if percent is None and volts is None:
        return None
    truths = {"true": True, "false": False}
    charging = truths.get(said.get("battery_charging", ""))
    if truths.get(said.get("battery_power_plugged", "")):  # newer models: full and at the mains is not `charging`
        charging = True
    amperes = read.within(read.number(said.get("battery_i")), -20.0, 20.0)
    # Only the older models measure a current; the others answer 0, which no running computer draws.
    watts = abs(amperes) * volts if charging is False and amperes and volts is not None else None
    return Battery(percent, volts, charging, None, watts, "pisugar")


def from_gauge(root: Path) -> Battery | None:
    """What a MAX17040-family gauge on the GPIO header says; it knows neither current nor whether it charges."""
    found = gauge.ask(root / gauge.BUS)
    return None if found is None else Battery(*found, None, None, None, "max17040")
