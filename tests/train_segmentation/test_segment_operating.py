"""Threshold and abstention from the class heads of a segmentation study: as for a student, and kept by a training."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_study import HEAD, made_up

from device import schema
from device.errors import UserError
from device.main import main
from train.segmentation.operating import asked
from train.segmentation.recipe import SegRecipe
from train.segmentation.results import SegResult, read_result, write_result
from train.segmentation.study import SegStudy, read_study
from train.studies.grid.results import result_path, write_pictures
from train.studies.operating_file import read_derived
from train.studies.out_of_fold_page import NUMBERS, of_grid

ROW = """
[[row]]
name = "both"
change.train_on = ["benign", "malignant", "normal"]
change.classes = {}
change.preprocess = { height = 64, width = 64 }
change.network = { name = "two-heads", width = 8 }
change.fit = { epochs = 1, batch = 16 }
"""
OUTLINING = '[[row]]\nname = "outlines alone"\n'


def study_of(folder: Path, decide: str = "[1, 2]") -> SegStudy:
    folder.mkdir(exist_ok=True)
    text = HEAD.replace('recipe = "demo"\n', "").replace("[1, 2]", decide)
    (folder / "both.toml").write_text(text + ROW + OUTLINING)
    return read_study(str(folder / "both.toml"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SegStudy, dict]:
    """A study whose class heads gave the very answers of a made-up study of students."""
    folder = tmp_path_factory.mktemp("operating")
    grid = made_up(folder / "grid", '[[row]]\nname = "both"\n', {"both": 1.5})
    study = study_of(folder)
    for job in study.jobs([study.row("both")]):
        said = grid[2][job.key]
        recipe = schema.dump(job.recipe)
        one = SegResult(
            *job.key, recipe, said.data, "s", {}, 10, 0.1, 100, {}, 1.0, "here", {}, {}, said.test, said.val
        )
        write_result(folder / "out", one)
    write_pictures(folder / "out", grid[1])
    return folder, study, grid


def call(folder: Path, row: str, *more: str) -> list[str]:
    given = [folder / "both.toml", "--out", folder / "out", "--table-only", "--operating-point", row, "--repeats", "20"]
    return ["train", "segment", *map(str, given), *more]


def test_the_threshold_is_that_of_a_student_with_the_same_answers(done) -> None:
    folder, _, _ = done
    assert main(call(folder, "both")) == 1  # the other row's trainings are missing
    student = [
        "train",
        "operating-point",
        folder / "grid/study.toml",
        "--results",
        folder / "grid/out",
        "--row",
        "both",
    ]
    assert main([str(word) for word in [*student, "--repeats", 20]]) == 0
    ours = json.loads((folder / "out/operating-point/both" / NUMBERS).read_text())
    theirs = json.loads((folder / "grid/out/operating-point/both" / NUMBERS).read_text())
    assert {key for key in theirs if ours[key] != theirs[key]} == {"recipe"}
    assert ours["folds"] == [1, 2]
    page = (folder / "out/operating-point/both/README.md").read_text()
    assert "busi-kd train segment both.toml --seeds 0,1 --out DIR --table-only --operating-point both" in page
    assert "SYNTHETIC" in page


def test_it_speaks_for_the_same_recipe_on_the_fold_that_did_not_decide(done) -> None:
    folder, study, _ = done
    path = folder / "out/operating-point/both" / NUMBERS
    recipe = replace(study.jobs([study.row("both")])[0].recipe, seed=9)
    known = {"data_fingerprint": "0" * 64, "split": {"groups": "sha256:0", "only": False}}
    facts = json.loads(path.read_text())
    assert schema.dump(read_derived(path, SimpleNamespace(recipe=recipe, **known)).point) == facts["threshold"]
    others = {
        r"another recipe \(its int8_epochs differs\)": replace(recipe, int8_epochs=1),
        "is the .* test part": replace(recipe, split=replace(recipe.split, test_fold=2)),
        r"another recipe \(its split differs\)": replace(recipe, split=replace(recipe.split, val_parts=3)),
    }
    for sentence, other in others.items():
        with pytest.raises(UserError, match=sentence):
            read_derived(path, SimpleNamespace(recipe=other, **known))
    student = done[2][0].rows[0].recipe
    with pytest.raises(UserError, match=r"operating_point\.json, recipe"):
        read_derived(path, SimpleNamespace(recipe=student, **known))


def test_only_the_folds_that_decide_are_asked(done) -> None:
    folder, study, grid = done
    row = study.row("both")
    found = {job.key: read_result(result_path(folder / "out", job.key)) for job in study.jobs([row])}
    ours, theirs = asked(folder, study, row, found), of_grid(grid[0], grid[0].rows[0], grid[2])
    assert (ours.folds, ours.planned, len(ours.results)) == (theirs.folds, theirs.planned, len(theirs.results))
    assert schema.load(SegRecipe, {"name": row.slug, **ours.recipe}, "it") == replace(row.recipe, name=row.slug)
    del found["both", 0, 1]
    fewer = asked(folder, study, row, found)
    assert (len(fewer.results), fewer.planned) == (3, 4)


def test_what_cannot_be_derived_is_one_sentence(done, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, study, _ = done
    assert main(call(folder, "outlines alone")) == 2
    assert "has no class head" in capsys.readouterr().err
    assert main(call(folder, "bot")) == 2
    assert "no row 'bot' (did you mean 'both'?)" in capsys.readouterr().err
    key = ("both", 0, 1)
    old = {key: replace(read_result(result_path(folder / "out", key)), val={})}
    with pytest.raises(UserError, match="seed 0, fold 1, was written before the answers"):
        asked(folder, study, study.row("both"), old)
    with pytest.raises(UserError, match=r"decide: .*7"):
        study_of(tmp_path, "[7]")


@pytest.mark.slow
def test_a_training_keeps_its_answers_to_the_validation_part(phantoms: Path, tmp_path: Path) -> None:
    study_of(tmp_path)
    command = ["train", "segment", tmp_path / "both.toml", phantoms, "--no-groups", "--out", tmp_path / "out"]
    command += ["--rows", "both", "--folds", "1", "--seeds", "0", "--repeats", "20"]
    assert main([str(word) for word in command]) == 0
    found = read_result(result_path(tmp_path / "out", ("both", 0, 1)))
    parts = json.loads((tmp_path / "out/runs/both/0-1/split.json").read_text())
    assert list(found.classes) == parts["test"]
    assert list(found.val) == parts["val"]
    assert found.val.keys().isdisjoint(found.classes)
    assert len(set(found.val.values())) > 1
