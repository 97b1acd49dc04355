"""The newest update for this machine on the memory sticks that are plugged in."""

import os
from pathlib import Path

from device.errors import UserError
from device.page.usb import sticks
from device.update import archive, manifest
from device.update.archive import Update
from device.update.manifest import MOST_UPDATE, SUFFIX, Machine

MOST = 64  # files that are looked at on a stick


def find(keys: tuple[Path, ...], machine: Machine, older: bool = False, root: Path = Path("/")) -> tuple[Path, Update]:
    """The file and what it holds: of those that a trusted key signed for this machine, the highest version, then the
    latest. They lie at the top of a stick and are called *.update. root: stands before proc/, sys/ and the sticks.

    Raises UserError when there is none, with what is wrong with the last that was looked at.
    """
    found, why = [], ""
    there = sticks(root)
    for stick in there:
        for path in _named(stick.folder):
            try:
                with open(path, "rb") as stream:
                    if os.fstat(stream.fileno()).st_size > MOST_UPDATE:
                        raise UserError(f"The file is larger than any update ({MOST_UPDATE} bytes); get it again.")
                    update = archive.read(stream, keys)
                manifest.fits(update.manifest, machine, older)
            except UserError as error:
                why = f" {path.name}: {error}"
            except OSError as error:
                why = f" {path.name}: cannot be read ({error.strerror})."
            else:
                found.append((manifest.numbers(update.manifest.version), update.manifest.created, path, update))
    if not there:
        raise UserError("No memory stick is mounted; plug one in, wait a moment, or name the file.")
    if not found:
        names = ", ".join(stick.label for stick in there)
        raise UserError(f"No update (*{SUFFIX}) for this machine lies at the top of the memory stick {names}.{why}")
    _, _, path, update = max(found, key=lambda one: (*one[:2], str(one[2])))
    return path, update


def _named(folder: Path) -> list[Path]:
    """Plain files alone: a stick is anybody's."""
    try:
        all_of = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
        return [path for path in all_of[:MOST] if path.is_file() and not path.is_symlink()]
    except OSError:
        return []
