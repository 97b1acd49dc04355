"""The machine itself: heat, throttling, memory, power."""

from pathlib import Path

from device.config.settings import GovernorSettings
from device.doctor import Finding
from device.telemetry import SINCE_BOOT, Health

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
    if value >= limits.hot_c:
        return Finding("temperature", "problem", f"{says[:-1]}, too hot (from {limits.hot_c:g} C on).", _COOL)
    if value >= limits.warm_c:
        return Finding("temperature", "note", f"{says[:-1]}, warm (from {limits.warm_c:g} C on).", _COOL)
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


def power(limits: GovernorSettings, root: Path = Path("/")) -> Finding:
    """What the kernel knows of batteries and supplies (Documentation/ABI/testing/sysfs-class-power)."""
    supplies = sorted(root.glob("sys/class/power_supply/*"))
    batteries = [one for one in supplies if _read(one / "type") == "Battery"]
    mains = [_read(one / "online") for one in supplies if _read(one / "type") in ("Mains", "USB")]
    plugged = "1" in mains
    for one in batteries:
        charge, status = _read(one / "capacity"), _read(one / "status") or "state unknown"
        if charge is None or not charge.isdecimal() or not 0 <= int(charge) <= 100:
            continue
        share, says = int(charge) / 100, f"battery {one.name}: {charge} %, {status.lower()}."
        if status in ("Charging", "Full") or plugged:
            return Finding("power", "ok", says)
        if share <= limits.battery_empty:
            return Finding("power", "problem", says, "Charge it now: the machine is about to go off.")
        if share <= limits.battery_low:
            return Finding("power", "note", says, "Charge it before the next examination.")
        return Finding("power", "ok", says)
    if batteries:
        return Finding("power", "unknown", f"battery {batteries[0].name} does not tell its charge.", "Check its cable.")
    if plugged:
        return Finding("power", "ok", "runs on a supply; the kernel knows no battery.")
    do = "A battery board with a gauge needs its overlay or driver; without one, watch the battery's own lights."
    return Finding("power", "unknown", "the kernel knows no battery and no supply.", do)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace").strip(" \t\r\n\0")
    except OSError:
        return None
