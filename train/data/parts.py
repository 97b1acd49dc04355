"""A part of a split as a folder of pictures, for replaying held-out pictures on the device."""

import json
import shutil
from pathlib import Path

from device import files
from device.errors import UserError
from train.data.splits import Split

MARKER = "part.json"


def copy_part(split: Split, part: str, folder: Path) -> int:
    """Copy the pictures of `part` (without masks) to `folder`/<class>/, as a whole or not at all; returns how many.

    The same part in the same folder is left as it is. Raises UserError when `folder` is anything else, or cannot be
    written.
    """
    folder, content = Path(folder), {"part": part, "split": split.fingerprint}
    if (folder / MARKER).is_file() and json.loads((folder / MARKER).read_text()) == content:
        return len(split.part(part))
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another folder or remove it.")
    try:
        with files.folder_beside(folder) as aside:
            for picture in split.part(part):
                (aside / picture.label).mkdir(exist_ok=True)
                shutil.copyfile(picture.path, aside / picture.label / picture.name)
            files.write_json(aside / MARKER, content)
            files.replace_folder(aside, folder)
    except OSError as error:
        raise UserError(f"{folder}: the pictures cannot be copied there ({error}).") from error
    return len(split.part(part))
