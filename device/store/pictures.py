"""The saved pictures: PNG, one folder per study, written aside, flushed and renamed before their row is written."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device import files
from device.store import NotSaved, make_folder, owned_like
from device.store.audit import sha256
from device.store.database import Item

MAX_SIDE = 8192


@dataclass(frozen=True)
class Damage:
    """A saved picture that is not as it was saved, and why, as one sentence."""

    item: Item
    why: str


def encode(pixels: np.ndarray) -> bytes:
    """PNG of (H, W) grey or (H, W, 3) BGR uint8, without loss. Raises NotSaved for anything else."""
    good = pixels.dtype == np.uint8 and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
    if not good or not all(1 <= side <= MAX_SIDE for side in pixels.shape[:2]):
        raise NotSaved(f"Not saved: a picture of shape {pixels.shape} and type {pixels.dtype} cannot be saved.")
    made, data = cv2.imencode(".png", pixels)
    if not made:
        raise NotSaved("Not saved: the picture cannot be written as PNG.")
    return data.tobytes()


def facts(item: Item, pixels: np.ndarray, data: bytes) -> dict[str, Any]:
    """The columns that say where and what an item's picture is."""
    height, width, *channels = pixels.shape
    return {
        "file": f"{item.study}/{item.number:04d}-{item.id}.png",
        "sha256": sha256(data),
        "bytes": len(data),
        "width": width,
        "height": height,
        "channels": channels[0] if channels else 1,
    }


def write(folder: Path, name: str, data: bytes) -> None:
    """Write a picture; on disk, name and all, when this returns. Raises OSError: then nothing of it is left."""
    path = folder / name
    make_folder(path.parent)
    files.write_bytes(path, data)
    owned_like(path, folder)
    path.chmod(0o640)


def remove_study(folder: Path, study_id: str) -> None:
    """Delete a study's pictures, whose rows are gone. What cannot be deleted is swept at the next start."""
    shutil.rmtree(folder / study_id, ignore_errors=True)


def look(folder: Path, item: Item, hashed: bool = True) -> Damage | None:
    """Is the picture there as it was saved? Without `hashed` only its size is looked at."""
    if item.file is None:
        return None
    path = folder / item.file
    try:
        size = path.stat().st_size
        if size != item.bytes:
            return Damage(item, f"{path}: has {size} bytes where {item.bytes} were saved.")
        if hashed and files.sha256_file(path) != item.sha256:
            return Damage(item, f"{path}: has another hash than what was saved.")
    except FileNotFoundError:
        return Damage(item, f"{path}: is missing.")
    except OSError as error:
        return Damage(item, f"{path}: cannot be read ({error.strerror}).")
    return None


def load(folder: Path, item: Item) -> np.ndarray | None:
    """(H, W) or (H, W, 3) BGR uint8 pixels of a whole picture; None of an item that has none or is damaged."""
    if item.file is None:
        return None
    try:
        data = (folder / item.file).read_bytes()
    except OSError:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if sha256(data) == item.sha256 else None


def sweep_away(folder: Path, known: set[str]) -> int:
    """Delete what no row names: pictures and asides of a save that a kill has cut short. Returns how many files."""
    gone = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside a folder before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in known:
            path.unlink(missing_ok=True)
            gone += 1
    return gone
