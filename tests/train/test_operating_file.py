"""Out-of-fold threshold and limit for a bundle: only from networks of the same recipe, data and groups."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_study import made_up

from device import schema
from device.bundle import Abstain, OperatingPoint
from device.errors import UserError
from device.main import main
from train.recipe import Recipe, load_recipe
from train.studies.grid.study import Study
from train.studies.operating_file import read_derived


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """operating_point.json of a made-up study that decides on the folds 1 and 2."""
    folder = tmp_path_factory.mktemp("study")
    study, _, _ = made_up(folder, '[[row]]\nname = "plain"\n', {"plain": 1.5})
    call = ["train", "operating-point", folder / "study.toml", "--results", folder / "out", "--row", "plain"]
    assert main([str(word) for word in [*call, "--repeats", 20]]) == 0
    return folder / "out" / "operating-point" / "plain" / "operating_point.json", study


def student(recipe: Recipe, **more) -> SimpleNamespace:
    """As much of a run's metadata as is asked for."""
    plain = {"recipe": recipe, "data_fingerprint": "0" * 64, "split": {"groups": "sha256:0", "only": False}}
    return SimpleNamespace(**(plain | more))


def of_fold(study: Study, fold: int) -> Recipe:
    recipe = study.rows[0].recipe
    return replace(recipe, name="shipped", seed=7, split=replace(recipe.split, test_fold=fold, val_fold=(fold + 1) % 5))


def test_the_threshold_is_the_studys(derived: tuple[Path, Study]) -> None:
    path, study = derived
    facts = json.loads(path.read_text())
    found = read_derived(path, student(of_fold(study, 0)))
    assert isinstance(found.point, OperatingPoint)
    assert isinstance(found.abstain, Abstain)
    assert schema.dump(found.point) == facts["threshold"]
    assert schema.dump(found.abstain) == facts["abstain"]


def test_keys_that_recipes_have_got_since_stand_at_their_defaults(derived: tuple[Path, Study], tmp_path: Path) -> None:
    """The file that the shipped model's command names was written before `prune` and `sparse` were there."""
    path, study = derived
    facts = json.loads(path.read_text())
    del facts["recipe"]["student"]["sparse"], facts["recipe"]["student"]["network"]["prune"]
    (tmp_path / "old.json").write_text(json.dumps(facts))
    assert read_derived(tmp_path / "old.json", student(of_fold(study, 0))) == read_derived(
        path, student(of_fold(study, 0))
    )


def test_the_file_that_the_shipped_models_command_names_speaks_for_its_recipe() -> None:
    folder = Path(__file__).parents[2] / "docs" / "studies" / "student" / "operating-point" / "ship-shifted"
    facts = json.loads((folder / "operating_point.json").read_text())
    known = {"data_fingerprint": facts["data"]["fingerprint"], "split": {"groups": facts["groups"], "only": False}}
    found = read_derived(folder / "operating_point.json", student(load_recipe("ship"), **known))
    assert schema.dump(found.point) == facts["threshold"]


def test_what_does_not_speak_for_this_student_is_refused(derived: tuple[Path, Study]) -> None:
    path, study = derived
    recipe = of_fold(study, 0)
    other = replace(recipe, student=replace(recipe.student, phantoms=3))
    cases = {
        "is the student's test part": student(of_fold(study, 1)),
        r"another recipe \(its student differs\)": student(other),
        r"another recipe \(its split differs\)": student(replace(recipe, split=replace(recipe.split, seed=9))),
        "on other data": student(recipe, data_fingerprint="1" * 64),
        "on other data or groups": student(recipe, split={"groups": "sha256:1"}),
        "which --only named": student(recipe, split={"groups": "sha256:0", "only": True}),
    }
    for sentence, meta in cases.items():
        with pytest.raises(UserError, match=sentence):
            read_derived(path, meta)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"threshold": 1}', "null"])
def test_no_operating_point_at_all(content: str, derived: tuple[Path, Study], tmp_path: Path) -> None:
    path = tmp_path / "operating_point.json"
    with pytest.raises(UserError, match="no such file"):
        read_derived(path, student(load_recipe("demo")))
    path.write_text(content)
    with pytest.raises(UserError, match="is no operating point of a study"):
        read_derived(path, student(load_recipe("demo")))


def test_a_damaged_threshold(derived: tuple[Path, Study], tmp_path: Path) -> None:
    path, study = derived
    facts = json.loads(path.read_text())
    facts["threshold"]["malignant_threshold"] = 1.5
    (tmp_path / "bad.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="malignant_threshold' must lie in"):
        read_derived(tmp_path / "bad.json", student(of_fold(study, 0)))
