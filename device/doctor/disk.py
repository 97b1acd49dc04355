"""The card: is there room, can it be written, and does it keep what is written?"""

import os
import tempfile
from pathlib import Path

from device.config.settings import RecorderSettings
from device.doctor import Finding
from device.files import sync_folder

STATE = Path("var/lib/busi-kd")
_SUDO = "Run this with sudo: the folder belongs to the service."


def disk(settings: RecorderSettings, root: Path = Path("/")) -> list[Finding]:
    """The findings for the folder of the service's state and, when the recorder is on, for that of its studies."""
    folders = [root / STATE]
    if settings.enabled:
        folder = settings.folder
        folder = root / folder.relative_to("/") if folder.is_absolute() else root / STATE / folder
        folders += [] if folder.is_relative_to(folders[0]) else [folder]
    found = []
    for folder in folders:
        stands = next((one for one in (folder, *folder.parents) if _is_there(one)), Path("/"))
        status = os.statvfs(stands)
        found.append(space(stands, status.f_bavail * status.f_frsize, settings.reserve_bytes))
        found.append(writable(folder, bool(status.f_flag & os.ST_RDONLY)))
    return found


def space(folder: Path, free: int, reserve: int) -> Finding:
    """free, reserve: bytes. Is there more than what must stay free?"""
    says = f"{folder}: {free / 1e9:.1f} GB free, {reserve / 1e9:.1f} GB to be kept free."
    do = "Delete or export old studies, or use a larger card; df -h shows what is full."
    if free <= reserve:
        return Finding("disk", "problem", says, do)
    return Finding("disk", "note" if free <= 2 * reserve else "ok", says, do if free <= 2 * reserve else None)


def writable(folder: Path, read_only: bool) -> Finding:
    """Write a small file there that has no name, and flush it to disk."""
    if read_only:
        do = "A failing card makes the system go read-only: dmesg | grep -i mmc; replace it. Else: mount -o remount,rw"
        return Finding("writing", "problem", f"{folder}: the file system is read-only.", do)
    try:
        there = folder.is_dir()
        if not there and not folder.exists():
            do = "Nothing, where the daemon runs as a service: its first start makes it."
            return Finding("writing", "note", f"{folder}: is not there yet.", do)
        if not there:
            return Finding("writing", "problem", f"{folder}: is no folder.", "Move the file away that stands there.")
        with tempfile.TemporaryFile(dir=folder, buffering=0) as stream:  # without a name: nothing can stay behind
            stream.write(b"busi-kd device doctor\n")
            os.fsync(stream.fileno())
        sync_folder(folder)
    except PermissionError:
        return Finding("writing", "unknown", f"{folder}: may not be written by this user.", _SUDO)
    except OSError as error:
        do = "Replace the card, or free some space: df -h; dmesg | tail"
        return Finding("writing", "problem", f"{folder}: cannot be written ({error.strerror}).", do)
    return Finding("writing", "ok", f"{folder}: can be written and flushed to disk.")


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False
