"""Reader for the official BUSI layout: `<class>/<class> (n).png` with one or several `_mask*.png` beside it."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from device.errors import UserError
from device.preprocess import Preprocess, pictured_stem, prepare, read_picture

CLASSES = ("benign", "malignant", "normal")
OFFICIAL_FOLDER = "Dataset_BUSI_with_GT"
MARKER = "dataset.json"  # written beside synthetic data, so that it can never pass for patients' pictures


@dataclass(frozen=True)
class Picture:
    """One picture: name (`benign (1).png`), its file, class name, and its mask files (none, one or several)."""

    name: str
    path: Path
    label: str
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class DataSet:
    """All pictures of a folder, sorted by class and number; `fingerprint` is a SHA-256 over names and bytes."""

    root: Path
    name: str
    pictures: tuple[Picture, ...]
    fingerprint: str
    synthetic: bool

    def counts(self) -> dict[str, int]:
        """Number of pictures per class."""
        return {label: sum(picture.label == label for picture in self.pictures) for label in CLASSES}


def read_dataset(folder: Path) -> DataSet:
    """List a BUSI folder (or the folder that holds `Dataset_BUSI_with_GT`) and fingerprint it; decodes nothing.

    Raises UserError: folder or a class folder missing, a class without pictures, a mask without its picture, two
    pictures of one name (names are the keys of groups and splits).
    """
    root = Path(folder)
    if (root / OFFICIAL_FOLDER).is_dir():
        root = root / OFFICIAL_FOLDER
    if not root.is_dir():
        raise UserError(f"{folder}: no such data folder; give the folder that holds {', '.join(CLASSES)}.")
    missing = [label for label in CLASSES if not (root / label).is_dir()]
    if missing:
        raise UserError(f"{root}: the class folder {missing[0]!r} is missing; BUSI has {', '.join(CLASSES)}.")
    pictures = [picture for label in CLASSES for picture in _read_class(root / label, label)]
    first: dict[str, Picture] = {}
    for picture in pictures:
        if first.setdefault(picture.name, picture) is not picture:
            raise UserError(f"{picture.path}: {first[picture.name].path} has the same name; rename one of the two.")
    marker = root / MARKER
    try:
        described = json.loads(marker.read_text()) if marker.is_file() else {}
    except ValueError as error:
        raise UserError(f"{marker}: not readable as JSON; write the data set again.") from error
    if not isinstance(described, dict):
        raise UserError(f"{marker}: does not describe a data set; write the data set again.")
    name = described.get("name", "BUSI" if root.name == OFFICIAL_FOLDER else root.name)
    return DataSet(root, str(name), tuple(pictures), _fingerprint(pictures), bool(described.get("synthetic", False)))


def _read_class(folder: Path, label: str) -> list[Picture]:
    # Not is_file: a link that leads nowhere is a picture that is missing, which must be noticed.
    names = sorted((path.name for path in folder.glob("*.png") if not path.is_dir()), key=_natural)
    masks: dict[str, list[Path]] = {}
    stems = []
    for name in names:
        stem = pictured_stem(name)
        if stem is not None:
            masks.setdefault(stem, []).append(folder / name)
        else:
            stems.append(name.removesuffix(".png"))
    orphan = next((found[0] for stem, found in masks.items() if stem not in set(stems)), None)
    if orphan:
        raise UserError(f"{orphan}: a mask without its picture; restore the picture or remove the mask.")
    if not stems:
        raise UserError(f"{folder}: no .png pictures there; the data set is incomplete.")
    return [Picture(f"{s}.png", folder / f"{s}.png", label, tuple(masks.get(s, ()))) for s in stems]


def _natural(name: str) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _fingerprint(pictures: Iterable[Picture]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.label}/{picture.name}\0".encode())
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
    return digest.hexdigest()


def load_mask(picture: Picture, shape: tuple[int, int]) -> np.ndarray:
    """All masks of a picture merged by OR: (H, W) bool; all False without masks.

    shape: the picture's (H, W). Raises UserError when a mask has another size or does not decode.
    """
    merged = np.zeros(shape, bool)
    for path in picture.masks:
        mask = read_picture(path)
        if mask.shape[:2] != shape:
            raise UserError(
                f"{path}: the mask is {mask.shape[0]} x {mask.shape[1]}, its picture {shape[0]} x {shape[1]}; "
                "replace the mask."
            )
        merged |= (mask if mask.ndim == 2 else mask.max(axis=2)) > 0
    return merged


def load_lumas(pictures: Iterable[Picture], preprocess: Preprocess) -> np.ndarray:
    """Decode and prepare pictures as the device would: (N, height, width) uint8 luma; checks each mask's size.

    Raises UserError when a picture or mask does not decode or sizes differ.
    """
    lumas = []
    for picture in pictures:
        frame = read_picture(picture.path)
        if picture.masks:
            load_mask(picture, frame.shape[:2])
        lumas.append(prepare(frame, preprocess))
    return np.stack(lumas)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG. Raises UserError when the file cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise UserError(f"{path}: this picture could not be encoded as PNG.")
    path.write_bytes(encoded.tobytes())
