"""The lesion crops of a data set in the BUSI layout, as the external crop sets have them: boxed, grey, denoised."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device import files, schema
from device.errors import UserError
from device.preprocess import read_picture, to_luma
from train.data.busi import CLASSES, MARKER, DataSet, Marker, Picture, load_mask, read_dataset, write_picture
from train.data.groups import read_groups

CROPPED = tuple(label for label in CLASSES if label != "normal")
GROUPS_FILE = "groups.csv"

# Non-local means (Buades, Coll, Morel, CVPR 2005) in OpenCV's form. The strength is the one at which BUSI's crops are
# as smooth as the external ones (docs/external.md); patch and window are OpenCV's defaults.
STRENGTH, PATCH, WINDOW = 3, 7, 21
_REACH = WINDOW // 2 + PATCH // 2  # how far a denoised pixel looks


def write_crops(data: DataSet, out: Path, groups: Path | None = None, margin: int = 4, denoise: bool = True) -> int:
    """Write every lesion picture's crop and its masks to `out` in the BUSI layout; returns how many pictures.

    margin: pixels around the box. With `groups` (as for splits) also groups.csv of the pictures kept. The folder
    appears as a whole; the same call again leaves it as it is. Raises UserError: `out` is anything else, `data` holds
    crops already, a lesion without mask or with an empty one, a picture or mask that does not decode.
    """
    out = Path(out)
    if margin < 0:
        raise UserError(f"--margin must be 0 or more, not {margin}.")
    if data.view != "whole":
        raise UserError(f"{data.root}: holds lesion crops already; give the data set of whole pictures.")
    kept = [picture for picture in data.pictures if picture.label in CROPPED]
    group_of, source = read_groups(groups, data) if groups else (None, None)
    about = {
        "source": data.name,
        "source_fingerprint": data.fingerprint,
        "masks_sha256": _masks_hash(kept),
        "margin": margin,
        "denoise": STRENGTH if denoise else None,
        "groups": source,
    }
    marker = schema.dump(Marker(f"{data.name} lesion crops", data.synthetic, "lesion-crop", CROPPED, about))
    if out.exists():
        _same(out, marker, len(kept))
        return len(kept)
    try:
        with files.folder_beside(out) as aside:
            for picture in kept:
                _write(picture, aside / picture.label, margin, denoise)
            if group_of is not None:
                files.write_text(aside / GROUPS_FILE, _groups_text(kept, group_of))
            files.write_json(aside / MARKER, marker)
            files.replace_folder(aside, out)
    except OSError as error:
        raise UserError(f"{out}: the crops cannot be written there ({error}).") from error
    return len(kept)


def cut(luma: np.ndarray, mask: np.ndarray, margin: int, denoise: bool) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The crop around a mask, and where it lies.

    luma (H, W) uint8, mask (H, W) bool, not empty. The box of the mask grows by `margin` pixels and ends at the
    picture's edge. The crop is what denoising the whole picture would give there.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    place = tuple(
        slice(max(0, found[0] - margin), min(length, found[-1] + 1 + margin))
        for found, length in zip((rows, columns), luma.shape)
    )
    if not denoise:
        return luma[place], place
    wide = tuple(slice(max(0, s.start - _REACH), s.stop + _REACH) for s in place)
    smooth = cv2.fastNlMeansDenoising(np.ascontiguousarray(luma[wide]), None, STRENGTH, PATCH, WINDOW)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(place, wide))
    return smooth[inner], place


def _write(picture: Picture, folder: Path, margin: int, denoise: bool) -> None:
    luma = to_luma(read_picture(picture.path))
    # One at a time, by the reader that checks their sizes.
    masks = {
        path: load_mask(Picture(picture.name, picture.path, picture.label, (path,)), luma.shape)
        for path in picture.masks
    }
    if not masks:
        raise UserError(f"{picture.path}: a lesion without a mask cannot be cut out; add its mask.")
    # One crop shows one lesion, as in the external sets; the class is about the largest, if they differ.
    largest = max(masks, key=lambda path: int(masks[path].sum()))
    if not masks[largest].any():
        raise UserError(f"{largest}: this mask is empty, so nothing can be cut out; correct the mask.")
    crop, place = cut(luma, masks[largest], margin, denoise)
    write_picture(folder / picture.name, crop)
    for path, mask in masks.items():
        if mask[place].any():
            write_picture(folder / path.name, mask[place].astype(np.uint8) * 255)


def _masks_hash(pictures: list[Picture]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        for path in picture.masks:
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _groups_text(pictures: list[Picture], group_of: dict[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "group_id"])
    writer.writerows([picture.name, group_of[picture.name]] for picture in pictures)
    return text.getvalue()


def _same(out: Path, marker: dict[str, Any], count: int) -> None:
    """Raise UserError unless `out` is what this very call wrote before."""
    path = out / MARKER
    try:
        same = path.is_file() and json.loads(path.read_text(encoding="utf-8")) == marker
    except ValueError:
        same = False
    if not same or len(read_dataset(out).pictures) != count:
        raise UserError(f"{out}: is there already and holds something else; choose another folder or remove it.")
