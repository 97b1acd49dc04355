"""Groups of near-copies: which pictures must stay on one side of a split. `busi-kd train audit` finds them."""

import csv
import hashlib
from pathlib import Path

from device.errors import UserError
from train.data.busi import DataSet
from train.options import ONE_PER_PICTURE


def read_groups(path: Path, data: DataSet) -> tuple[dict[str, str], str]:
    """Group of each picture from a CSV with the columns `image` and `group_id`, and the file's hash.

    Raises UserError: file or column missing, a picture of the data set without a group or with two, or names that
    are not in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such groups file; check --groups.")
    groups: dict[str, str] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:  # spreadsheets write a byte order mark
            reader = csv.DictReader(stream)
            if not {"image", "group_id"} <= set(reader.fieldnames or ()):
                raise UserError(f"{path}: needs the columns image and group_id; this is another kind of file.")
            for row in reader:
                name, group = row["image"], (row["group_id"] or "").strip()
                if not group or groups.setdefault(name, group) != group:
                    raise UserError(f"{path}: {name!r} needs one group, in line {reader.line_num}; correct the file.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV ({error}); give a groups file.") from error
    names = {picture.name for picture in data.pictures}
    for missing, what in ((names - set(groups), "has no group for"), (set(groups) - names, "names")):
        if missing:
            raise UserError(
                f"{path}: {what} {min(missing)!r} ({len(missing)} in all), unlike the data set {data.root}; "
                "use the groups file of this data set."
            )
    return groups, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def one_per_picture(data: DataSet) -> tuple[dict[str, str], str]:
    """Each picture a group of its own: right only where no picture has a copy."""
    return {picture.name: picture.name for picture in data.pictures}, ONE_PER_PICTURE
