"""split.json and lists of names: what is written is read back; anything altered or of other data is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_splits import data_set, groups_file

from device.errors import UserError
from device.files import write_json
from train.data.busi import CLASSES, DataSet
from train.data.lists import read_list
from train.data.split_file import read_split, write_split
from train.data.splits import make_split
from train.recipe import SplitRecipe


@pytest.fixture
def data() -> DataSet:
    return data_set([label for label in CLASSES for _ in range(40)])


@pytest.mark.parametrize("protocol", ["grouped", "random", "paper"])
def test_a_split_is_read_back_as_it_was(data: DataSet, protocol: str, tmp_path: Path) -> None:
    groups = groups_file(tmp_path / "groups.csv", [(p.name, str(n // 2)) for n, p in enumerate(data.pictures)])
    chosen = (data.pictures[0].name, data.pictures[20].name)
    split = make_split(data, SplitRecipe(protocol, seed=3), groups, exclude=chosen, only=chosen)
    write_split(tmp_path / "split.json", split, data)
    assert read_split(tmp_path / "split.json", data) == split


@pytest.fixture
def written(data: DataSet, tmp_path: Path) -> Path:
    path = tmp_path / "split.json"
    write_split(path, make_split(data, SplitRecipe(), None), data)
    return path


def refused(path: Path, data: DataSet, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        read_split(path, data)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_a_split_of_another_data_set(data: DataSet, written: Path) -> None:
    other = DataSet(data.root, data.name, data.pictures, "1" * 64, True)
    refused(written, other, "splits the data set 'made up'", "give the split of this data set")


def alter(path: Path, **changes: object) -> None:
    write_json(path, {**json.loads(path.read_text()), **changes})


def test_altered_parts(data: DataSet, written: Path) -> None:
    content = json.loads(written.read_text())
    moved = content["train"][1:], [*content["test"], content["train"][0]]
    alter(written, train=moved[0], test=moved[1])
    refused(written, data, "not those it was written with")
    alter(written, train=content["train"], test=["x.png"])
    refused(written, data, "'x.png'", "altered")
    alter(written, test=content["test"], groups={**content["groups"], "y.png": "1"})
    refused(written, data, "'y.png'")
    short = dict(content["groups"])
    del short[data.pictures[0].name]
    alter(written, groups=short)
    refused(written, data, repr(data.pictures[0].name))


def test_groups_on_two_sides(data: DataSet, written: Path) -> None:
    content = json.loads(written.read_text())
    leaking = {**content["groups"], content["train"][0]: "same", content["test"][0]: "same"}
    alter(written, groups=leaking, groups_source="sha256:of an audit")
    with pytest.raises(UserError, match="this split leaks"):
        read_split(written, data)
    alter(written, recipe={**content["recipe"], "protocol": "random"})
    assert read_split(written, data).crossing() == (1, 1)


def test_what_is_no_split_file(data: DataSet, written: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none.json", data, "no such split file")
    refused(tmp_path, data, "no such split file")
    for text, part in (
        ("{", "not readable as JSON"),
        ("[" * 9999, "JSON"),
        ("[]", "no split file"),
        ("{}", "version 1"),
    ):
        other = tmp_path / "other.json"
        other.write_text(text)
        refused(other, data, part)
    content = json.loads(written.read_text())
    alter(written, extra=1)
    refused(written, data, "unknown key 'extra'")
    written.write_text(json.dumps({key: value for key, value in content.items() if key != "val"}))
    refused(written, data, "'val' is missing")


def test_a_list_of_names(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff# published test set\r\n\r\nbenign (2).png\r\n  malignant (1).png \r\n".encode())
    assert read_list(path, "--only") == ("benign (2).png", "malignant (1).png")


LINES = st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12), max_size=8)


@given(LINES)
def test_any_list_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    wanted = [line.strip() for line in "\n".join(lines).removeprefix("\ufeff").splitlines()]
    wanted = [line for line in wanted if line and not line.startswith("#")]
    if wanted and len(set(wanted)) == len(wanted):
        assert read_list(path, "--only") == tuple(wanted)
    else:
        with pytest.raises(UserError):
            read_list(path, "--only")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"# nothing\n\n", "no picture name"),
        (b"a.png\na.png\n", "'a.png' stands there twice"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_wrong_list(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_list(path, "--exclude")
    assert part in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="check --only"):
        read_list(tmp_path / "none.txt", "--only")
