"""Splits that do not leak: a group (near-copies, pictures of one lesion) stands on one side only."""

import csv
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.errors import UserError
from train.data.busi import CLASSES, DataSet, Picture
from train.recipe import SplitRecipe


@dataclass(frozen=True)
class Split:
    """Train, validation and test pictures, what was left out, the group of each picture, and a fingerprint."""

    recipe: SplitRecipe
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    test: tuple[Picture, ...]
    left_out: tuple[Picture, ...]
    group_of: dict[str, str]
    groups_source: str
    fingerprint: str

    def part(self, name: str) -> tuple[Picture, ...]:
        """`train`, `val` or `test`."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def groups(self, pictures: tuple[Picture, ...]) -> np.ndarray:
        """(N,) group names of `pictures`."""
        return np.array([self.group_of[picture.name] for picture in pictures])

    def describe(self) -> dict:
        """What travels in meta.json and in the bundle."""
        return {
            "protocol": self.recipe.protocol,
            "folds": self.recipe.folds,
            "test_fold": self.recipe.test_fold,
            "val_fold": self.recipe.val_fold,
            "seed": self.recipe.seed,
            "groups": self.groups_source,
            "fingerprint": self.fingerprint,
            "pictures": {part: len(self.part(part)) for part in ("train", "val", "test")},
            "left_out": len(self.left_out),
        }


def read_groups(path: Path, data: DataSet) -> dict[str, str]:
    """Group of each picture from a CSV with the columns `image` and `group_id`.

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
                name, group = row["image"], row["group_id"]
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
    return groups


def make_split(data: DataSet, recipe: SplitRecipe, groups_file: Path | None) -> Split:
    """Split by the recipe. Without a groups file each picture is a group of its own (right only for phantoms).

    Raises UserError when there are fewer groups of a class than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    group_of = read_groups(groups_file, data) if groups_file else {p.name: p.name for p in data.pictures}
    labels_of_group = defaultdict(set)
    for picture in data.pictures:
        labels_of_group[group_of[picture.name]].add(picture.label)
    kept = [p for p in data.pictures if len(labels_of_group[group_of[p.name]]) == 1]
    left_out = tuple(p for p in data.pictures if len(labels_of_group[group_of[p.name]]) > 1)
    groups_per_class = Counter(label for labels in labels_of_group.values() if len(labels) == 1 for label in labels)
    for label in CLASSES:
        if groups_per_class[label] < recipe.folds:
            raise UserError(
                f"{data.root}: {groups_per_class[label]} groups of class {label!r} are too few for {recipe.folds} "
                "folds; add pictures or lower split.folds."
            )
    folds = StratifiedGroupKFold(recipe.folds, shuffle=True, random_state=recipe.seed).split(
        kept, [p.label for p in kept], [group_of[p.name] for p in kept]
    )
    parts = [tuple(kept[i] for i in test) for _, test in folds]
    rest = [f for f in range(recipe.folds) if f not in (recipe.test_fold, recipe.val_fold)]
    train = tuple(p for f in rest for p in parts[f])
    val, test = parts[recipe.val_fold], parts[recipe.test_fold]
    guard(group_of, {"train": train, "val": val, "test": test})
    source = f"sha256:{hashlib.sha256(groups_file.read_bytes()).hexdigest()}" if groups_file else "one per picture"
    digest = hashlib.sha256(
        "\0".join(
            f"{part}:{p.name}" for part, pictures in (("train", train), ("val", val), ("test", test)) for p in pictures
        ).encode()
    )
    return Split(recipe, train, val, test, left_out, group_of, source, digest.hexdigest())


def guard(group_of: dict[str, str], parts: dict[str, tuple[Picture, ...]]) -> None:
    """Raise UserError when a group stands in two parts."""
    side: dict[str, str] = {}
    for part, pictures in parts.items():
        for picture in pictures:
            other = side.setdefault(group_of[picture.name], part)
            if other != part:
                raise UserError(
                    f"the group of {picture.name!r} stands in both {other} and {part}: this split leaks; correct it."
                )
