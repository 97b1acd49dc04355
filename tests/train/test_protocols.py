"""The protocols that leak, --exclude and --only: what stands where, and that a leak is always named."""

import csv
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_splits import PARTS, data_set, groups_file

from device.errors import UserError
from train.data.busi import CLASSES, DataSet, read_dataset
from train.data.splits import Split, make_split
from train.options import leak_sentence, warnings
from train.recipe import SplitRecipe

SEEDS = st.integers(0, 2**32 - 1)


def names(pictures: tuple) -> list[str]:
    return [picture.name for picture in pictures]


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(5, 40)] * 3), SEEDS)
def test_random_holds_every_picture_once_stratified(sizes: tuple[int, ...], seed: int) -> None:
    data = data_set([label for label, size in zip(CLASSES, sizes) for _ in range(size)])
    split = make_split(data, SplitRecipe("random", seed=seed), None)
    assert Counter(n for part in PARTS for n in names(split.part(part))) == Counter(names(data.pictures))
    for part in ("val", "test"):
        for label, size in zip(CLASSES, sizes):
            assert sum(p.label == label for p in split.part(part)) in (size // 5, math.ceil(size / 5))
    assert split.leaks
    assert split == make_split(data, SplitRecipe("random", seed=seed), None)


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(8, 40)] * 3), SEEDS)
def test_paper_oversamples_every_class_to_the_biggest(sizes: tuple[int, ...], seed: int) -> None:
    data = data_set([label for label, size in zip(CLASSES, sizes) for _ in range(size)])
    split = make_split(data, SplitRecipe("paper", seed=seed), None)
    everywhere = Counter(p for part in PARTS for p in split.part(part))
    biggest = max(sizes)
    assert set(everywhere) == set(data.pictures), "every picture at least once"
    for label in CLASSES:
        assert sum(n for p, n in everywhere.items() if p.label == label) == biggest
    total = 3 * biggest
    assert len(split.test) == math.ceil(0.2 * total)
    assert len(split.val) == math.ceil(0.1 * total)
    for part in ("val", "test"):
        counts = Counter(p.label for p in split.part(part))
        assert max(counts[label] for label in CLASSES) - min(counts[label] for label in CLASSES) <= 1
    assert split.leaks


def test_the_papers_test_set_of_263(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    split = make_split(data, SplitRecipe("paper"), shared_data / "busi_curation" / "phash_groups.csv")
    assert len(split.train) + len(split.val) + len(split.test) == 1311 == 3 * 437
    assert len(split.test) == 263
    assert sorted(Counter(p.label for p in split.test).values()) == [87, 88, 88]
    # By construction: most malignant and normal pictures of the test part are in training too.
    train = set(split.train + split.val)
    identical = sum(p in train for p in split.test)
    groups, copies = split.crossing()
    assert copies > identical > 263 // 3
    assert groups <= copies
    other = make_split(data, SplitRecipe("paper", seed=1), None)
    assert other.fingerprint != split.fingerprint


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[DataSet, Path]:
    """Thirty pictures of each class; each two neighbours are a group."""
    data = data_set([label for label in CLASSES for _ in range(30)])
    return data, groups_file(tmp_path / "groups.csv", [(p.name, str(n // 2)) for n, p in enumerate(data.pictures)])


def test_crossing_counts_what_leaks(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    assert make_split(data, SplitRecipe(), groups).crossing() == (0, 0)
    for protocol in ("random", "paper"):
        split = make_split(data, SplitRecipe(protocol), groups)
        trained = {split.group_of[n] for part in ("train", "val") for n in names(split.part(part))}
        hit = [n for n in names(split.test) if split.group_of[n] in trained]
        assert split.crossing() == (len({split.group_of[n] for n in hit}), len(hit))
        assert len(hit) > 0
        described = split.describe()
        assert described["leaks"] is True
        assert described["protocol"] == protocol
        said = leak_sentence(described)
        assert f"{len(hit)} of {len(split.test)} test pictures" in said
        assert repr(protocol) in said


def test_excluded_pictures_leave_training_with_their_whole_groups(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    plain = make_split(data, SplitRecipe(), groups)
    chosen = (plain.train[0].name, plain.val[3].name, plain.test[5].name)
    split = make_split(data, SplitRecipe(), groups, exclude=chosen)
    gone = {plain.group_of[name] for name in chosen}
    assert split.test == plain.test, "the test part is not touched"
    for part in ("train", "val"):
        assert names(split.part(part)) == [n for n in names(plain.part(part)) if plain.group_of[n] not in gone]
    assert len(plain.train) - len(split.train) == 2
    assert len(plain.val) - len(split.val) == 2
    assert sorted(names(split.left_out)) == sorted(
        n for part in ("train", "val") for n in names(plain.part(part)) if plain.group_of[n] in gone
    )
    assert (split.excluded, split.describe()["excluded"]) == (chosen, 3)
    assert split.fingerprint != plain.fingerprint


def test_only_replaces_the_test_part_and_the_guard_holds(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    plain = make_split(data, SplitRecipe(), groups)
    published = (plain.test[2].name, plain.train[0].name, plain.train[-1].name)
    with pytest.raises(UserError, match=r"stands in both train and test.*--exclude"):
        make_split(data, SplitRecipe(), groups, only=published)
    split = make_split(data, SplitRecipe(), groups, exclude=published, only=published)
    assert sorted(names(split.test)) == sorted(published)
    assert split.crossing() == (0, 0)
    everywhere = [n for part in PARTS for n in names(split.part(part))] + names(split.left_out)
    assert sorted(everywhere) == sorted(names(data.pictures)), "each picture in one place"
    kin = {plain.group_of[n] for n in published}
    freed = [n for n in names(plain.test) if plain.group_of[n] not in kin]
    assert set(freed) <= set(names(split.train)), "the recipe's own test part trains"
    own = make_split(data, SplitRecipe(), groups, only=(plain.test[2].name,))
    assert len(own.test) == 1, "of the recipe's own test part no exclusion is needed"
    assert own.crossing() == (0, 0)
    assert split.describe()["only"] is True
    assert plain.describe()["only"] is False
    leaky = make_split(data, SplitRecipe("random"), groups, only=published)
    assert sorted(names(leaky.test)) == sorted(published), "a protocol named as leaky may"


def test_names_that_are_not_in_the_data(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    with pytest.raises(UserError, match=r"--exclude: 'benign \(99\).png' \(2 in all\)"):
        make_split(data, SplitRecipe(), groups, exclude=("x.png", "benign (99).png"))
    with pytest.raises(UserError, match=r"--only: 'x.png' \(1 in all\)"):
        make_split(data, SplitRecipe(), groups, only=("benign (1).png", "x.png"))


def test_too_much_excluded_is_said(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    plain = make_split(data, SplitRecipe(), groups)
    with pytest.raises(UserError, match="no picture is left for val"):
        make_split(data, SplitRecipe(), groups, exclude=tuple(names(plain.val)))
    malignant = tuple(n for n in names(data.pictures) if n.startswith("malignant"))
    with pytest.raises(UserError, match="no malignant picture is left for train"):
        make_split(data, SplitRecipe(), groups, exclude=malignant)


def test_what_nobody_looked_for_is_unknown_not_zero(pairs: tuple[DataSet, Path]) -> None:
    data, groups = pairs
    for protocol in ("grouped", "random", "paper"):
        described = make_split(data, SplitRecipe(protocol), None).describe()
        assert described["crossing"] is None
        said = warnings(described, synthetic=False)
        assert len(said) == 1
        assert ("an unknown number" in said[0]) is (protocol != "grouped")
        assert bool(warnings(described, synthetic=True)) is (protocol != "grouped")
    assert warnings(make_split(data, SplitRecipe(), groups).describe(), synthetic=False) == []


def test_random_and_paper_with_too_few_pictures() -> None:
    few = data_set(["benign"] * 9 + ["malignant"] * 4 + ["normal"] * 9)
    with pytest.raises(UserError, match="4 pictures of class 'malignant' are too few for 5 folds"):
        make_split(few, SplitRecipe("random"), None)
    tiny = data_set(["benign", "benign", "malignant", "normal"])
    with pytest.raises(UserError, match="6 pictures are too few for the protocol 'paper'"):
        make_split(tiny, SplitRecipe("paper"), None)


def test_leaving_a_published_test_set_out_of_real_training(shared_data: Path) -> None:
    # A list that somebody published: its pictures are judged, and no near-copy of them is trained on.
    with open(shared_data / "busi_curation" / "axilla_rhaiunet_27.csv", newline="") as stream:
        listed = tuple(row["image"] for row in csv.DictReader(stream))
    data, groups = read_dataset(shared_data / "busi"), shared_data / "busi_curation" / "phash_groups.csv"
    split: Split = make_split(data, SplitRecipe(), groups, exclude=listed, only=listed)
    assert sorted(names(split.test)) == sorted(listed)
    assert split.crossing() == (0, 0)
