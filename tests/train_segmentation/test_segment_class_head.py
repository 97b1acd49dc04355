"""The class head's figures are the classifier's own, over folds and seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from device import schema
from train.data.busi import CLASSES
from train.segmentation.class_head import class_figures
from train.segmentation.results import SegResult
from train.segmentation.study import read_study
from train.segmentation.tables import write
from train.studies.grid.results import Pictures


def _pictures() -> Pictures:
    names = {f"{label} ({n}).png": (label, f"{label}{n // 2}") for label in CLASSES for n in range(10)}
    return Pictures("made up", "f" * 64, True, "sha256:0", names)


def _result(pictures: Pictures, key: tuple[str, int, int], recipe: dict, seed: int) -> SegResult:
    fold = [name for number, name in enumerate(pictures.pictures) if number % 2 == key[2] % 2]
    rng = np.random.default_rng(seed)
    logits = {n: tuple(rng.normal(size=3) + np.eye(3)[CLASSES.index(pictures.pictures[n][0])]) for n in fold}
    return SegResult(*key, recipe, "f" * 64, "s", {}, 10, 0.1, 100, {}, 1.0, "here", {}, scores={}, classes=logits)


def test_they_are_those_of_scikit_learn_on_all_folds(tmp_path: Path) -> None:
    study = read_study("two-heads", folds=(0, 1), seeds=(0,))
    row, pictures = study.row("two heads"), _pictures()
    recipe = schema.dump(row.recipe)
    results = {job.key: _result(pictures, job.key, recipe, job.fold) for job in study.jobs([row])}
    found = class_figures(study, row, results, pictures, repeats=50)
    said = {name: logits for result in results.values() for name, logits in result.classes.items()}
    targets = np.array([CLASSES.index(pictures.pictures[name][0]) for name in said])
    logits = np.array(list(said.values()))
    assert len(said) == 30
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(targets, logits.argmax(axis=1)))
    assert found["accuracy"].value == pytest.approx((targets == logits.argmax(axis=1)).mean())
    lesion = targets != CLASSES.index("normal")
    area = roc_auc_score(targets[lesion] == 1, (logits[:, 1] - logits[:, 0])[lesion])
    assert found["auc_benign_malignant"].value == pytest.approx(area)
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high
    page = write(tmp_path, study, pictures, results, [], repeats=50).read_text()
    assert f"| two heads | {100 * found['accuracy'].value:.1f} [" in page
    assert "| two heads, labels alone | unknown | unknown | unknown |" in page


def test_a_row_without_trainings_has_no_figures() -> None:
    study = read_study("two-heads", folds=(0,), seeds=(0,))
    row, pictures = study.row("two heads"), _pictures()
    assert class_figures(study, row, {}, pictures, repeats=20) == {}
    bare = {study.jobs([row])[0].key: replace(_result(pictures, ("two-heads", 0, 0), {}, 0), classes={})}
    assert class_figures(study, row, bare, pictures, repeats=20) == {}
