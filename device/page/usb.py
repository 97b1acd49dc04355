"""Memory sticks: removable disks that are mounted below /media or /run/media (proc(5), kernel's sysfs-block)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

BELOW = ("/media/", "/run/media/")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Stick:
    """name: of the partition, such as sda1, by which it is asked for. folder: where it is mounted. free_bytes: None
    when it cannot be told."""

    name: str
    folder: Path
    label: str
    writable: bool
    free_bytes: int | None


def sticks(root: Path = Path("/")) -> list[Stick]:
    """Those that are there now. root: stands before proc/, sys/ and the mounted folders."""
    try:
        lines = (root / "proc/mounts").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = {}
    for line in lines:
        words = [_OCTAL.sub(lambda code: chr(int(code[1], 8)), word) for word in line.split(" ")]
        if len(words) < 4 or not words[0].startswith("/dev/") or not words[1].startswith(BELOW):
            continue
        name = words[0].removeprefix("/dev/")
        if "/" in name or ".." in words[1].split("/") or not _removable(root, name):
            continue
        folder = root / words[1].lstrip("/")
        found[name] = Stick(name, folder, folder.name, "rw" in words[3].split(","), _free(folder))
    return [found[name] for name in sorted(found)]


def _removable(root: Path, name: str) -> bool:
    """Whether the partition's disk says so, or hangs on USB: large sticks and disks call themselves fixed."""
    try:
        place = (root / "sys/class/block" / name).resolve(strict=True)
    except OSError:
        return False
    disk = place.parent if (place / "partition").exists() else place
    try:
        return (disk / "removable").read_text().strip() == "1" or any(part.startswith("usb") for part in disk.parts)
    except OSError:
        return False


def _free(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
