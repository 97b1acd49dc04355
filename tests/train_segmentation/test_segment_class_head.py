"""The class head's figures are the classifier's own, over folds and seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from device import schema
from device.errors import UserError
from train.data.busi import CLASSES
from train.segmentation.class_head import ClassHead, Classifier, class_heads, read_classifier
from train.segmentation.results import SegResult
from train.segmentation.study import read_study
from train.segmentation.tables import write
from train.studies.grid.results import Pictures, Result, write_result
from train.studies.grid.table import Mean


def _pictures() -> Pictures:
    names = {f"{label} ({n}).png": (label, f"{label}{n // 2}") for label in CLASSES for n in range(10)}
    return Pictures("made up", "f" * 64, True, "sha256:0", names)


def _result(pictures: Pictures, key: tuple[str, int, int], recipe: dict, seed: int) -> SegResult:
    fold = [name for number, name in enumerate(pictures.pictures) if number % 2 == key[2] % 2]
    rng = np.random.default_rng(seed)
    logits = {n: tuple(rng.normal(size=3) + np.eye(3)[CLASSES.index(pictures.pictures[n][0])]) for n in fold}
    return SegResult(*key, recipe, "f" * 64, "s", {}, 10, 0.1, 100, {}, 1.0, "here", {}, scores={}, classes=logits)


def _alone(pictures: Pictures, fold: int, seed: int) -> Result:
    """A classifier's answers to the same test parts."""
    said = _result(pictures, ("alone", 0, fold), {}, seed).classes
    return Result("alone", 0, fold, {}, "f" * 64, "s", None, {}, 1.0, "here", {}, test=said, val=said)


def _figures(pictures: Pictures, said: dict[str, tuple[float, ...]]) -> dict[str, float]:
    """By scikit-learn."""
    targets = np.array([CLASSES.index(pictures.pictures[name][0]) for name in said])
    logits = np.array(list(said.values()))
    lesion = targets != CLASSES.index("normal")
    return {
        "auc_benign_malignant": roc_auc_score(targets[lesion] == 1, (logits[:, 1] - logits[:, 0])[lesion]),
        "accuracy": float((targets == logits.argmax(axis=1)).mean()),
        "balanced_accuracy": balanced_accuracy_score(targets, logits.argmax(axis=1)),
    }


def test_they_are_those_of_scikit_learn_as_a_mean_over_folds(tmp_path: Path) -> None:
    study, pictures = read_study("two-heads", folds=(0, 1), seeds=(0,)), _pictures()
    row = study.row("two heads")
    results = {job.key: _result(pictures, job.key, schema.dump(row.recipe), job.fold) for job in study.jobs([row])}
    for fold in (0, 1):
        write_result(tmp_path, _alone(pictures, fold, 10 + fold))
    classifier = read_classifier(tmp_path / "results" / "alone")
    heads = {head.row.name: head for head in class_heads(study, pictures, results, 50, classifier)}
    assert list(heads) == [one.name for one in study.rows]  # each row of this study has a class head
    bare, found = heads["two heads, labels alone"], heads["two heads"]
    assert (bare.mean.trainings, bare.mean.mean["accuracy"].value, bare.mean.difference) == (0, None, None)
    assert (found.mean.trainings, found.mean.shared) == (2, 2)
    own = [_figures(pictures, result.classes) for result in results.values()]
    other = [_figures(pictures, result.test) for result in classifier.results.values()]
    for metric, estimate in found.mean.mean.items():
        assert estimate.value == pytest.approx(np.mean([one[metric] for one in own]))
        gap = np.mean([one[metric] for one in own]) - np.mean([one[metric] for one in other])
        assert found.mean.difference[metric].value == pytest.approx(gap)
        assert found.mean.difference[metric].low <= gap <= found.mean.difference[metric].high
    page = write(tmp_path, study, pictures, results, [], repeats=50, classifier=classifier).read_text()
    shown = 100 * found.mean.difference["accuracy"].value
    assert "paired with the classifier alone, 'alone'" in page
    assert f"{shown:+.1f} [" in page
    assert "| two heads, labels alone | 0 of 2 | unknown | unknown | unknown | 0 | unknown |" in page
    without = write(tmp_path, study, pictures, results, [], repeats=50).read_text()
    assert f"| two heads | 2 of 2 | {100 * found.mean.mean['auc_benign_malignant'].value:.1f} [" in without
    assert "minus" not in without


def _mean(found: list[ClassHead]) -> Mean:
    """Of the row that all these tests give results to."""
    return next(head.mean for head in found if head.row.name == "two heads")


def test_differences_are_taken_where_both_were_trained() -> None:
    study, pictures = read_study("two-heads", folds=(0, 1), seeds=(0,)), _pictures()
    row = study.row("two heads")
    results = {job.key: _result(pictures, job.key, schema.dump(row.recipe), job.fold) for job in study.jobs([row])}
    mean = _mean(class_heads(study, pictures, results, 20, Classifier("alone", {(0, 1): _alone(pictures, 1, 11)})))
    assert (mean.trainings, mean.shared) == (2, 1)
    elsewhere = _mean(class_heads(study, pictures, results, 20, Classifier("alone", {(3, 1): _alone(pictures, 1, 11)})))
    assert (elsewhere.shared, elsewhere.difference) == (0, None)


def test_a_classifier_of_other_pictures_is_refused(tmp_path: Path) -> None:
    study, pictures = read_study("two-heads", folds=(0, 1), seeds=(0,)), _pictures()
    row = study.row("two heads")
    results = {job.key: _result(pictures, job.key, schema.dump(row.recipe), job.fold) for job in study.jobs([row])}
    with pytest.raises(UserError, match="judged other pictures in seed 0, fold 1"):
        class_heads(study, pictures, results, 20, Classifier("alone", {(0, 1): _alone(pictures, 0, 10)}))
    other = replace(_alone(pictures, 1, 11), data="0" * 64)
    with pytest.raises(UserError, match="trained on other data"):
        class_heads(study, pictures, results, 20, Classifier("alone", {(0, 1): other}))
    with pytest.raises(UserError, match="holds no results"):
        read_classifier(tmp_path)


def test_a_network_that_only_outlined_counts_as_not_trained() -> None:
    study, pictures = read_study("two-heads", folds=(0,), seeds=(0,)), _pictures()
    row = study.row("two heads")
    bare = {study.jobs([row])[0].key: replace(_result(pictures, ("two-heads", 0, 0), {}, 0), classes={})}
    assert _mean(class_heads(study, pictures, bare, 20)).trainings == 0
