"""A part of a split as a folder of pictures, for replaying held-out pictures on the device."""

import shutil
from pathlib import Path

from device import files
from device.errors import UserError
from train.data.splits import Split


def copy_part(split: Split, part: str, folder: Path) -> int:
    """Copy the pictures of `part` (without masks) to `folder`/<class>/, as a whole or not at all; returns how many.

    Raises UserError when `folder` exists or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another folder or remove it.")
    try:
        with files.folder_beside(folder) as aside:
            for picture in split.part(part):
                (aside / picture.label).mkdir(exist_ok=True)
                shutil.copyfile(picture.path, aside / picture.label / picture.name)
            files.replace_folder(aside, folder)
    except OSError as error:
        raise UserError(f"{folder}: the pictures cannot be copied there ({error}).") from error
    return len(split.part(part))
