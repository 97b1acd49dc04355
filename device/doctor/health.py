"""`busi-kd device health`: does the service run and tell fresh figures? `--mend` starts it again if that helps.

The watchdog of the unit sees a daemon that hangs within seconds; this one looks from outside, every five minutes
(busi-kd-health.timer), for what is left: a service that systemd has given up, and figures that nobody writes any more.
A service that a person has stopped stays stopped, and one that only a person can mend (status 2) is not tried again.
"""

import argparse
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device import RESEARCH_NOTICE
from device.config import options
from device.doctor.disk import STATE
from device.doctor.service import ASK_S, UNIT
from device.errors import Refused, UserError

STALE_S = 60.0  # the daemon writes its figures every few seconds; a machine that is short of breath may be late
RESTART_S = 90.0  # TimeoutStopSec and TimeoutStartSec of the unit, and some room
ASKED = "LoadState,ActiveState,Result,ExecMainStatus,NRestarts,ActiveEnterTimestampMonotonic,StatusText"

Act = Literal["none", "start", "restart"]


@dataclass(frozen=True)
class Health:
    """healthy: None when it is neither. says: one sentence. act: what --mend does about it."""

    healthy: bool | None
    says: str
    act: Act = "none"


def judge(said: dict[str, str], figures_s: float | None = None, up_s: float | None = None) -> Health:
    """Properties as `systemctl show` prints them -> what to do.

    figures_s: age of the file of metrics in seconds, infinite when it is not there, None when none is asked for.
    up_s: for how long the service has run, in seconds; None when that is not known.
    """
    if said.get("LoadState") != "loaded":
        return Health(None, f"{UNIT} is not installed here, or cannot be loaded ({said.get('LoadState', 'unknown')}).")
    active, result = said.get("ActiveState", "unknown"), said.get("Result") or "unknown"
    if active == "failed":
        if result == "exit-code" and said.get("ExecMainStatus") == str(UserError.exit_status):
            return Health(
                False, f"{UNIT} has failed for a reason that a person has to mend: journalctl -u busi-kd -n 20"
            )
        return Health(False, f"{UNIT} has failed ({result}).", "start")
    if active != "active":
        return Health(None, f"{UNIT} does not run ({active}).")
    late = figures_s is not None and figures_s > STALE_S
    if late and (up_s is None or up_s > STALE_S):
        age = f"are {figures_s:.0f} s old" if figures_s != float("inf") else "are not there"
        return Health(False, f"{UNIT} runs, but its figures {age}.", "restart")
    text = f" {said['StatusText']}" if said.get("StatusText") else ""
    return Health(True, f"{UNIT} runs.{text}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device health`."""
    options.add_argument(parser)
    parser.add_argument("--mend", action="store_true", help="start the service again where that can help (root)")


def main(args: argparse.Namespace) -> int:
    """Print what was found and done. Returns 0 when it is well or was mended, Refused's status (3) when it is not."""
    found = look(args.config)
    print(found.says if RESEARCH_NOTICE in found.says else f"{found.says} {RESEARCH_NOTICE}")
    if args.mend and found.act != "none":
        mend(found.act)
        print(f"{UNIT} was {'started' if found.act == 'start' else 'restarted'}.")
        return 0
    return Refused.exit_status if found.healthy is False else 0


def look(config: Path | None = None) -> Health:
    """Ask systemd, and look at the file of metrics where one is asked for. Raises UserError without systemd."""
    lines = _systemctl(ASK_S, "show", UNIT, f"--property={ASKED}").splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        file = options.effective(argparse.Namespace(config=config)).settings.log.metrics
    except UserError:  # the daemon itself says what is wrong with it, and ends with status 2
        file = None
    since = said.get("ActiveEnterTimestampMonotonic", "")
    up_s = time.monotonic() - int(since) / 1e6 if since.isdecimal() and int(since) else None
    return judge(said, None if file is None else age(Path("/") / STATE / file), up_s)  # relative ones begin there


def age(file: Path) -> float:
    """Seconds since the file was written, 0 when the clock was set back meanwhile; infinite when it is not there."""
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except OSError:
        return float("inf")


def mend(act: Act) -> None:
    """Have systemd do it, and wait until it is done. Raises UserError when it refuses."""
    if act == "start":
        _systemctl(ASK_S, "reset-failed", UNIT)  # else the limit of starts would refuse it
    _systemctl(RESTART_S, act, UNIT)


def _systemctl(within_s: float, *words: str) -> str:
    command = ["systemctl", "--no-ask-password", *words]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"systemctl {words[0]} does not answer ({type(error).__name__}); start the machine again."
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise UserError(f"systemctl {words[0]} {UNIT} was refused ({said}); journalctl -u busi-kd -n 20 says more.")
    return done.stdout.decode(errors="replace")
