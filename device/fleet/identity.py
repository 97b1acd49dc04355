"""The id by which a unit is known: random, made once, kept. Not the MAC nor the machine-id, which tell more than it."""

import os
import re
import secrets
from pathlib import Path

from device import files
from device.errors import UserError

FOLDER = Path("/var/lib/busi-kd-fleet")
FILE = "unit"
_ID = re.compile(r"[0-9a-f]{16}")


def unit_id(folder: Path) -> str:
    """The id in `folder`, 16 hexadecimal digits; made there at the first call, and of two processes only one makes it.

    Raises UserError when what stands there is no id, and when it can be neither read nor written.
    """
    path = folder / FILE
    try:
        if not path.exists():
            aside = folder / f".{FILE}.{secrets.token_hex(4)}"
            files.write_text(aside, f"{secrets.token_hex(8)}\n")
            try:
                os.link(aside, path)  # unlike a rename it never replaces the id that another has made meanwhile
            except FileExistsError:
                pass
            finally:
                aside.unlink()
            files.sync_folder(folder)
        with open(path, "rb") as stream:
            found = stream.read(64).decode("ascii", "replace").strip()
    except OSError as error:
        raise UserError(
            f"{path}: the id of this unit cannot be kept there ({error.strerror}); give another folder as fleet.state."
        ) from error
    if _ID.fullmatch(found) is None:
        raise UserError(f"{path}: holds no id of a unit; remove the file, and a new one is made.")
    return found
