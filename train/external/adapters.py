"""External data sets as their folders are, one small function each. They are for testing only.

No training command reads them: their layouts are not BUSI's, and `read_dataset` refuses them.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.errors import UserError
from device.preprocess import Preprocess, prepare, read_picture
from train.data.busi import View

CROPS, WHOLE = "lesion-crop", "whole"
_NUMBERED = "Test_Image_"

# Pictures of one lesion within a set, found by SIFT and correlation and confirmed by eye: they are drawn together.
_NEAR_COPIES = {
    "BUID": (("48 Malignant_img.png", "116 Malignant_img.png"),),
    "BUS-CoT_43": (("003755@0.png", "003757@0.png"), ("004097@0.png", "004098@0.png")),
}


@dataclass(frozen=True)
class ExternalPicture:
    """One picture. label: `benign`, `malignant`, or None where the set names no class. doubtful: its class is.

    group: pictures of one lesion share it.
    """

    name: str
    path: Path
    label: str | None
    masks: tuple[Path, ...]
    doubtful: bool
    group: str


@dataclass(frozen=True)
class ExternalSet:
    """A data set for testing. source: origin and terms in one sentence.

    fingerprint: SHA-256 over names, classes, and the bytes of pictures and masks.
    """

    name: str
    view: View
    pictures: tuple[ExternalPicture, ...]
    source: str
    fingerprint: str


def read_external(root: Path) -> tuple[ExternalSet, ...]:
    """The sets among SETS that have a folder under `root`, each checked whole: every picture and mask is decoded.

    Raises UserError: none is there; a table's row without its file or a file without a row, twice the same picture,
    a class that is none, a picture or mask that does not decode, a mask of another size.
    """
    found = tuple(read(Path(root) / name) for name, read in SETS.items() if (Path(root) / name).is_dir())
    if not found:
        raise UserError(f"{root}: none of the external sets {', '.join(SETS)} is there; give their folder.")
    return found


def load_lumas(pictures: Iterable[ExternalPicture], preprocess: Preprocess) -> np.ndarray:
    """(N, height, width) uint8 luma, prepared as the device would."""
    return np.stack([prepare(read_picture(picture.path), preprocess) for picture in pictures])


def _breast(folder: Path) -> ExternalSet:
    return _crop_set(folder, "BrEaST: Pawlowska et al., Scientific Data 2024; CC BY 4.0.")


def _buid(folder: Path) -> ExternalSet:
    return _crop_set(folder, "BUID: breast ultrasound pictures of a public data set; terms not stated.")


def _crop_set(folder: Path, source: str) -> ExternalSet:
    """Lesion crops: `metadata.csv` (Malignancy 0 or 1), `img/`, `roi_mask/`."""
    table = folder / "metadata.csv"
    pictures = []
    for row in _rows(table, ("Image_filename", "Roi_filename", "Malignancy")):
        label = _class(table, row["Image_filename"], row["Malignancy"], {"0": "benign", "1": "malignant"})
        pictures.append((row["Image_filename"], label, row["Roi_filename"], False))
    return _set(folder, CROPS, pictures, folder / "img", folder / "roi_mask", source)


def _bus_cot(folder: Path) -> ExternalSet:
    """Whole scans on a black square: `labels.csv` (a class, and whether the mask has both class colours)."""
    table = folder / "labels.csv"
    pictures = []
    for row in _rows(table, ("image", "label", "both_colours_present")):
        label = _class(table, row["image"], row["label"], {"benign": "benign", "malignant": "malignant"})
        doubtful = _class(table, row["image"], row["both_colours_present"], {"0": False, "1": True})
        pictures.append((row["image"], label, row["image"], doubtful))
    source = "BUS-CoT: compiled from public sets, BUSI among them; its repository says MIT."
    return _set(folder, WHOLE, pictures, folder / "images", folder / "masks", source)


def _stu(folder: Path) -> ExternalSet:
    """Small whole pictures `Test_Image_n.png` with `mask_n.png`, no class. A mask may be its picture enlarged."""
    names = sorted(path.name for path in folder.glob(f"{_NUMBERED}*.png"))
    pictures = [(name, None, name.replace(_NUMBERED, "mask_"), False) for name in names]
    if not pictures:
        raise UserError(f"{folder}: no {_NUMBERED}*.png there; restore the data set.")
    source = "STU-Hospital: Zhuang et al., PLoS ONE 2019;14(8):e0221535; no licence stated."
    return _set(folder, WHOLE, pictures, folder, folder, source)


SETS = {"BrEaST": _breast, "BUID": _buid, "BUS-CoT_43": _bus_cot, "STU-Hospital": _stu}


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not table.is_file():
        raise UserError(f"{table}: no such table; restore the data set.")
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise UserError(f"{table}: the column {min(missing)!r} is missing; restore the data set.")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: not readable as CSV ({error}); restore the data set.") from error
    for row in rows:
        if any(not row[column] for column in columns):
            raise UserError(f"{table}: the row of {row[columns[0]]!r} is not complete; restore the data set.")
    if not rows:
        raise UserError(f"{table}: no rows; restore the data set.")
    return rows


def _class(table: Path, name: str, text: str, known: dict):
    if text not in known:
        raise UserError(f"{table}: {name!r} has {text!r}, not one of {', '.join(known)}; correct the table.")
    return known[text]


def _set(
    folder: Path, view: View, rows: list[tuple[str, str | None, str, bool]], images: Path, masks: Path, source: str
) -> ExternalSet:
    """rows: (picture's file name, class, mask's file name, doubtful)."""
    _complete(images, [row[0] for row in rows], "mask_" if images == masks else None)
    _complete(masks, [row[2] for row in rows], _NUMBERED if images == masks else None)
    group_of = {name: together[0] for together in _NEAR_COPIES.get(folder.name, ()) for name in together}
    digest = hashlib.sha256()
    pictures = []
    for name, label, mask, doubtful in rows:
        _check_sizes(images / name, masks / mask, enlarged=images == masks)
        digest.update(f"{name}\0{label}\0{doubtful}\0".encode())
        for path in (images / name, masks / mask):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        group = group_of.get(name, name)
        pictures.append(ExternalPicture(name, images / name, label, (masks / mask,), doubtful, group))
    return ExternalSet(folder.name, view, tuple(pictures), source, digest.hexdigest())


def _complete(folder: Path, named: list[str], others: str | None) -> None:
    """Files and names are the same. others: how the names of files begin that are none of these, in one folder."""
    there = {p.name for p in folder.glob("*.png") if p.name[0] != "." and not (others and p.name.startswith(others))}
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        raise UserError(f"{folder / twice}: is named twice by its table; correct the table.")
    for name in named:
        if name not in there:
            raise UserError(f"{folder / name}: this file is missing; restore the data set.")
    if there - set(named):
        raise UserError(f"{folder / min(there - set(named))}: no picture or row belongs to this file; remove it.")


def _check_sizes(picture: Path, mask: Path, enlarged: bool) -> None:
    (height, width), shape = read_picture(picture).shape[:2], read_picture(mask).shape[:2]
    same = shape[0] * width == shape[1] * height if enlarged else shape == (height, width)
    if not same:
        raise UserError(
            f"{mask}: the mask is {shape[0]} x {shape[1]}, its picture {height} x {width}; restore the data set."
        )
