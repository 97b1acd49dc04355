"""Folders that a command writes as a whole: an earlier one of its own may be replaced, anything else never."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device import files
from device.errors import UserError


def check_replaceable(folder: Path, marker: str, what: str) -> None:
    """Raise UserError unless `folder` is new, empty, or holds what this command wrote earlier and nothing else.

    marker: the JSON file that lists under `files` what was written. what: `evaluation`, `audit`, for the sentence.
    Nothing else: a user's notes in the folder, or `--out runs` for `--out runs/audit`, must not be lost.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; choose another --out.")
    known = {marker, *listed(folder / marker)}
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    other = sorted({path.relative_to(folder).as_posix() for path in there} - known)
    if other or len(known) == 1:
        said = f"holds {other[0]!r}, which no {what} wrote" if other else f"holds no earlier {what}"
        raise UserError(f"{folder}: {said}; choose another --out.")


def listed(path: Path) -> list[str]:
    """The files that an earlier call says it wrote; none when there was none."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get("files", [])
    except (OSError, ValueError, AttributeError):  # no such file, no JSON, another kind of JSON
        return []
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


@contextmanager
def whole_folder(folder: Path, marker: str, what: str) -> Iterator[tuple[Path, dict]]:
    """Write into the folder given; at the end it takes `folder`'s place, or nothing changes.

    Gives the folder to write into and a dict for the content of `marker`, to which `files` is added. Raises UserError
    as check_replaceable does, and when the disk refuses.
    """
    folder = Path(folder).absolute()
    check_replaceable(folder, marker, what)
    try:
        with files.folder_beside(folder) as aside:
            content: dict = {}
            yield aside, content
            written = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_file())
            files.write_json(aside / marker, {**content, "files": written})
            files.replace_folder(aside, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}); check the path and the disk.") from error
