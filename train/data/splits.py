"""Splits as named, seeded protocols. `grouped` does not leak: near-copies stand on one side only. Two others do."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.errors import UserError
from train.data.busi import DataSet, Picture
from train.data.groups import one_per_picture, read_groups
from train.options import ONE_PER_PICTURE
from train.recipe import SplitRecipe

PARTS = ("train", "val", "test")
TEST_SHARE, VAL_SHARE = 0.2, 0.1  # of the protocol `paper`


@dataclass(frozen=True)
class Split:
    """Train, validation and test pictures, what was left out, the group of each picture, and a fingerprint.

    excluded: the names given with --exclude; only: whether the test part is a list given with --only; dropped: how many
    entries an evaluation left out of the test part. Under the protocol `paper` a picture stands as often in the parts
    as it was drawn.
    """

    recipe: SplitRecipe
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    test: tuple[Picture, ...]
    left_out: tuple[Picture, ...]
    group_of: dict[str, str]
    groups_source: str
    excluded: tuple[str, ...] = ()
    only: bool = False
    dropped: int = 0

    @property
    def leaks(self) -> bool:
        """Whether the protocol is named as leaky."""
        return self.recipe.leaks

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names in each part."""
        names = (f"{part}:{picture.name}" for part in PARTS for picture in self.part(part))
        return hashlib.sha256("\0".join(names).encode()).hexdigest()

    def part(self, name: str) -> tuple[Picture, ...]:
        """`train`, `val` or `test`."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def groups(self, pictures: Iterable[Picture]) -> np.ndarray:
        """(N,) group names of `pictures`."""
        return np.array([self.group_of[picture.name] for picture in pictures])

    def crossing(self) -> tuple[int, int] | None:
        """Groups with pictures in the test part and in training or validation, and their entries in the test part.

        None when nobody looked for near-copies: then only the very same picture would be counted.
        """
        if self.groups_source == ONE_PER_PICTURE:
            return None
        known = {self.group_of[picture.name] for picture in self.train + self.val}
        crossed = [group for group in self.groups(self.test) if group in known]
        return len(set(crossed)), len(crossed)

    def describe(self) -> dict:
        """What travels in meta.json and in the bundle."""
        crossing = self.crossing()
        return {
            "protocol": self.recipe.protocol,
            "leaks": self.leaks,
            "crossing": crossing and {"groups": crossing[0], "test_pictures": crossing[1]},
            "folds": self.recipe.folds,
            "test_fold": self.recipe.test_fold,
            "val_fold": self.recipe.val_fold,
            "val_parts": self.recipe.val_parts,
            "seed": self.recipe.seed,
            "groups": self.groups_source,
            "fingerprint": self.fingerprint,
            "pictures": {part: len(self.part(part)) for part in PARTS},
            "left_out": len(self.left_out),
            "excluded": len(self.excluded),
            "only": self.only,
            "dropped": self.dropped,
        }


def make_split(
    data: DataSet,
    recipe: SplitRecipe,
    groups_file: Path | None,
    exclude: tuple[str, ...] = (),
    only: tuple[str, ...] | None = None,
) -> Split:
    """Split by the recipe. Without a groups file each picture is a group of its own (right only for phantoms).

    exclude: names whose whole groups are left out of training and validation. only: names that become the test part;
    the recipe's own then trains as well. Whatever stands in no part is left out. Raises UserError when there are too
    few groups or pictures of a class, when a name is not in the data set, or when a group ends up on both sides
    although the protocol is not named as leaky.
    """
    group_of, source = read_groups(groups_file, data) if groups_file else one_per_picture(data)
    train, val, test = _PROTOCOLS[recipe.protocol](data, recipe, group_of)
    unwanted = {group_of[picture.name] for picture in named(data, exclude, "--exclude")}
    if only is not None:
        judged = named(data, only, "--only")
        kin = {group_of[picture.name] for picture in judged}
        # The recipe's own test part is free again: it trains, but for what is judged and its copies.
        train, test = train + tuple(p for p in test if group_of[p.name] not in kin), judged
    train, val = (tuple(p for p in part if group_of[p.name] not in unwanted) for part in (train, val))
    split = Split(recipe, train, val, test, (), group_of, source, tuple(exclude), only is not None)
    used = {picture for part in PARTS for picture in split.part(part)}
    split = replace(split, left_out=tuple(p for p in data.pictures if p not in used))
    for name in PARTS:
        if not split.part(name):
            raise UserError(f"{data.root}: no picture is left for {name}; exclude fewer pictures.")
    for name in ("train", "val"):
        missing = set(data.classes) - {picture.label for picture in split.part(name)}
        if missing:
            raise UserError(f"{data.root}: no {min(missing)} picture is left for {name}; exclude fewer pictures.")
    guard(split)
    return split


def named(data: DataSet, names: Iterable[str], option: str) -> tuple[Picture, ...]:
    """The pictures of these names, in the order of the data set. Raises UserError on a name that is not in it."""
    wanted = set(names)
    unknown = wanted - {picture.name for picture in data.pictures}
    if unknown:
        raise UserError(
            f"{option}: {min(unknown)!r} ({len(unknown)} in all) is no picture of {data.root}; correct the list."
        )
    return tuple(picture for picture in data.pictures if picture.name in wanted)


def guard(split: Split) -> None:
    """Raise UserError when a group stands in two parts, unless the protocol is named as leaky."""
    if split.leaks:
        return
    side: dict[str, str] = {}
    for part in PARTS:
        for picture in split.part(part):
            other = side.setdefault(split.group_of[picture.name], part)
            if other != part:
                raise UserError(
                    f"the group of {picture.name!r} stands in both {other} and {part}: this split leaks; exclude the "
                    "group from training (--exclude), or name a leaky protocol in the recipe."
                )


Parts = tuple[tuple[Picture, ...], tuple[Picture, ...], tuple[Picture, ...]]


def _grouped(data: DataSet, recipe: SplitRecipe, group_of: dict[str, str]) -> Parts:
    from sklearn.model_selection import StratifiedGroupKFold

    labels_of_group = defaultdict(set)
    for picture in data.pictures:
        labels_of_group[group_of[picture.name]].add(picture.label)
    kept = [p for p in data.pictures if len(labels_of_group[group_of[p.name]]) == 1]
    per_class = Counter(label for labels in labels_of_group.values() if len(labels) == 1 for label in labels)
    _enough(data, per_class, "groups", recipe.folds, "split.folds")
    folds = StratifiedGroupKFold(recipe.folds, shuffle=True, random_state=recipe.seed).split(
        kept, [p.label for p in kept], [group_of[p.name] for p in kept]
    )
    parts = [[kept[i] for i in test] for _, test in folds]
    train, val, test = _from_folds(parts, recipe)
    if recipe.val_parts > 1:
        labels = {group_of[p.name]: p.label for p in val}
        _enough(data, Counter(labels.values()), "groups of the validation fold", recipe.val_parts, "split.val_parts")
        cut = StratifiedGroupKFold(recipe.val_parts, shuffle=True, random_state=recipe.seed).split(
            val, [p.label for p in val], [group_of[p.name] for p in val]
        )
        train, val = _first_part(train, val, next(cut)[1])
    return train, val, test


def _random(data: DataSet, recipe: SplitRecipe, group_of: dict[str, str]) -> Parts:
    from sklearn.model_selection import StratifiedKFold

    pictures = data.pictures
    _enough(data, Counter(p.label for p in pictures), "pictures", recipe.folds, "split.folds")
    folds = StratifiedKFold(recipe.folds, shuffle=True, random_state=recipe.seed).split(
        pictures, [p.label for p in pictures]
    )
    train, val, test = _from_folds([[pictures[i] for i in test] for _, test in folds], recipe)
    if recipe.val_parts > 1:
        counts = Counter(p.label for p in val)
        _enough(data, counts, "pictures of the validation fold", recipe.val_parts, "split.val_parts")
        cut = StratifiedKFold(recipe.val_parts, shuffle=True, random_state=recipe.seed)
        train, val = _first_part(train, val, next(cut.split(val, [p.label for p in val]))[1])
    return train, val, test


def _first_part(
    train: tuple[Picture, ...], val: tuple[Picture, ...], chosen: Iterable[int]
) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """The validation fold's chosen pictures validate, the others train."""
    kept = set(chosen)
    return train + tuple(p for i, p in enumerate(val) if i not in kept), tuple(val[i] for i in sorted(kept))


def _paper(data: DataSet, recipe: SplitRecipe, group_of: dict[str, str]) -> Parts:
    """Every picture once, and random ones again until each class is as big as the biggest; then cut at random.

    It explains the paper's test set of 263 = 87 + 88 + 88: 3 x 437 = 1311 pictures, ceil(0.2 x 1311) = 263. Which
    pictures chose the paper's epoch is not known; here they are a tenth of the 1311, apart from the test part.
    """
    from sklearn.model_selection import train_test_split

    rng = np.random.default_rng(recipe.seed)
    biggest = max(data.counts().values())
    pool: list[Picture] = []
    for label in data.classes:
        members = [p for p in data.pictures if p.label == label]
        pool += members + [members[i] for i in rng.integers(len(members), size=biggest - len(members))]
    sizes = [math.ceil(share * len(pool)) for share in (TEST_SHARE, VAL_SHARE)]
    if min(sizes) < len(data.classes):
        raise UserError(f"{data.root}: {len(pool)} pictures are too few for the protocol 'paper'; add pictures.")
    rest, test = train_test_split(pool, test_size=sizes[0], stratify=[p.label for p in pool], random_state=recipe.seed)
    train, val = train_test_split(rest, test_size=sizes[1], stratify=[p.label for p in rest], random_state=recipe.seed)
    return tuple(train), tuple(val), tuple(test)


_PROTOCOLS = {"grouped": _grouped, "random": _random, "paper": _paper}


def _from_folds(parts: list[list[Picture]], recipe: SplitRecipe) -> Parts:
    rest = [f for f in range(recipe.folds) if f not in (recipe.test_fold, recipe.val_fold)]
    return tuple(p for f in rest for p in parts[f]), tuple(parts[recipe.val_fold]), tuple(parts[recipe.test_fold])


def _enough(data: DataSet, per_class: Counter, what: str, wanted: int, key: str) -> None:
    for label in data.classes:
        if per_class[label] < wanted:
            raise UserError(
                f"{data.root}: {per_class[label]} {what} of class {label!r} are too few for {wanted} "
                f"{key.removeprefix('split.').removeprefix('val_')}; add pictures or lower {key}."
            )
