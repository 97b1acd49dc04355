"""Reads back what an audit found on each picture: the flags of its pictures.csv."""

import csv
from collections.abc import Collection
from pathlib import Path

from device.errors import UserError
from train.audit.flags import FLAGS

CONFLICT = "label_conflict"
NAMES = (*FLAGS, CONFLICT)

_VALUES = {"": None, "0": False, "1": True}


def read_flags(path: Path, pictures: Collection[str]) -> dict[str, dict[str, bool | None]] | None:
    """Flag of NAMES -> picture -> whether it has it; None as a value: not looked for (text was not read).

    Returns None when the file has none of these columns, as another groups file.
    Raises UserError: not readable, some of the columns missing, a picture not in it, a value that is no flag's.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, columns = list(reader), set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV ({error}); check --groups.") from error
    if not columns & set(NAMES):
        return None
    missing = {"image", *NAMES} - columns
    if missing:
        raise UserError(f"{path}: the column {min(missing)!r} is missing; give pictures.csv of `busi-kd train audit`.")
    by_name = {row["image"]: row for row in rows}
    absent = set(pictures) - by_name.keys()
    if absent:
        raise UserError(f"{path}: names no picture {min(absent)!r}; give the audit of the data that were trained on.")
    for name in pictures:
        for flag in NAMES:
            if by_name[name][flag] not in _VALUES:
                raise UserError(
                    f"{path}: {flag} of {name!r} is {by_name[name][flag]!r}, not 0, 1 or empty; audit again."
                )
    return {flag: {name: _VALUES[by_name[name][flag]] for name in pictures} for flag in NAMES}
