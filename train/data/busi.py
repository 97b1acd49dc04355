"""Reader for the official BUSI layout: `<class>/<class> (n).png` with one or several `_mask*.png` beside it."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from device import schema
from device.errors import UserError
from device.preprocess import Preprocess, pictured_stem, prepare, read_picture

CLASSES = ("benign", "malignant", "normal")
View = Literal["whole", "lesion-crop"]
OFFICIAL_FOLDER = "Dataset_BUSI_with_GT"
# Written beside synthetic and derived data, so that they can never pass for whole pictures of patients.
MARKER = "dataset.json"


@dataclass(frozen=True)
class Picture:
    """One picture: name (`benign (1).png`), its file, class name, and its mask files (none, one or several)."""

    name: str
    path: Path
    label: str
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class DataSet:
    """All pictures of a folder, sorted by class and number; `fingerprint` is a SHA-256 over names and bytes.

    classes: those that the folder has, in the order of CLASSES. view: what a picture shows, the whole scan or the
    surroundings of one lesion cut out of it.
    """

    root: Path
    name: str
    pictures: tuple[Picture, ...]
    fingerprint: str
    synthetic: bool
    classes: tuple[str, ...] = CLASSES
    view: View = "whole"

    def counts(self) -> dict[str, int]:
        """Number of pictures per class."""
        return {label: sum(picture.label == label for picture in self.pictures) for label in self.classes}


@dataclass(frozen=True)
class Marker:
    """The content of dataset.json. name None: the folder's. about: how the data were made, for people."""

    name: str | None = None
    synthetic: bool = False
    view: View = "whole"
    classes: tuple[Literal["benign", "malignant", "normal"], ...] = CLASSES
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not {"benign", "malignant"} <= set(self.classes):
            raise ValueError(f"classes must hold benign and malignant, not {list(self.classes)}.")


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
    marker = _read_marker(root / MARKER)
    classes = tuple(label for label in CLASSES if label in marker.classes)
    missing = [label for label in classes if not (root / label).is_dir()]
    if missing:
        raise UserError(f"{root}: the class folder {missing[0]!r} is missing; needed are {', '.join(classes)}.")
    pictures = [picture for label in classes for picture in _read_class(root / label, label)]
    check_names(pictures)
    name = marker.name or ("BUSI" if root.name == OFFICIAL_FOLDER else root.name)
    return DataSet(root, name, tuple(pictures), fingerprint(pictures), marker.synthetic, classes, marker.view)


def _read_marker(path: Path) -> Marker:
    try:
        return schema.load(Marker, json.loads(path.read_text(encoding="utf-8")), path) if path.is_file() else Marker()
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON; write the data set again.") from error


def _read_class(folder: Path, label: str) -> list[Picture]:
    # Not is_file: a link that leads nowhere is a picture that is missing, which must be noticed.
    names = sorted(
        (path.name for path in folder.glob("*.png") if not path.is_dir() and path.name[0] != "."), key=natural
    )
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


def natural(name: str) -> list:
    """The key to sort names by, so that (10) stands after (9)."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def check_names(pictures: Iterable[Picture]) -> None:
    """Raise UserError where two pictures have one name: names are the keys of groups and splits."""
    first: dict[str, Picture] = {}
    for picture in pictures:
        if first.setdefault(picture.name, picture) is not picture:
            raise UserError(f"{picture.path}: {first[picture.name].path} has the same name; rename one of the two.")


def fingerprint(pictures: Iterable[Picture]) -> str:
    """SHA-256 over names and bytes, in their order. Raises UserError where a file cannot be read."""
    digest = hashlib.sha256()
    for picture in pictures:
        try:
            content = picture.path.read_bytes()
        except OSError as error:
            raise UserError(f"{picture.path}: cannot be read ({error.strerror}); check the file.") from error
        digest.update(f"{picture.label}/{picture.name}\0".encode())
        digest.update(hashlib.sha256(content).digest())
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
