"""Result files: whole, small, read back as written, and refused once the study file says something else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_study import made_up, pictures

from device.errors import UserError
from train.data.busi import CLASSES
from train.studies.grid import results
from train.studies.grid.results import Inputs, Pictures, Result

ROWS = '[[row]]\nname = "plain"\n[[row]]\nname = "other"\nchange.augment.flip = 0.25\n'
SKILLS = {"plain": 1.0, "other": 1.5}

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_LOGITS = st.tuples(*[st.floats(-99, 99).map(lambda v: round(v, 5))] * 3)
_PARTS = st.dictionaries(_NAMES, _LOGITS, min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(test=_PARTS, val=_PARTS, seed=st.integers(0, 2**32 - 1), soft=st.none() | st.just("f" * 64))
def test_what_is_written_is_read_back(test, val, seed, soft, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    one = Result(
        "a-row", seed, 3, {"name": "x", "seed": 1}, "d", "s", soft, {"a": None, "b": 0.5}, 1.5, "h", {}, test, val
    )
    path = results.write_result(out, one)
    assert path == out / "results" / "a-row" / f"{seed}-3.json"
    assert results.read_result(path) == one
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing else is left"
    known = Pictures("data", "d", False, "g", {name: (CLASSES[len(name) % 3], f"{name}!") for name in test})
    results.write_pictures(out, known)
    assert results.read_pictures(out) == known


def test_a_result_has_a_line_per_picture_and_is_small(tmp_path: Path) -> None:
    _, _, found = made_up(tmp_path, ROWS, SKILLS)
    path = results.result_path(tmp_path / "out", ("plain", 0, 1))
    text = path.read_text()
    assert len(text.splitlines()) == 2 + 12 + 2 * (2 + 30), "git shows what changed"
    assert sum('"benign (1).png": [' in line for line in text.splitlines()) == 1
    assert len(text) < 8000
    assert len(found[("plain", 0, 1)].test) == 30


def test_the_identity_is_recipe_data_split_and_answers(tmp_path: Path) -> None:
    study, _, _ = made_up(tmp_path, ROWS, SKILLS)
    plain, other = (next(j for j in study.jobs() if j.row == row) for row in study.rows)
    inputs = Inputs(plain.recipe, "d", "s", None)
    renamed = replace(plain.recipe, name="x", convert=replace(plain.recipe.convert, coverage=0.5))
    assert results.identity(replace(inputs, recipe=renamed)) == results.identity(inputs)
    others = [
        replace(inputs, recipe=other.recipe),
        replace(inputs, recipe=replace(plain.recipe, seed=9)),
        replace(inputs, data="e"),
        replace(inputs, split="t"),
        replace(inputs, soft="f"),
    ]
    assert len({results.identity(one) for one in [inputs, *others]}) == 1 + len(others)


def test_what_a_result_was_made_from_is_compared(tmp_path: Path) -> None:
    study, _, found = made_up(tmp_path, ROWS, SKILLS)
    job = study.jobs()[0]
    one = replace(found[job.key], data="d", split="s", soft="f")
    fits = Inputs(job.recipe, "d", "s", "f")
    assert results.difference(one, fits) is None
    changed = replace(job.recipe, augment=replace(job.recipe.augment, flip=0.75))
    assert results.difference(one, replace(fits, recipe=changed)) == "another recipe (augment.flip was 0.5, is 0.75)"
    assert results.difference(one, replace(fits, data="e")) == "other data"
    assert results.difference(one, replace(fits, split="t")) == "another split"
    assert results.difference(one, replace(fits, split=None)) is None, "not known without data"
    assert results.difference(one, replace(fits, soft=None)) == "other soft targets"
    assert results.difference(one, replace(fits, soft=None, soft_known=False)) is None


def test_a_key_that_recipes_gained_counts_as_at_its_default(tmp_path: Path) -> None:
    study, _, found = made_up(tmp_path, ROWS, SKILLS)
    job = study.jobs()[0]
    one = found[job.key]
    older = json.loads(json.dumps(one.recipe))
    del older["student"]["fit"]["weight_decay"]
    fits = Inputs(job.recipe, one.data, one.split, one.soft)
    assert results.difference(replace(one, recipe=older), fits) is None, "demo has the default, 0.01"
    fit = replace(job.recipe.student.fit, weight_decay=0.5)
    other = replace(fits, recipe=replace(job.recipe, student=replace(job.recipe.student, fit=fit)))
    why = results.difference(replace(one, recipe=older), other)
    assert why == "another recipe (student.fit.weight_decay was 0.01, is 0.5)"
    newer = {**one.recipe, "moon": 1}
    assert results.difference(replace(one, recipe=newer), fits) == "a recipe of another version of busi-kd"


def check(folder: Path, study, known: Pictures) -> None:
    found = results.read_results(folder / "out", study.jobs())
    results.check_consistent(folder / "out", study, known, found)


def test_results_that_fit_stand_in_one_table(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    check(tmp_path, study, known)
    assert results.unplanned(tmp_path / "out", study) == []
    assert results.read_results(tmp_path / "out", study.jobs()) == found
    stray = results.write_result(tmp_path / "out", replace(found[("plain", 0, 0)], seed=7))
    assert results.unplanned(tmp_path / "out", study) == [stray]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "e" * 64}, "the row 'other' was trained with other data; put the study file back"),
        ({"test": {"moon.png": (0.0, 1.0, 2.0)}}, "holds 'moon.png', which is not in"),
        ({"test": {"benign (1).png": (0.0, 1.0, 2.0)}}, "has another test part than"),
        ({"soft": "f" * 64}, "learnt from other soft targets than"),
    ],
)
def test_results_that_do_not_fit_are_refused(change: dict, said: str, tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    path = results.write_result(tmp_path / "out", replace(found[("other", 1, 1)], **change))
    with pytest.raises(UserError, match=said) as refused:
        check(tmp_path, study, known)
    assert str(path) in str(refused.value)


def test_a_recipe_that_was_changed_since_is_refused_by_its_row(tmp_path: Path) -> None:
    _, known, _ = made_up(tmp_path, ROWS, SKILLS)
    (tmp_path / "again").mkdir()
    study, _, _ = made_up(tmp_path / "again", ROWS.replace("0.25", "0.75"), SKILLS)
    with pytest.raises(UserError, match=r"the row 'other' .* \(augment.flip was 0.25, is 0.75\).*--drop-stale"):
        check(tmp_path, study, known)


def test_files_that_are_no_results(tmp_path: Path) -> None:
    study, _, found = made_up(tmp_path, ROWS, SKILLS)
    out = tmp_path / "out"
    path = results.result_path(out, ("plain", 0, 0))
    moved = results.result_path(out, ("plain", 1, 0))
    moved.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"1-0.json: is the result of plain, seed 0, fold 0"):
        results.read_result(moved)
    path.write_text(path.read_text()[:-100])
    with pytest.raises(UserError, match=r"0-0\.json: not readable as JSON"):
        results.read_results(out, study.jobs())
    short = replace(found[("plain", 0, 1)]).__dict__ | {"val": {}}
    path.write_text(json.dumps(short))
    with pytest.raises(UserError, match="val must hold pictures with 3 logits each"):
        results.read_result(path)
    (out / "pictures.json").write_text((out / "pictures.json").read_text().replace("malignant", "evil"))
    with pytest.raises(UserError, match="'evil' is no class"):
        results.read_pictures(out)
    assert results.read_pictures(tmp_path / "elsewhere") is None


def test_pictures_are_names_labels_and_groups_alone(tmp_path: Path) -> None:
    results.write_pictures(tmp_path, pictures(2))
    told = json.loads((tmp_path / "pictures.json").read_text())
    assert told["pictures"]["malignant (2).png"] == ["malignant", "malignant1"]
    assert set(told) == {"data", "fingerprint", "synthetic", "groups", "pictures"}
