"""What the daemon saves on the Pi, and how it leaves it: studies in SQLite and PNG, an audit log, ZIP and DICOM.

Off unless asked for. A kill or a power cut at any instant loses nothing that was reported as saved (docs/recorder.md).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from device import files

FOLDER = Path("/var/lib/busi-kd/studies")
DATABASE, PICTURES, AUDIT, LOCK = "studies.sqlite", "pictures", "audit", "recorder.lock"
LEAVING = ".leaving"  # what is on its way out, for as long as an export of the page takes; no part of the studies
_TIMESYNC = Path("/run/systemd/timesync")


class NotSaved(Exception):
    """What was to be saved is not: one sentence that says why. Nothing of it stays behind, and judging goes on."""


@dataclass(frozen=True)
class Stamp:
    """A moment. utc: aware, in UTC. monotonic: seconds since some start, comparable within one boot. synchronised:
    whether the wall clock is known to be set (a Pi has no battery for it); None: nobody knows."""

    utc: datetime
    monotonic: float
    synchronised: bool | None

    @property
    def iso(self) -> str:
        """UTC as 2026-11-22T03:17:16.123456Z, which sorts as text; always with microseconds."""
        return self.utc.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Clock = Callable[[], Stamp]


def system_clock() -> Stamp:
    """This machine's clocks. systemd-timesyncd leaves a file once it has set the clock; without it nobody knows."""
    synchronised = (_TIMESYNC / "synchronized").exists() if _TIMESYNC.is_dir() else None
    return Stamp(datetime.now(UTC), time.monotonic(), synchronised)


def boot_id() -> str | None:
    """Which boot the monotonic times belong to (Linux), or None."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def owned_like(path: Path, folder: Path) -> None:
    """Give what root has made to the owner of `folder`: the daemon's user must be able to go on with it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, and flush its name to disk; only its owner and group see what is in it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o750)
    owned_like(folder, folder.parent)
    files.sync_folder(folder.parent)


def lent_bytes(folder: Path) -> int:
    """What running exports of the page take of the card under `folder`, the studies, until they have ended."""

    def size(path: Path) -> int:
        try:
            return path.lstat().st_blocks * 512
        except OSError:  # its export has just ended
            return 0

    return sum(size(Path(at, name)) for at, _, names in os.walk(folder / LEAVING) for name in names)
