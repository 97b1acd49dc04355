"""The teachers on a study's page: their figures beside scikit-learn's, what is said where there are none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_study import fold_of, made_up
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from device.main import main
from train.data.busi import CLASSES
from train.soft.cache import SCHEMA_VERSION, CacheMeta, read_alone, write_cache
from train.soft.crossfit import teacher_recipe
from train.studies.grid.results import Pictures
from train.studies.grid.table import METRICS
from train.studies.grid.teachers import judged

ROWS = """
[[row]]
name = "plain"
[[row]]
name = "taught"
teacher = "soft"
soft = ["answers"]
"""
SKILLS = {"plain": 0.7, "taught": 1.0}
PAIRS = ((0, 1), (0, 2), (1, 2))


def meta(known: Pictures, recipe, j: int, k: int) -> CacheMeta:
    names = [name for name in known.pictures if fold_of(name) in (j, k)]
    return CacheMeta(
        schema_version=SCHEMA_VERSION,
        data_name=known.data,
        data_fingerprint=known.fingerprint,
        synthetic=True,
        classes=CLASSES,
        preprocess=recipe.preprocess,
        augment=recipe.augment,
        view_seed=0,
        views=2,
        names=tuple(reversed(names)),
        trained={name: group for name, (_, group) in known.pictures.items() if name not in names},
        groups_source=known.groups,
        recipe=teacher_recipe(recipe, j, k),
        teacher_sha256=f"teacher {j}-{k}",
        hardware="a machine",
        versions={},
    )


def caches(folder: Path, study, known: Pictures, **changes: object) -> dict[tuple[int, int], dict]:
    """Three teachers of three folds, each of two; returns the answers to view 0 by pair and name."""
    said = {}
    for j, k in PAIRS:
        one = replace(meta(known, study.row("taught").recipe, j, k), **changes)
        rng = np.random.default_rng([j, k])
        logits = rng.normal(size=(len(one.names), 2, 3)).astype(np.float32)
        for row, name in enumerate(one.names):
            logits[row, 0, CLASSES.index(known.pictures[name][0])] += 1.0 + k
        write_cache(folder / "answers" / f"{j}-{k}.safetensors", one, logits, np.zeros((8, 2, 16)))
        said[j, k] = dict(zip(one.names, logits[:, 0], strict=True))
    return said


def sklearns(said: dict, known: Pictures, fold: int) -> np.ndarray:
    names = [name for name in known.pictures if fold_of(name) == fold]
    targets = np.array([CLASSES.index(known.pictures[name][0]) for name in names])
    logits = np.array([said[name] for name in names], np.float64)
    lesion, top = targets < 2, logits.argmax(1)
    auc = roc_auc_score(targets[lesion], logits[lesion, 1] - logits[lesion, 0])
    return np.array([auc, accuracy_score(targets, top), balanced_accuracy_score(targets, top)])


def test_figures_are_scikit_learns(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS, skip=(("taught", 1, 2),))
    said = caches(tmp_path, study, known)
    (one,) = judged(study, known, found, repeats=40)
    assert (one.folders, one.teachers, one.folds, one.why_not) == (("answers",), 3, (0, 1, 2), None)
    teachers = [
        np.mean([sklearns(answers, known, fold) for pair, answers in said.items() if fold in pair], axis=0)
        for fold in range(3)
    ]
    np.testing.assert_allclose([one.mean[metric].value for metric in METRICS], np.mean(teachers, axis=0))
    own = [
        np.mean([sklearns(r.test, known, fold) for key, r in found.items() if key[::2] == ("taught", fold)], axis=0)
        for fold in range(3)
    ]
    (minus,) = one.rows
    assert (minus.row, minus.folds) == ("taught", (0, 1, 2))
    wanted = np.mean(own, axis=0) - np.mean(teachers, axis=0)
    np.testing.assert_allclose([minus.difference[metric].value for metric in METRICS], wanted, atol=1e-12)
    for estimate in (*one.mean.values(), *minus.difference.values()):
        assert estimate.low < estimate.value < estimate.high


def test_who_answers_as_its_teachers_do_differs_by_nothing(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    said = caches(tmp_path, study, known)
    alike = {
        ("taught", seed, fold): replace(
            found["taught", seed, fold],
            test={n: tuple(map(float, said[pair][n])) for n in found["taught", seed, fold].test},
        )
        for fold in range(3)
        for seed, pair in enumerate(pair for pair in PAIRS if fold in pair)
    }
    ((minus,),) = (one.rows for one in judged(study, known, found | alike, repeats=40))
    for estimate in minus.difference.values():
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_the_page_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    caches(tmp_path, study, known)
    command = ["train", "grid", str(study.path), "--out", str(tmp_path / "out"), "--table-only", "--repeats", "40"]
    assert main(command) == 0
    (one,) = judged(study, known, found, repeats=40)
    page = capsys.readouterr().out.partition("## The teachers themselves")[2].partition("\n## ")[0]
    value = one.mean["accuracy"]
    assert "| answers | 3 | 0, 1, 2 | " in page
    assert f"| {100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}] |" in page
    assert f"| taught | answers | 0, 1, 2 | {100 * one.rows[0].difference[METRICS[0]].value:+.1f} [" in page
    (told,) = json.loads((tmp_path / "out/study.json").read_text())["teachers"]
    assert told["mean"]["accuracy"]["value"] == pytest.approx(value.value)


def test_a_study_without_teachers_says_nothing_of_them(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, '[[row]]\nname = "plain"\n', SKILLS)
    assert judged(study, known, found) == []
    assert main(["train", "grid", str(study.path), "--out", str(tmp_path / "out"), "--table-only"]) == 0
    assert "teachers themselves" not in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (None, "answers: holds no soft targets; give the --out of busi-kd train soft-targets."),
        (
            {"data_fingerprint": "1" * 64},
            "safetensors: answers other pictures, or pictures in other groups, than",
        ),
        ({"groups_source": "sha256:1"}, "safetensors: answers other pictures, or pictures in other groups, than"),
    ],
)
def test_teachers_that_cannot_be_judged_are_told(changes: dict | None, why: str, tmp_path: Path) -> None:
    study, known, _ = made_up(tmp_path, ROWS, SKILLS)
    if changes:
        caches(tmp_path, study, known, **changes)
    assert main(["train", "grid", str(study.path), "--out", str(tmp_path / "out"), "--table-only"]) == 0
    page = (tmp_path / "out/README.md").read_text().partition("## The teachers themselves")[2].partition("\n## ")[0]
    assert "`answers`: not judged. " in page
    assert why in page
    assert "|" not in page


def test_a_teacher_that_lacks_a_test_picture_is_not_judged(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    caches(tmp_path, study, known)
    path = tmp_path / "answers/1-2.safetensors"
    whole = read_alone(path)
    short = replace(whole.meta, names=whole.meta.names[1:])
    write_cache(path, short, whole.logits[1:], whole.looks)
    (one,) = judged(study, known, found)
    assert one.why_not == (
        f"answers/1-2.safetensors: does not answer {whole.meta.names[0]!r}, a test picture of fold "
        f"{fold_of(whole.meta.names[0])}."
    )
    assert (one.mean, one.rows) == ({}, ())


def test_results_of_one_fold_are_enough(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    caches(tmp_path, study, known)
    of_one = {key: result for key, result in found.items() if key[2] == 1}
    (teachers,) = judged(study, known, of_one, repeats=40)
    assert teachers.folds == teachers.rows[0].folds == (1,)
