"""The clock: a Pi has none that goes on without power, and records are dated by it."""

import ctypes
import datetime
from pathlib import Path

from device.doctor import Finding

SYNCHRONISED = Path("run/systemd/timesync/synchronized")
FIRST_YEAR, LAST_YEAR = 2025, 2099
_TIME_ERROR, _STA_UNSYNC = 5, 0x0040  # adjtimex(2)


class _Timex(ctypes.Structure):
    """The head of struct timex; the rest is larger than any kernel's."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def kernel_is_synchronised() -> bool | None:
    """What adjtimex(2) says of the clock, without changing it; None where it cannot be asked."""
    said = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(said))
    except (OSError, AttributeError):  # not Linux
        return None
    return None if state < 0 else state != _TIME_ERROR and not said.status & _STA_UNSYNC


def clock(now: datetime.datetime, kernel: bool | None, root: Path = Path("/")) -> Finding:
    """now: of this machine. kernel: what `kernel_is_synchronised` says."""
    says = f"{now:%Y-%m-%d %H:%M} by this machine's clock"
    set_it = "Connect it to a network for a minute, or set it by hand: sudo timedatectl set-time '2026-01-31 14:30'"
    if not FIRST_YEAR <= now.year <= LAST_YEAR:
        return Finding("clock", "problem", f"{says}: that cannot be right, and records would bear it.", set_it)
    if kernel or (root / SYNCHRONISED).exists():
        return Finding("clock", "ok", f"{says}, synchronised.")
    if kernel is None:
        return Finding("clock", "unknown", f"{says}; the system does not tell whether it is synchronised.", set_it)
    do = f"Compare it with a watch. {set_it}"
    return Finding("clock", "note", f"{says}, which nothing has synchronised since the machine started.", do)
