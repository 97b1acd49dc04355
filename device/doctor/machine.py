"""The machine itself: heat, throttling, memory, power."""

from pathlib import Path

from device.config.settings import GovernorSettings
from device.doctor import Finding
from device.telemetry import SINCE_BOOT, Health, read
from device.telemetry.battery import Gauges

MEMORY_NEEDED_MB, MEMORY_GOOD_MB = 150.0, 300.0  # two processes take 98 MB (docs/capture.md)
_SUPPLY = "Use a supply of 5 V with 3 A (Pi 4) or 5 A (Pi 5) and a short, thick cable; charge or change the battery."
_COOL = "Give it air: a heat sink, a fan, a case with openings; keep it out of the sun and off warm machines."


def temperature(health: Health, limits: GovernorSettings) -> Finding:
    """Is there a sensor of the processor, and what does it say?"""
    value = health.temperature_c
    if value is None:
        do = "On a Raspberry Pi: ls /sys/class/thermal must show a zone; elsewhere there may be none."
        return Finding("temperature", "unknown", "there is no temperature sensor of the processor.", do)
    says = f"the processor has {value:.1f} C."
    hot, warm = limits.soft_limit_c, limits.soft_limit_c - limits.margin_c
    if value >= hot:
        return Finding("temperature", "problem", f"{says[:-1]}, too hot (from {hot:g} C on).", _COOL)
    if value >= warm:
        return Finding("temperature", "note", f"{says[:-1]}, warm (from {warm:g} C on).", _COOL)
    return Finding("temperature", "ok", says)


def throttling(health: Health) -> Finding:
    """Has the firmware held the processor back, now or since the start of the machine?"""
    flags = health.throttled
    if flags is None:
        do = "On a Raspberry Pi run this with sudo, or as a member of the group video (vcgencmd get_throttled)."
        return Finding("throttling", "unknown", "nothing tells whether the supply is good enough.", do)
    if not flags:
        return Finding("throttling", "ok", "neither under-voltage nor throttling since the machine started.")
    says = f"the firmware reports {', '.join(flags)}."
    if any(flag.startswith("under-voltage") for flag in flags):
        return Finding("throttling", "problem", says, _SUPPLY)
    now = [flag for flag in flags if not flag.endswith(SINCE_BOOT)]
    return Finding("throttling", "problem" if now else "note", says, _COOL)


def memory(health: Health) -> Finding:
    """Is there room for the daemon?"""
    free = health.memory_available_mb
    if free is None:
        return Finding("memory", "unknown", "/proc/meminfo does not tell the available memory.", "Is /proc mounted?")
    says = f"{free:.0f} MiB of memory are available."
    do = "End other programs; use the Lite system without a desktop."
    if free < MEMORY_NEEDED_MB:
        return Finding("memory", "problem", f"{says[:-1]}, and the daemon needs {MEMORY_NEEDED_MB:.0f}.", do)
    if free < MEMORY_GOOD_MB:
        return Finding("memory", "note", says, do)
    return Finding("memory", "ok", says)


def power(limits: GovernorSettings, gauges: Gauges, root: Path = Path("/")) -> Finding:
    """The battery as `gauges` tell it, those that the daemon reads, and the supplies that the kernel knows."""
    battery, plugged = gauges.sample(), _plugged(root)
    if battery is None and plugged:
        return Finding("power", "ok", "runs on a supply; no gauge of a battery answers.")
    if battery is None:
        do = "A battery's gauge needs its driver, its server, or I2C switched on (sudo raspi-config), and this command "
        do += "sudo; without a gauge, watch the battery's own lights."
        return Finding("power", "unknown", "no gauge of a battery answers, and the kernel knows no supply.", do)
    if battery.percent is None:
        return Finding("power", "unknown", f"battery {battery.source} does not tell its charge.", "Check its cable.")
    state = {True: "charging", False: "discharging", None: "charging or not is unknown"}[battery.charging]
    says = f"battery {battery.source}: {battery.percent:.0f} %, {state}."
    if battery.charging or plugged or battery.percent >= limits.battery_low_percent:
        return Finding("power", "ok", says)
    if battery.percent < limits.battery_very_low_percent:
        return Finding("power", "problem", says, "Charge it now: the machine is about to go off.")
    return Finding("power", "note", says, "Charge it before the next examination.")


def _plugged(root: Path) -> bool:
    """Does the kernel know a supply that is in use (Documentation/ABI/testing/sysfs-class-power)?"""
    supplies = read.folders(root / "sys/class/power_supply", "*")
    mains = (one for one in supplies if read.text(one / "type") in ("Mains", "USB"))
    return any(read.text(one / "online") == "1" for one in mains)
