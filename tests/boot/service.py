"""busi-kd in the booted machine: its settings, and what it says of itself in systemctl status, journal and metrics."""

import re
from dataclasses import dataclass

from booted import Guest

METRICS = "/run/busi-kd/busi-kd.prom"
RECORD = "/var/lib/busi-kd/verdicts.csv"
COMMON = f"""\
[log]
metrics = "{METRICS}"
verdicts = "verdicts.csv"
[page]
enabled = true
[recorder]
enabled = true
reserve = "1 MB"
"""
# Phantoms as files: drawing them, as the source `phantom` does, takes an emulated processor longer than judging them.
FILES = f'[source]\nkind = "folder"\npath = "/host/phantoms"\nloop = true\nfps = "2 fps"\n{COMMON}'
HDMI = f'[source]\nkind = "v4l2"\ndevice = "/dev/video0"\n[region]\nmode = "whole"\n{COMMON}'
JOURNAL = "journalctl --boot --unit busi-kd --output cat --no-pager"
JUDGED = r"^fps=.* judged=[1-9].*use=research-only$"


def usb(region: str, size: str) -> str:
    """The settings for a USB grabber, whose frames are cut at `region`."""
    return (
        f'[source]\nkind = "v4l2"\nsize = "{size}"\npixel_format = "MJPG"\n'
        f'[region]\nmode = "fixed"\nfixed = "{region}"\n{COMMON}'
    )


def configure(guest: Guest, settings: str) -> None:
    """Have it run with these settings, with a fresh record; it is ready when this returns."""
    guest.write("/etc/busi-kd/config.toml", settings)
    guest.well(f"systemctl stop busi-kd; rm -f {RECORD}; systemctl reset-failed busi-kd; systemctl start busi-kd")


@dataclass(frozen=True)
class Said:
    """The three places where a state is told."""

    status: str
    journal: str
    metrics: dict[str, float]


def state_of(guest: Guest, state: str, before: str | None = None) -> Said:
    """Wait until all three tell of this state of the source; before: also that it came from that one."""
    status = guest.until("systemctl status --no-pager --lines=0 --full busi-kd", rf'^\s*Status: "signal {state}[ ,]')
    edge = "" if before is None else rf"^signal: {before} -> {state}(:|$)"
    journal = guest.until(f"{JOURNAL} --lines 60", edge)
    metrics = guest.until(f"cat {METRICS}", rf'^busi_kd_signal\{{state="{state}"\}} 1$')
    return Said(status, journal, parsed(metrics))


def parsed(text: str) -> dict[str, float]:
    """Prometheus text as {name with labels: value}. Raises ValueError for a line that is none."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def judging(guest: Guest, within_s: float = 240.0) -> str:
    """Wait for a line of a second in which frames were judged, from now on; the line. Starts it where it is stopped."""
    guest.well("systemctl start busi-kd", within_s)  # waits for a start that is under way, and costs nothing
    cursor = guest.well(f"{JOURNAL} --lines 1 --show-cursor | tail -1").partition("cursor: ")[2].strip()
    behind = f"--after-cursor '{cursor}'" if cursor else ""
    said = guest.until(f"{JOURNAL} {behind}", JUDGED, within_s)
    return re.findall(JUDGED, said, re.MULTILINE)[-1]


def properties(guest: Guest, *names: str) -> dict[str, str]:
    """Of busi-kd.service, as systemd tells them."""
    said = guest.well("systemctl show busi-kd.service " + " ".join(f"-p {name}" for name in names))
    return dict(line.split("=", 1) for line in said.splitlines())
