"""The machine's health from /proc, /sys and the Raspberry Pi firmware, read without any library.

None is what a machine has no sensor for, and a sensor that vanished or holds rubbish: unknown, never good.

Sources
    CPU time, memory: proc(5). Temperature: the kernel's thermal and hwmon sysfs. Clock: cpufreq sysfs; of processor 0,
    because all cores of a Raspberry Pi share one clock. Throttling: device.telemetry.firmware. Batteries are looked at
    apart: device.telemetry.battery.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.telemetry import processes, read
from device.telemetry.firmware import SINCE_BOOT, Firmware, parse_throttled
from device.telemetry.processes import Memory

__all__ = ["SINCE_BOOT", "Health", "Memory", "Telemetry", "parse_throttled", "peak_memory_mb"]

# Only what is known to sit in the processor: another zone may be the radio's or the battery's.
_CPU_SENSORS = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp", "coretemp", "k10temp")
_CLOCK_KHZ = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
_MEMORY_EVERY_S = 5.0  # smaps_rollup walks through every page of a process


@dataclass(frozen=True)
class Health:
    """One sample; each field is None where the machine has no such sensor or it could not be read.

    cpu_percent: the whole machine since the last sample, 0..100. process_cpu_percent: this process and its
    children since the last sample, 100 = one core. temperature_c: the processor, degrees Celsius.
    memory_rss_mb, memory_available_mb: this process's resident memory, the machine's available memory, MiB.
    memory_all: this process and its children, looked at every few seconds.
    clock_mhz: what the kernel requests; while the firmware holds the processor back, what that measures.
    throttled: names of the flags that are set, () when there is a sensor and it has nothing to report
    (`vcgencmd` knows all of them, the hwmon driver that stands in for it under-voltage alone).
    """

    cpu_percent: float | None
    process_cpu_percent: float | None
    temperature_c: float | None
    memory_rss_mb: float | None
    memory_all: Memory | None
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
        self._root, self._clock = Path(root), clock
        self._firmware = Firmware(self._root, firmware_every_s, clock)
        self._memory: Memory | None = None
        self._memory_at = -math.inf
        self._machine, self._process = self._machine_ticks(), self._process_ticks()

    def sample(self) -> Health:
        """The health now; percentages cover the time since the last call (at first: since the construction).

        Never raises because of a sensor. Takes well below a millisecond, some more when `vcgencmd` is asked.
        """
        machine, process = self._machine_ticks(), self._process_ticks()
        cpu = _share(self._machine, machine)
        process_cpu = _share(self._process, process, most=math.inf)
        self._machine, self._process = machine, process
        requested_mhz = read.scaled(self._root / _CLOCK_KHZ, 1e3, 1.0, 1e5)
        throttled, clock_mhz = self._firmware.ask(requested_mhz)
        if self._clock() - self._memory_at >= _MEMORY_EVERY_S:
            self._memory, self._memory_at = processes.memory(self._root), self._clock()
        return Health(
            cpu,
            process_cpu,
            self._temperature_c(),
            read.kib_as_mib(self._root / "proc/self/status", "VmRSS"),
            self._memory,
            read.kib_as_mib(self._root / "proc/meminfo", "MemAvailable"),
            clock_mhz,
            throttled,
        )

    def _machine_ticks(self) -> tuple[float, float] | None:
        """(busy, all) ticks of all cores since boot."""
        words = (read.text(self._root / "proc/stat") or "").partition("\n")[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        # user nice system idle iowait irq softirq steal; the guest columns behind them are in user already.
        ticks = [read.number(word) for word in words[1:9]]
        if None in ticks:
            return None
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _process_ticks(self) -> tuple[float, float] | None:
        """(CPU ticks of this process and its children, ticks of the clock on the wall) since boot."""
        uptime = read.number(((read.text(self._root / "proc/uptime") or "").split() or [""])[0])
        spent = processes.ticks_of_all(self._root)
        return None if uptime is None or spent is None else (spent, uptime * processes.TICKS_PER_S)

    def _temperature_c(self) -> float | None:
        zones = read.folders(self._root / "sys/class/thermal", "thermal_zone*")
        chips = read.folders(self._root / "sys/class/hwmon", "hwmon*")
        files = [(zone / "type", zone / "temp") for zone in zones]
        files += [(chip / "name", chip / "temp1_input") for chip in chips]
        named = [(read.text(kind), file) for kind, file in files]
        for name in _CPU_SENSORS:
            for kind, file in named:
                # Outside -40..150 it is a broken sensor, not a temperature (-274 is a common way to say so).
                if kind == name and (value := read.scaled(file, 1e3, -40.0, 150.0)) is not None:
                    return value
        return None


def peak_memory_mb(root: Path = Path("/")) -> float | None:
    """The most resident memory this process ever had, MiB (VmHWM of proc(5))."""
    return read.kib_as_mib(Path(root) / "proc/self/status", "VmHWM")


def _share(before: tuple[float, float] | None, after: tuple[float, float] | None, most: float = 100.0) -> float | None:
    """Percent of the second counter's growth that the first one grew by; None when unknown or not growing."""
    if before is None or after is None or after[1] <= before[1] or after[0] < before[0]:
        return None  # a counter that fell: a child ended unreaped, or idle time was corrected downwards
    return min(most, 100.0 * (after[0] - before[0]) / (after[1] - before[1]))
