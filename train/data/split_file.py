"""A split as a file, `split.json`: beside every run and conversion, so that its pictures can be named years later."""

import json
from dataclasses import dataclass
from pathlib import Path

from device import files, schema
from device.errors import UserError
from train.data.busi import DataSet, Picture
from train.data.splits import Split, guard
from train.recipe import SplitRecipe

FILE = "split.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SplitFile:
    """What the file holds: names, never pictures. data_fingerprint says which data set they belong to."""

    schema_version: int
    data_name: str
    data_fingerprint: str
    recipe: SplitRecipe
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...]
    groups: dict[str, str]
    groups_source: str
    excluded: tuple[str, ...]
    only: bool
    fingerprint: str


def write_split(path: Path, split: Split, data: DataSet) -> None:
    """Write a split of `data` as JSON, whole or not at all."""

    def names(pictures: tuple[Picture, ...]) -> tuple[str, ...]:
        return tuple(picture.name for picture in pictures)

    content = SplitFile(
        schema_version=SCHEMA_VERSION,
        data_name=data.name,
        data_fingerprint=data.fingerprint,
        recipe=split.recipe,
        train=names(split.train),
        val=names(split.val),
        test=names(split.test),
        left_out=names(split.left_out),
        groups=split.group_of,
        groups_source=split.groups_source,
        excluded=split.excluded,
        only=split.only,
        fingerprint=split.fingerprint,
    )
    files.write_json(path, schema.dump(content))


def read_split(path: Path, data: DataSet) -> Split:
    """Read a split of `data` back.

    Raises UserError: no such file, no JSON, unknown or missing keys, a split of another data set, names that its parts
    or groups lack, a group on both sides of a protocol that is not named as leaky, altered parts.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such split file; give the {FILE} of a run folder.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); give the {FILE} of a run folder.") from error
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path}: is no split file of version {SCHEMA_VERSION}; give the {FILE} of a run folder.")
    content = schema.load(SplitFile, raw, path)
    if content.data_fingerprint != data.fingerprint:
        raise UserError(
            f"{path}: splits the data set {content.data_name!r}, which holds other pictures than {data.root}; "
            "give the split of this data set."
        )
    by_name = {picture.name: picture for picture in data.pictures}
    unknown = (set(content.train + content.val + content.test + content.left_out) | set(content.groups)) - set(by_name)
    if unknown or set(by_name) - set(content.groups):
        odd = min(unknown or set(by_name) - set(content.groups))
        raise UserError(f"{path}: {odd!r} is not both in its groups and in {data.root}; the file was altered.")

    def pictures(names: tuple[str, ...]) -> tuple[Picture, ...]:
        return tuple(by_name[name] for name in names)

    parts = (pictures(names) for names in (content.train, content.val, content.test, content.left_out))
    split = Split(content.recipe, *parts, content.groups, content.groups_source, content.excluded, content.only)
    if split.fingerprint != content.fingerprint:
        raise UserError(f"{path}: its parts are not those it was written with; make the split again.")
    guard(split)
    return split
