"""The machine's health from /proc, /sys and the Raspberry Pi firmware, read without any library.

None is what a machine has no sensor for, and a sensor that vanished or holds rubbish: unknown, never good.

Sources
    CPU time, memory: proc(5). Temperature: the kernel's thermal and hwmon sysfs. Clock: cpufreq sysfs.
    Throttling: `vcgencmd get_throttled`, Raspberry Pi documentation, "vcgencmd": bits 0 to 3 are the state
    now, bits 16 to 19 the same events since boot. Without it: the kernel's `rpi_volt` hwmon driver.
"""

import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SINCE_BOOT = "-since-boot"
_THROTTLE_BITS = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
# Only what is known to sit in the processor: another zone may be the radio's or the battery's.
_CPU_SENSORS = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp", "coretemp", "k10temp")
_CLOCK_KHZ = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
_VCGENCMD_TIMEOUT_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Health:
    """One sample; each field is None where the machine has no such sensor or it could not be read.

    cpu_percent: the whole machine since the last sample, 0..100. process_cpu_percent: this process and its
    children since the last sample, 100 = one core. temperature_c: the processor, degrees Celsius.
    memory_rss_mb, memory_available_mb: this process's resident memory, the machine's available memory, MiB.
    clock_mhz: what the kernel requests; while the firmware holds the processor back, what that measures.
    throttled: names of the flags that are set, () when there is a sensor and it has nothing to report
    (`vcgencmd` knows all of them, the hwmon driver that stands in for it under-voltage alone).
    """

    cpu_percent: float | None
    process_cpu_percent: float | None
    temperature_c: float | None
    memory_rss_mb: float | None
    memory_available_mb: float | None
    clock_mhz: float | None
    throttled: tuple[str, ...] | None


class Telemetry:
    """Samples one machine and the calling process. Not thread-safe: it holds the last sample's counters."""

    def __init__(
        self,
        root: Path = Path("/"),
        firmware_every_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """root: stands before proc/ and sys/ (tests give a folder of their own).

        firmware_every_s: `vcgencmd` is a process to start, so it is asked at most once in this time; 0 asks
        it in every sample. clock: seconds, never going back.
        """
        self._root, self._firmware_every_s, self._clock = Path(root), firmware_every_s, clock
        self._vcgencmd = shutil.which("vcgencmd")
        self._asked_at = -math.inf
        self._firmware_flags: tuple[str, ...] | None = None
        self._firmware_mhz: float | None = None
        self._machine, self._process = self._machine_ticks(), self._process_ticks()

    def sample(self) -> Health:
        """The health now; percentages cover the time since the last call (at first: since the construction).

        Never raises because of a sensor. Takes well below a millisecond, some more when `vcgencmd` is asked.
        """
        machine, process = self._machine_ticks(), self._process_ticks()
        cpu = _share(self._machine, machine)
        process_cpu = _share(self._process, process, most=math.inf)
        self._machine, self._process = machine, process
        requested_mhz = _scaled(self._root / _CLOCK_KHZ, 1e3, 1.0, 1e5)
        self._ask_firmware(requested_mhz)
        return Health(
            cpu,
            process_cpu,
            self._temperature_c(),
            _kib_as_mib(self._root / "proc/self/status", "VmRSS"),
            _kib_as_mib(self._root / "proc/meminfo", "MemAvailable"),
            requested_mhz if self._firmware_mhz is None else self._firmware_mhz,
            self._under_voltage() if self._firmware_flags is None else self._firmware_flags,
        )

    def _machine_ticks(self) -> tuple[float, float] | None:
        """(busy, all) ticks of all cores since boot."""
        words = (_read(self._root / "proc/stat") or "").partition("\n")[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        # user nice system idle iowait irq softirq steal; the guest columns behind them are in user already.
        ticks = [_number(word) for word in words[1:9]]
        if None in ticks:
            return None
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _process_ticks(self) -> tuple[float, float] | None:
        """(CPU ticks of this process and its children, ticks of the clock on the wall) since boot."""
        uptime = _number(((_read(self._root / "proc/uptime") or "").split() or [""])[0])
        own = self._stat_ticks("self")
        if uptime is None or own is None:
            return None
        for task in _folders(self._root / "proc/self/task", "*"):
            for child in (_read(task / "children") or "").split():  # absent in some kernels: own time only
                own += (self._stat_ticks(child) or 0.0) if child.isdecimal() else 0.0
        return own, uptime * _TICKS_PER_S

    def _stat_ticks(self, pid: str) -> float | None:
        """User and system ticks of a process and of the children it has reaped."""
        text = _read(self._root / "proc" / pid / "stat") or ""
        words = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
        ticks = [_number(word) for word in words[11:15]]
        return None if len(ticks) < 4 or None in ticks else sum(ticks)

    def _temperature_c(self) -> float | None:
        zones = _folders(self._root / "sys/class/thermal", "thermal_zone*")
        chips = _folders(self._root / "sys/class/hwmon", "hwmon*")
        files = [(zone / "type", zone / "temp") for zone in zones]
        files += [(chip / "name", chip / "temp1_input") for chip in chips]
        named = [(_read(kind), file) for kind, file in files]
        for name in _CPU_SENSORS:
            for kind, file in named:
                # Outside -40..150 it is a broken sensor, not a temperature (-274 is a common way to say so).
                if kind == name and (value := _scaled(file, 1e3, -40.0, 150.0)) is not None:
                    return value
        return None

    def _under_voltage(self) -> tuple[str, ...] | None:
        for chip in _folders(self._root / "sys/class/hwmon", "hwmon*"):
            if _read(chip / "name") == "rpi_volt":
                alarm = _number(_read(chip / "in0_lcrit_alarm") or "")
                return {0.0: (), 1.0: ("under-voltage",)}.get(alarm)
        return None

    def _ask_firmware(self, requested_mhz: float | None) -> None:
        now = self._clock()
        if self._vcgencmd is None or now - self._asked_at < self._firmware_every_s:
            return
        self._asked_at = now
        self._firmware_flags = parse_throttled(self._run_vcgencmd("get_throttled"))
        # The kernel's request is the fact unless the firmware overrides it, and these flags say when it does.
        held_back = any(not flag.endswith(SINCE_BOOT) for flag in self._firmware_flags or ())
        self._firmware_mhz = None
        if held_back or requested_mhz is None:
            answer = self._run_vcgencmd("measure_clock", "arm").strip()
            match = re.fullmatch(r"frequency\(\d+\)=(\d{1,12})", answer)
            self._firmware_mhz = int(match[1]) / 1e6 if match and int(match[1]) > 0 else None

    def _run_vcgencmd(self, *arguments: str) -> str:
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


def peak_memory_mb(root: Path = Path("/")) -> float | None:
    """The most resident memory this process ever had, MiB (VmHWM of proc(5))."""
    return _kib_as_mib(Path(root) / "proc/self/status", "VmHWM")


def _read(path: Path) -> str | None:
    """A small file's text without outer blanks and NULs, or None when it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip(" \t\r\n\0")
    except OSError:  # absent, vanished under our hands, or a driver that answers EIO
        return None


def _folders(parent: Path, pattern: str) -> list[Path]:
    try:
        return sorted(parent.glob(pattern))
    except OSError:
        return []


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _scaled(path: Path, per_unit: float, low: float, high: float) -> float | None:
    """The number in `path` divided by `per_unit`, or None when it is none or outside low..high."""
    value = _number(_read(path) or "")
    return value / per_unit if value is not None and low <= value / per_unit <= high else None


def _kib_as_mib(path: Path, key: str) -> float | None:
    """`Key:   1234 kB` in `path` as MiB."""
    match = re.search(rf"^{key}:\s+(\d{{1,15}}) kB$", _read(path) or "", re.MULTILINE)
    return int(match[1]) / 1024 if match else None


def _share(before: tuple[float, float] | None, after: tuple[float, float] | None, most: float = 100.0) -> float | None:
    """Percent of the second counter's growth that the first one grew by; None when unknown or not growing."""
    if before is None or after is None or after[1] <= before[1] or after[0] < before[0]:
        return None  # a counter that fell: a child ended unreaped, or idle time was corrected downwards
    return min(most, 100.0 * (after[0] - before[0]) / (after[1] - before[1]))
