"""Splits: no group on two sides, whatever the groups are; every wrong groups file is refused."""

import csv
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import UserError
from train.data.busi import CLASSES, DataSet, Picture, read_dataset
from train.data.groups import read_groups
from train.data.splits import Split, guard, make_split
from train.recipe import SplitRecipe

PARTS = ("train", "val", "test")


def data_set(labels: list[str]) -> DataSet:
    """A data set of pictures with these labels that exists only as a list."""
    numbers: Counter[str] = Counter()
    pictures = []
    for label in sorted(labels):
        numbers[label] += 1
        name = f"{label} ({numbers[label]}).png"
        pictures.append(Picture(name, Path("nowhere") / label / name, label, ()))
    return DataSet(Path("nowhere"), "made up", tuple(pictures), "0" * 64, True)


def groups_file(path: Path, rows: list[tuple[str, str]], header: tuple[str, ...] = ("image", "group_id")) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def assert_sound(data: DataSet, split: Split, folds: int) -> None:
    """What must hold for every split."""
    parts = {part: split.part(part) for part in PARTS}
    everywhere = Counter(p.name for pictures in (*parts.values(), split.left_out) for p in pictures)
    assert everywhere == Counter(p.name for p in data.pictures), "each picture exactly once"
    sides: dict[str, set[str]] = {}
    for part, pictures in parts.items():
        for group in split.groups(pictures):
            sides.setdefault(group, set()).add(part)
    assert all(len(found) == 1 for found in sides.values()), "no group on two sides"
    labels: dict[str, set[str]] = {}
    for picture in data.pictures:
        labels.setdefault(split.group_of[picture.name], set()).add(picture.label)
    conflicting = {group for group, found in labels.items() if len(found) > 1}
    assert {split.group_of[p.name] for p in split.left_out} == conflicting
    assert sides.keys() == labels.keys() - conflicting
    for pictures in parts.values():
        assert {p.label for p in pictures} == set(CLASSES), "every class in every part"


@st.composite
def _grouped_data(draw: st.DrawFn) -> tuple[DataSet, list[tuple[str, str]], int]:
    """A data set, the rows of its groups file in any order, and a number of folds that it can fill."""
    folds = draw(st.integers(3, 6))
    sizes = st.lists(st.integers(1, 4), min_size=folds, max_size=9)
    groups = [[label] * size for label in CLASSES for size in draw(sizes)]
    groups += draw(st.lists(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4), max_size=3))
    data = data_set([label for group in groups for label in group])
    waiting = {label: [p.name for p in data.pictures if p.label == label] for label in CLASSES}
    rows = [(waiting[label].pop(), f"g{n}") for n, group in enumerate(groups) for label in group]
    return data, draw(st.permutations(rows)), folds


@settings(deadline=None, max_examples=60)
@given(_grouped_data(), st.integers(0, 2**32 - 1), st.data())
def test_no_group_stands_on_two_sides(
    made: tuple[DataSet, list[tuple[str, str]], int], seed: int, draw: st.DataObject
) -> None:
    data, rows, folds = made
    test_fold, val_fold = draw.draw(st.permutations(range(folds)))[:2]
    recipe = SplitRecipe(folds=folds, test_fold=test_fold, val_fold=val_fold, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = groups_file(Path(folder) / "groups.csv", rows)
        split, again = make_split(data, recipe, path), make_split(data, recipe, path)
        sorted_file = groups_file(Path(folder) / "sorted.csv", sorted(rows))
        other_order = make_split(data, recipe, sorted_file)
    assert_sound(data, split, folds)
    assert split == again
    assert other_order.fingerprint == split.fingerprint, "the order of the file's lines does not matter"
    swapped = make_split_of(data, rows, SplitRecipe("grouped", folds, val_fold, test_fold, seed))
    assert (swapped.val, swapped.test, swapped.train) == (split.test, split.val, split.train)
    assert swapped.fingerprint != split.fingerprint


def make_split_of(data: DataSet, rows: list[tuple[str, str]], recipe: SplitRecipe) -> Split:
    with tempfile.TemporaryDirectory() as folder:
        return make_split(data, recipe, groups_file(Path(folder) / "groups.csv", rows))


def test_the_test_folds_together_hold_every_picture_once() -> None:
    data = data_set([label for label in CLASSES for _ in range(11)])
    tests = [make_split(data, SplitRecipe(test_fold=f, val_fold=(f + 1) % 5), None).test for f in range(5)]
    assert Counter(p.name for test in tests for p in test) == Counter(p.name for p in data.pictures)


def test_another_seed_gives_another_split_of_about_the_same_sizes() -> None:
    data = data_set(["benign"] * 40 + ["malignant"] * 25 + ["normal"] * 15)
    splits = [make_split(data, SplitRecipe(seed=seed), None) for seed in range(4)]
    assert len({split.fingerprint for split in splits}) == 4
    assert len({frozenset(p.name for p in split.test) for split in splits}) == 4
    for split in splits:
        assert Counter(p.label for p in split.test) == {"benign": 8, "malignant": 5, "normal": 3}
        assert split.recipe.seed in range(4)


def test_describe_gives_what_makes_the_split_again() -> None:
    data = data_set([label for label in CLASSES for _ in range(10)])
    recipe = SplitRecipe(folds=5, test_fold=3, val_fold=2, seed=9)
    split = make_split(data, recipe, None)
    described = split.describe()
    assert described["pictures"] == {"train": 18, "val": 6, "test": 6}
    assert (described["left_out"], described["groups"]) == (0, "one per picture")
    names = ("protocol", "folds", "test_fold", "val_fold", "seed")
    again = make_split(data, SplitRecipe(**{name: described[name] for name in names}), None)
    assert again.fingerprint == described["fingerprint"]


def test_describe_names_the_groups_file_by_its_hash(tmp_path: Path) -> None:
    data = data_set([label for label in CLASSES for _ in range(6)])
    path = groups_file(tmp_path / "groups.csv", [(p.name, p.name) for p in data.pictures])
    first = make_split(data, SplitRecipe(), path)
    path.write_text(path.read_text() + "\n")
    second = make_split(data, SplitRecipe(), path)
    assert first.groups_source != second.groups_source
    assert re.fullmatch("sha256:[0-9a-f]{64}", first.groups_source)
    assert first.fingerprint == second.fingerprint == make_split(data, SplitRecipe(), None).fingerprint


@pytest.mark.parametrize("short", CLASSES)
def test_too_few_groups_of_a_class_for_the_folds(short: str, tmp_path: Path) -> None:
    data = data_set([label for label in CLASSES for _ in range(4 if label == short else 5)])
    with pytest.raises(UserError, match=f"4 groups of class '{short}' are too few for 5 folds"):
        make_split(data, SplitRecipe(folds=5), None)
    make_split(data, SplitRecipe(folds=4), None)


def test_many_pictures_in_few_groups_are_too_few(tmp_path: Path) -> None:
    data = data_set([label for label in CLASSES for _ in range(20)])
    rows = [(p.name, f"{p.label}{n % 4}") for n, p in enumerate(data.pictures)]
    with pytest.raises(UserError, match="4 groups of class 'benign' are too few for 5 folds"):
        make_split_of(data, rows, SplitRecipe(folds=5))


def test_a_class_whose_every_group_conflicts_is_too_few() -> None:
    data = data_set([label for label in CLASSES for _ in range(10)])
    pairs = {"normal": "n", "benign": "n"}  # each normal shares its group with a benign one
    rows = [(p.name, f"{pairs.get(p.label, p.label)}{p.name.split('(')[1]}") for p in data.pictures]
    with pytest.raises(UserError, match="0 groups of class 'benign' are too few"):
        make_split_of(data, rows, SplitRecipe())
    only_normal = data_set(["benign"] * 20 + ["malignant"] * 10 + ["normal"] * 10)
    rows = [(p.name, f"{pairs.get(p.label, p.label)}{p.name.split('(')[1]}") for p in only_normal.pictures]
    with pytest.raises(UserError, match="0 groups of class 'normal' are too few"):
        make_split_of(only_normal, rows, SplitRecipe())


@pytest.fixture
def ten_each() -> tuple[DataSet, list[tuple[str, str]]]:
    data = data_set([label for label in CLASSES for _ in range(10)])
    return data, [(p.name, str(n // 2)) for n, p in enumerate(data.pictures)]


def refused(path: Path, data: DataSet, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        make_split(data, SplitRecipe(), path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_a_groups_file_of_another_data_set(ten_each: tuple, tmp_path: Path) -> None:
    data, rows = ten_each
    path = tmp_path / "groups.csv"
    refused(groups_file(path, rows[1:]), data, "has no group for 'benign (1).png' (1 in all)")
    refused(groups_file(path, [*rows, ("x.png", "1"), ("y.png", "1")]), data, "names 'x.png' (2 in all)")
    refused(groups_file(path, [(name.upper(), group) for name, group in rows]), data, "(30 in all)")
    refused(groups_file(path, []), data, "(30 in all)")


def test_a_groups_file_without_its_columns(ten_each: tuple, tmp_path: Path) -> None:
    data, rows = ten_each
    path = tmp_path / "groups.csv"
    for header in (("image", "group"), ("name", "group_id"), ("Image", "group_id")):
        refused(groups_file(path, rows, header), data, "columns image and group_id")
    path.write_text("")
    refused(path, data, "columns image and group_id")


def test_a_picture_in_two_groups_or_in_none(ten_each: tuple, tmp_path: Path) -> None:
    data, rows = ten_each
    path = tmp_path / "groups.csv"
    refused(groups_file(path, [*rows, (rows[0][0], "other")]), data, "'benign (1).png'", "line 32")
    refused(groups_file(path, [(rows[0][0], ""), *rows[1:]]), data, "'benign (1).png'", "line 2")
    refused(groups_file(path, [(rows[0][0],), *rows[1:]]), data, "'benign (1).png'")
    assert read_groups(groups_file(path, [*rows, rows[0]]), data)[0] == dict(rows), "the same line twice does no harm"


def test_a_groups_file_that_is_none(ten_each: tuple, tmp_path: Path) -> None:
    data, _ = ten_each
    refused(tmp_path / "none.csv", data, "no such groups file")
    refused(tmp_path, data, "no such groups file")
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    refused(picture, data, "not readable as CSV")


def test_a_spreadsheets_groups_file_is_read(ten_each: tuple, tmp_path: Path) -> None:
    data, rows = ten_each
    path = tmp_path / "groups.csv"
    lines = ["image,group_id", *(f"{name},{group}" for name, group in rows)]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert read_groups(path, data)[0] == dict(rows)


def test_the_guard_raises_on_a_leak() -> None:
    one, two, three, four = data_set(["benign", "benign", "normal", "normal"]).pictures
    groups = {one.name: "a", two.name: "a", three.name: "b", four.name: "c"}
    guard(Split(SplitRecipe(), (one, two), (three,), (four,), (), groups, "made up"))
    for parts in (((one,), (three,), (two,)), ((three,), (one,), (two,)), ((one,), (two,), (three,))):
        with pytest.raises(UserError, match=r"benign \(2\).*stands in both.*leaks"):
            guard(Split(SplitRecipe(), *parts, (), groups, "made up"))
        for protocol in ("random", "paper"):
            guard(Split(SplitRecipe(protocol), *parts, (), groups, "made up"))


def test_a_splitter_that_leaks_is_caught(ten_each: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    # The guard stands in make_split itself: a splitter that ignores groups must not get through.
    import sklearn.model_selection

    class Ignorant(sklearn.model_selection.StratifiedKFold):
        def split(self, pictures: list, labels: list, groups: list):
            return super().split(pictures, labels)

    monkeypatch.setattr(sklearn.model_selection, "StratifiedGroupKFold", Ignorant)
    data, rows = ten_each
    with pytest.raises(UserError, match="this split leaks"):
        make_split_of(data, rows, SplitRecipe())


def test_the_real_data_set_with_its_near_copies(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    split = make_split(data, SplitRecipe(), shared_data / "busi_curation" / "phash_groups.csv")
    assert_sound(data, split, 5)
    assert len(split.left_out) == 18
    assert len({split.group_of[p.name] for p in split.left_out}) == 8
    assert len(split.train) + len(split.val) + len(split.test) == 762
    left_out = {p.name for p in split.left_out}
    assert {"benign (433).png", "malignant (145).png"} <= left_out, "pixel-identical with opposite labels"
    assert len(set(split.group_of.values())) == 627
    whole = Counter(p.label for part in PARTS for p in split.part(part))
    for part in ("val", "test"):
        found = Counter(p.label for p in split.part(part))
        for label in CLASSES:
            assert found[label] == pytest.approx(whole[label] / 5, abs=4), "stratified"
    # A near-copy pair of the curation list stands on one side.
    with open(shared_data / "busi_curation" / "phash_pairs_le4.csv", newline="") as stream:
        pairs = [(row["img_a"], row["img_b"]) for row in csv.DictReader(stream)]
    side = {p.name: part for part in PARTS for p in split.part(part)}
    assert len(pairs) == 186
    assert all(side.get(a) == side.get(b) for a, b in pairs)


def test_groups_are_in_the_order_of_the_pictures(ten_each: tuple) -> None:
    data, rows = ten_each
    split = make_split_of(data, rows, SplitRecipe())
    assert split.groups(split.val).tolist() == [dict(rows)[p.name] for p in split.val]
    assert isinstance(split.groups(split.val), np.ndarray)


@pytest.mark.parametrize("protocol", ["grouped", "random"])
@pytest.mark.parametrize("parts", [2, 3])
def test_a_part_of_the_validation_fold_validates_and_the_rest_trains(
    protocol: str, parts: int, phantoms: Path, tmp_path: Path
) -> None:
    data = read_dataset(phantoms)
    whole = make_split(data, SplitRecipe(protocol, folds=3, seed=4), None)
    cut = make_split(data, SplitRecipe(protocol, folds=3, seed=4, val_parts=parts), None)
    assert cut.test == whole.test
    assert set(cut.val) < set(whole.val)
    assert set(cut.train) == set(whole.train) | (set(whole.val) - set(cut.val))
    assert len(cut.train) + len(cut.val) == len(whole.train) + len(whole.val)
    assert abs(len(cut.val) - len(whole.val) / parts) <= 2
    assert {p.label for p in cut.val} == set(data.classes)
    assert cut.describe()["val_parts"] == parts


def test_groups_stay_together_in_a_part_of_the_validation_fold(phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    pairs = tmp_path / "groups.csv"  # every two neighbours of a class are one group
    rows = [f"{p.name},{p.label} {i // 2}" for i, p in enumerate(data.pictures)]
    pairs.write_text("\n".join(["image,group_id", *rows]) + "\n")
    split = make_split(data, SplitRecipe(folds=3, val_parts=2), pairs)
    assert not set(split.groups(split.val)) & set(split.groups(split.train))
    with pytest.raises(UserError, match=r"groups of the validation fold .* too few for 10 parts; .* split.val_parts"):
        make_split(data, SplitRecipe(folds=3, val_parts=10), pairs)
