"""What the Raspberry Pi's firmware says of throttling and of the clock.

Sources, the next one only when the one before has no answer
    `vcgencmd get_throttled`, Raspberry Pi documentation, "vcgencmd": bits 0 to 3 are the state now, bits 16 to 19 the
    same events since boot. The kernel's `rpi_volt` hwmon driver (raspberrypi-hwmon.c): under-voltage alone. The sysfs
    file `get_throttled` of the firmware driver: the same bits in hexadecimal without 0x; deprecated, and the kernel
    writes a warning with a stack trace into its log when it is first read, hence the last resort.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from device.telemetry import read

SINCE_BOOT = "-since-boot"
_THROTTLE_BITS = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
_DEPRECATED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_VCGENCMD_TIMEOUT_S = 1.0


class Firmware:
    """Asks at most once in `every_s` seconds of `clock`: `vcgencmd` is a process to start."""

    def __init__(self, root: Path, every_s: float, clock: Callable[[], float]) -> None:
        self._root, self._every_s, self._clock = root, every_s, clock
        self._vcgencmd = shutil.which("vcgencmd")
        self._asked_at = -math.inf
        self._flags: tuple[str, ...] | None = None
        self._last_resort: tuple[str, ...] | None = None
        self._mhz: float | None = None

    def ask(self, requested_mhz: float | None) -> tuple[tuple[str, ...] | None, float | None]:
        """(names of the set throttle flags, clock in MHz), each None when nothing answers.

        requested_mhz: what the kernel requests. It is the fact unless the firmware overrides it, and the flags say when
        it does; then the clock is what the firmware measures.
        """
        now = self._clock()
        due = now - self._asked_at >= self._every_s
        if due:
            self._asked_at = now
            self._ask_vcgencmd(requested_mhz)
        flags = self._under_voltage() if self._flags is None else self._flags
        if flags is None:
            if due:
                word = read.text(self._root / _DEPRECATED)
                self._last_resort = None if word is None else parse_throttled(f"throttled=0x{word}")
            flags = self._last_resort
        return flags, requested_mhz if self._mhz is None else self._mhz

    def _under_voltage(self) -> tuple[str, ...] | None:
        for chip in read.folders(self._root / "sys/class/hwmon", "hwmon*"):
            if read.text(chip / "name") == "rpi_volt":
                alarm = read.number(read.text(chip / "in0_lcrit_alarm"))
                return {0.0: (), 1.0: ("under-voltage",)}.get(alarm)
        return None

    def _ask_vcgencmd(self, requested_mhz: float | None) -> None:
        if self._vcgencmd is None:
            return
        self._flags = parse_throttled(self._run("get_throttled"))
        held_back = any(not flag.endswith(SINCE_BOOT) for flag in self._flags or ())
        self._mhz = None
        if held_back or requested_mhz is None:
            answer = self._run("measure_clock", "arm").strip()
            match = re.fullmatch(r"frequency\(\d+\)=(\d{1,12})", answer)
            self._mhz = int(match[1]) / 1e6 if match and int(match[1]) > 0 else None

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self._vcgencmd, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_VCGENCMD_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode(errors="replace")


def parse_throttled(text: str) -> tuple[str, ...] | None:
    """What `vcgencmd get_throttled` printed -> names of the set flags, those of now first; None: no answer.

    `throttled=0x50005` -> ("under-voltage", "throttled", "under-voltage-since-boot", "throttled-since-boot").
    """
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", text.strip())
    if match is None:
        return None
    bits = int(match[1], 16)
    now = [name for i, name in enumerate(_THROTTLE_BITS) if bits >> i & 1]
    return (*now, *(name + SINCE_BOOT for i, name in enumerate(_THROTTLE_BITS, 16) if bits >> i & 1))
