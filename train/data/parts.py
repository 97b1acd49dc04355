"""A part of a split as a folder of pictures, for replaying held-out pictures on the device."""

import hashlib
import json
import shutil
from pathlib import Path

from device import files
from device.errors import UserError
from device.files import sha256_file
from train.data.busi import Picture
from train.data.splits import Split

MARKER = "part.json"


def copy_part(split: Split, part: str, folder: Path) -> int:
    """Copy the pictures of `part` (without masks) to `folder`/<class>/, as a whole or not at all; returns how many.

    A picture that the part holds several times is copied once. The same part in the same folder is left as it is.
    Raises UserError when `folder` is anything else, or cannot be written.
    """
    folder = Path(folder)
    pictures = tuple(dict.fromkeys(split.part(part)))
    content = {"part": part, "split": split.fingerprint, "pictures": _digest(pictures)}
    if _read(folder / MARKER) == content:
        return len(pictures)
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another folder or remove it.")
    try:
        with files.folder_beside(folder) as aside:
            for picture in pictures:
                (aside / picture.label).mkdir(exist_ok=True)
                shutil.copyfile(picture.path, aside / picture.label / picture.name)
            files.write_json(aside / MARKER, content)
            files.replace_folder(aside, folder)
    except OSError as error:
        raise UserError(f"{folder}: the pictures cannot be copied there ({error}).") from error
    return len(pictures)


def _digest(pictures: tuple[Picture, ...]) -> str:
    """SHA-256 over names and bytes: other pictures may bear the same names. A missing file counts as empty here."""
    hashes = (sha256_file(picture.path) if picture.path.is_file() else "" for picture in pictures)
    return hashlib.sha256("\0".join(f"{p.name}:{h}" for p, h in zip(pictures, hashes)).encode()).hexdigest()


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none there, or not ours
        return None
