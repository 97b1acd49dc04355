"""The options that decide a split, as a user types them, and `busi-kd train split`."""

import json
from pathlib import Path

import pytest
from small_busi import write_small_busi
from tiny_recipe import write_tiny_recipe
from train_commands import refused

from device.main import main
from train.data.busi import CLASSES, read_dataset
from train.data.split_file import read_split
from train.data.splits import make_split
from train.recipe import SplitRecipe
from train.runs import load_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small_busi(tmp_path / "data", per_class=20)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    return write_tiny_recipe(tmp_path / "tiny.toml", ("epochs = 3", "epochs = 1"))


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.csv"
    rows = [f"{label} ({n}).png,{label}{n // 2}" for label in CLASSES for n in range(1, 21)]
    path.write_text("image,group_id\n" + "\n".join(rows) + "\n")
    return path


def written(path: Path, *names: str) -> Path:
    path.write_text("# a list\n" + "\n".join(names) + "\n")
    return path


def test_a_split_is_written_and_taken_by_a_training(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = written(tmp_path / "list.txt", "benign (1).png", "malignant (4).png")
    out = tmp_path / "split.json"
    options = ["--groups", groups, "--exclude", listed, "--only", listed, "--recipe", recipe]
    assert main([str(a) for a in ["train", "split", data, *options, "--out", out]]) == 0
    said = capsys.readouterr().out
    found = read_dataset(data)
    names = ("benign (1).png", "malignant (4).png")
    wanted = make_split(found, SplitRecipe(), groups, names, names)
    assert read_split(out, found) == wanted
    assert f"{len(wanted.train)} train, {len(wanted.val)} val, 2 test" in said
    run = tmp_path / "run"
    call = ["train", "distill", data, "--no-teacher", "--recipe", recipe, "--split", out, "--out", run]
    assert main([str(a) for a in call]) == 0
    assert load_run(run).meta.split == wanted.describe()
    assert read_split(run / "split.json", found) == wanted


def test_a_protocol_that_leaks_is_said_on_stderr_and_stands_in_the_recipe(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "split", data, "--recipe", recipe, "--groups", groups]
    for protocol, leaks in (("random", True), ("paper", True), ("grouped", False)):
        out = tmp_path / f"{protocol}.json"
        assert main([str(a) for a in [*call, "--protocol", protocol, "--out", out]]) == 0
        assert (f"The protocol {protocol!r} leaks by construction" in capsys.readouterr().err) is leaks
        assert json.loads(out.read_text())["recipe"]["protocol"] == protocol


def test_wrong_lists_and_splits(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "split", data, "--recipe", recipe, "--groups", groups, "--out", tmp_path / "s.json"]
    refused(capsys, [*call, "--exclude", tmp_path / "none.txt"], "none.txt", "check --exclude")
    unknown = written(tmp_path / "list.txt", "other (1).png")
    refused(capsys, [*call, "--exclude", unknown], "--exclude", "'other (1).png'", str(data))
    refused(capsys, [*call, "--only", unknown], "--only", "'other (1).png'")
    trained = written(tmp_path / "list.txt", *(f"benign ({n}).png" for n in range(1, 21)))
    refused(capsys, [*call, "--only", trained], "this split leaks", "--exclude")
    refused(capsys, [*call, "--split", tmp_path / "s.json"], "leave --groups away")
    assert not (tmp_path / "s.json").exists()
    other = write_small_busi(tmp_path / "other", per_class=11)
    assert (
        main(
            [str(a) for a in ["train", "split", other, "--recipe", recipe, "--no-groups", "--out", tmp_path / "s.json"]]
        )
        == 0
    )
    plain = ["train", "split", data, "--recipe", recipe, "--out", tmp_path / "t.json"]
    refused(capsys, plain, str(data), "busi-kd train audit", "--no-groups")
    refused(capsys, [*plain, "--groups", groups, "--no-groups"], "contradict")
    refused(capsys, [*plain, "--split", tmp_path / "s.json"], "s.json", "give the split of this data set")
    assert not (tmp_path / "t.json").exists()


def test_a_teacher_of_another_exclusion_is_refused(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    common = [data, "--recipe", recipe, "--groups", groups]
    assert main([str(a) for a in ["train", "teacher", *common, "--out", teacher]]) == 0
    listed = written(tmp_path / "list.txt", "benign (1).png", "benign (5).png", "benign (9).png")
    call = ["train", "distill", *common, "--exclude", listed, "--teacher", teacher, "--out", student]
    refused(capsys, call, str(teacher), "trained on another split")


def test_a_split_is_never_written_over_another_file(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "split.json"
    call = ["train", "split", data, "--recipe", recipe, "--groups", groups, "--out", out]
    out.write_text("precious")
    refused(capsys, call, str(out))
    assert out.read_text() == "precious"
    out.unlink()
    assert main([str(a) for a in call]) == 0
    assert main([str(a) for a in call]) == 0, "the same split again does no harm"
    listed = written(tmp_path / "list.txt", "benign (1).png")
    refused(capsys, [*call, "--exclude", listed], str(out), "holds something else")
    refused(capsys, [*call[:-1], tmp_path], str(tmp_path), "choose another --out")


def test_a_finished_run_is_not_taken_for_one_with_other_groups(
    data: Path, recipe: str, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "distill", data, "--no-teacher", "--recipe", recipe, "--protocol", "random"]
    call += ["--out", tmp_path / "run"]
    assert main([str(a) for a in [*call, "--no-groups"]]) == 0
    refused_lines = [*call, "--groups", groups]
    assert main([str(a) for a in refused_lines]) == 2
    assert "other groups of near-copies" in capsys.readouterr().err
