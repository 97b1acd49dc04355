"""Operating point and coverage against risk from out-of-fold answers: by hand, and against scikit-learn."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_study import Answers, made_up, pictures, result, study_file
from sklearn.metrics import accuracy_score, recall_score

from device import RESEARCH_NOTICE
from device.bundle import Abstain, Meta, OperatingPoint
from device.decide import ABSTAIN, decide, softmax
from device.errors import UserError
from device.main import main
from train.data.busi import CLASSES
from train.studies.grid.study import read_study
from train.studies.out_of_fold import (
    COVERAGES,
    OutOfFold,
    confidence,
    coverage_risk,
    out_of_fold,
    own_rule,
    threshold,
    verdicts,
)

ROWS = '[[row]]\nname = "plain"\n'


def answers(probabilities: list[list[float]], targets: list[int], **more) -> OutOfFold:
    """Answers with these very probabilities, each picture a group of its own, all of one fold and seed."""
    count = len(targets)
    plain = {
        "groups": np.array([f"{n}" for n in range(count)]),
        "folds": np.zeros(count, int),
        "seeds": np.zeros(count, int),
        "limits": np.zeros(count),
        "temperatures": {(0, 0): 1.0},
    }
    return OutOfFold(np.log(np.array(probabilities)), np.array(targets), **(plain | more))


def certain(count: int) -> np.ndarray:
    """Resamplings in which all is drawn once: intervals of no width."""
    return np.ones((3, count))


# benign 0.9 right; malignant 0.8 right; normal 0.7 wrong (a malignant); benign 0.6 right
FOUR = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]
TRUTH = [0, 1, 1, 0]


def test_risk_and_coverage_by_hand() -> None:
    curve = coverage_risk(answers(FOUR, TRUTH), 0.25, certain(4))
    at = {share: int(np.argmin(np.abs(COVERAGES - share))) for share in (1.0, 0.75, 0.5, 0.25)}
    assert [curve.risk[at[s], 0] for s in at] == pytest.approx([1 / 4, 1 / 3, 0, 0])
    # P(malignant) of the fourth reaches 0.25, so its verdict is malignant, which is wrong.
    assert [curve.verdict_risk[at[s], 0] for s in at] == pytest.approx([2 / 4, 1 / 3, 0, 0])
    assert [curve.limit[at[s]] for s in at] == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert [curve.sensitivity[at[s], 0] for s in (1.0, 0.75, 0.5)] == pytest.approx([1 / 2, 1 / 2, 1])
    assert np.isnan(curve.sensitivity[at[0.25], 0]), "no malignant picture is answered"
    assert curve.aurc.value == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert curve.verdict_aurc.value == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)


def test_equally_confident_answers_share_their_errors() -> None:
    tied = [[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]]
    for targets in ([0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]):
        curve = coverage_risk(answers(tied, targets), 0.99, certain(4))
        assert curve.aurc.value == pytest.approx((1 / 3 + 1 / 3 + 1 / 3 + 1 / 4) / 4), "whatever their order"


def test_the_curve_is_the_risk_of_the_answered() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=150)
    targets = rng.integers(3, size=150)
    given = answers(probabilities.tolist(), targets.tolist())
    curve = coverage_risk(given, 0.4, certain(150))
    said = verdicts(given, 0.4)
    for i in range(0, len(COVERAGES), 20):
        kept = probabilities.max(axis=1) >= curve.limit[i] - 1e-12
        assert kept.mean() == pytest.approx(COVERAGES[i], abs=1 / 150)
        assert curve.risk[i, 0] == pytest.approx(1 - accuracy_score(targets[kept], probabilities[kept].argmax(1)))
        assert curve.verdict_risk[i, 0] == pytest.approx(1 - accuracy_score(targets[kept], said[kept]))
        recall = recall_score(targets[kept] == 1, said[kept] == 1)
        assert curve.sensitivity[i, 0] == pytest.approx(recall)


def test_intervals_hold_the_coverage_in_every_resampling() -> None:
    rng = np.random.default_rng(1)
    given = answers(rng.dirichlet([2, 1, 1], size=90).tolist(), rng.integers(3, size=90).tolist())
    counts = rng.multinomial(90, np.full(90, 1 / 90), 200).astype(float)
    curve = coverage_risk(given, 0.4, counts)
    assert (curve.risk[:, 1] <= curve.risk[:, 2]).all()
    assert curve.aurc.low < curve.aurc.value < curve.aurc.high
    # One resampling by hand: its pictures written out, the least confident third withheld.
    index = np.repeat(np.arange(90), counts[0].astype(int))
    own = answers(softmax(given.logits[index]).tolist(), given.targets[index].tolist())
    alone = coverage_risk(given, 0.4, counts[:1].repeat(2, axis=0))
    at = int(np.argmin(np.abs(COVERAGES - 2 / 3)))
    keep = np.argsort(-confidence(own.logits), kind="stable")[: int(np.ceil(COVERAGES[at] * 90 - 1e-9))]
    wrong = own.logits.argmax(axis=1) != own.targets
    # The last picture that is answered may be drawn several times: all its copies are.
    least = confidence(own.logits)[keep].min()
    assert alone.risk[at, 1] == pytest.approx(wrong[confidence(own.logits) >= least - 1e-12].mean())


def test_verdicts_are_the_devices() -> None:
    rng = np.random.default_rng(2)
    given = answers(rng.dirichlet([1, 1, 1], size=60).tolist(), [0] * 60)
    meta = Meta.__new__(Meta)  # of a bundle only what decide() asks for
    object.__setattr__(meta, "classes", CLASSES)
    object.__setattr__(meta, "temperature", 1.0)
    object.__setattr__(meta, "abstain", Abstain(0.5, 0.9, "x"))
    object.__setattr__(meta, "operating_point", OperatingPoint(0.3, 0.95, 1.0, 1.0, "x"))
    said = verdicts(given, 0.3)
    rule = own_rule(replace(given, limits=np.full(60, 0.5)), 0.3, certain(60))
    device = [decide(logits, meta).label for logits in given.logits]
    assert rule["coverage"].value == np.mean([label != ABSTAIN for label in device])
    assert 0 < rule["coverage"].value < 1
    for label, own in zip(device, said):
        assert label in (ABSTAIN, CLASSES[own])


def test_the_threshold_and_what_other_folds_say() -> None:
    # Two folds. P(malignant): fold 0 malignant 0.9 0.8, others 0.3 0.1; fold 1 malignant 0.6 0.5, others 0.55 0.2.
    score = [0.9, 0.8, 0.3, 0.1, 0.6, 0.5, 0.55, 0.2]
    rows = [[1 - s - 0.05, s, 0.05] for s in score]
    given = answers(rows, [1, 1, 0, 0, 1, 1, 0, 0], folds=np.repeat([0, 1], 4))
    found = threshold(given, 0.95, certain(8))
    assert found.point.malignant_threshold == pytest.approx(0.4), "midway between 0.5 and 0.3"
    assert found.fitted["sensitivity"].value == 1.0
    assert found.fitted["specificity"].value == found.fitted["specificity_benign"].value == 0.75
    assert found.crossed_thresholds == {0: pytest.approx(0.35), 1: pytest.approx(0.55)}
    # Fold 0 at 0.35: both found, none wrong. Fold 1 at 0.55: 0.6 found, 0.5 not, 0.55 wrong.
    assert found.crossed["sensitivity"].value == pytest.approx(3 / 4)
    assert found.crossed["specificity"].value == pytest.approx(3 / 4)


def test_one_fold_alone_has_nothing_to_be_judged_by() -> None:
    assert threshold(answers(FOUR, TRUTH), 0.95, certain(4)).crossed == {}
    with pytest.raises(UserError, match="an operating point needs both"):
        threshold(answers(FOUR, [0, 0, 2, 0]), 0.95, certain(4))


def test_temperature_is_each_trainings_own_validation_part(tmp_path: Path) -> None:
    study, known = read_study(study_file(tmp_path, ROWS)), pictures(90)
    jobs = [job for job in study.jobs() if job.seed == 0]
    plain = [result(job, known, Answers(1.5)) for job in jobs]
    sharp = [result(job, known, Answers(1.5), sharpness=4.0) for job in jobs]
    one, two = out_of_fold(plain, known, 0.9), out_of_fold([plain[0], *sharp[1:]], known, 0.9)
    for fold in (1, 2):
        assert two.temperatures[0, fold] == pytest.approx(4 * one.temperatures[0, fold], rel=1e-3)
    np.testing.assert_allclose(two.logits, one.logits, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(two.limits, one.limits, rtol=2e-3)
    assert len(one.targets) == 270 == len(one.groups)
    assert (one.folds == np.repeat([0, 1, 2], 90)).all()
    # What the validation part does not say, the temperature does not know.
    spoilt = replace(plain[0], test={name: (0.0, 0.0, 0.0) for name in plain[0].test})
    assert out_of_fold([spoilt, *plain[1:]], known, 0.9).temperatures == one.temperatures
    with pytest.raises(UserError, match="no finished training"):
        out_of_fold([], known, 0.9)


def test_a_validation_part_that_is_held_out_says_nothing(tmp_path: Path) -> None:
    study, known = read_study(study_file(tmp_path, ROWS)), pictures(90)
    jobs = [job for job in study.jobs() if job.seed == 0]
    one, two, three = (
        result(job, known, Answers(1.5), sharpness=s) for job, s in zip(jobs, (1.0, 4.0, 2.0), strict=True)
    )
    last = [(three.seed, three.fold)]
    found, own = out_of_fold([one, two, three], known, 0.9, last), out_of_fold([one, two, three], known, 0.9)
    assert (found.borrowed, own.borrowed) == ({(0, 2)}, frozenset())
    assert found.temperatures[0, 2] == pytest.approx(np.sqrt(own.temperatures[0, 0] * own.temperatures[0, 1]))
    np.testing.assert_allclose(found.limits[-90:], (own.limits[0] + own.limits[90]) / 2)
    np.testing.assert_array_equal(found.logits[:180], own.logits[:180])
    spoilt = replace(three, val={name: (0.0, 0.0, 0.0) for name in three.val})
    assert out_of_fold([one, two, spoilt], known, 0.9, last).temperatures == found.temperatures
    with pytest.raises(UserError, match="nothing calibrates the answers"):
        out_of_fold([three], known, 0.9, last)


def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(tmp_path, ROWS, {"plain": 1.5}, skip=(("plain", 1, 2),))
    call = ["train", "operating-point", tmp_path / "study.toml", "--results", tmp_path / "out", "--row", "plain"]
    call = [str(word) for word in [*call, "--repeats", 50]]
    assert main(call) == 0
    out = tmp_path / "out" / "operating-point" / "plain"
    page = (out / "README.md").read_text()
    assert page in capsys.readouterr().out
    assert RESEARCH_NOTICE in page
    assert "SYNTHETIC" in page
    assert "From 3 of 4 trainings on made up, test folds 1, 2: 90 answers" in page, "fold 0 decides nothing"
    assert "Geifman and El-Yaniv, NeurIPS 2017" in page
    facts = json.loads((out / "operating_point.json").read_text())
    assert f"**{facts['threshold']['malignant_threshold']:.3f}**" in page
    assert facts["threshold"]["sensitivity"] >= 0.95
    assert facts["threshold"]["derived_on"] == "out-of-fold answers of 3 networks to test folds 1, 2"
    assert facts["folds"] == [1, 2]
    assert 0.88 <= facts["abstain"]["coverage"] <= 0.92 or facts["abstain"]["min_confidence"] == 0.9
    assert set(facts["files"]) == {"README.md", "coverage.csv", "coverage.png"}
    lines = list(csv.DictReader((out / "coverage.csv").read_text().splitlines()))
    assert len(lines) == len(COVERAGES)
    assert lines[0]["coverage"] == "1.000"
    for share in (100, 95, 90, 80, 70):
        line = next(line for line in lines if float(line["coverage"]) == share / 100)
        assert f"\n| {share} | {100 * float(line['confidence_limit']):.1f} | {100 * float(line['risk']):.1f} [" in page
    risks = [float(line["risk"]) for line in lines]
    assert risks[0] > risks[120], "what is sure is more often right"
    picture = cv2.imread(str(out / "coverage.png")).astype(int)
    assert (picture[..., 0] - picture[..., 2] > 100).sum() > 100
    assert (picture[..., 2] - picture[..., 0] > 150).sum() > 100
    for path in (tmp_path / "out" / "results" / "plain").glob("*-0.json"):
        path.unlink()
    assert main(call) == 0, "its own page is replaced"
    again = json.loads((out / "operating_point.json").read_text())
    assert again["threshold"] == facts["threshold"], "what fold 0 said changed nothing"
    (out / "notes.txt").write_text("mine")
    assert main(call) == 2
    assert "notes.txt" in capsys.readouterr().err
