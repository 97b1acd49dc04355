"""The arithmetic of the study's table, by hand, and against scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_study import Answers, made_up, result
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from device.bundle import Estimate
from train.data.busi import CLASSES
from train.studies.grid.results import Pictures
from train.studies.grid.study import read_study
from train.studies.grid.table import METRICS, summarise

ROWS = '[[row]]\nname = "plain"\n[[row]]\nname = "better"\nchange.augment.flip = 0.25\n'
SKILLS = {"plain": 0.7, "better": 1.4}


def sklearns(said: dict, known: Pictures) -> dict[str, float]:
    targets = np.array([CLASSES.index(known.pictures[name][0]) for name in said])
    logits = np.array(list(said.values()))
    lesion = targets < 2
    return {
        "auc_benign_malignant": roc_auc_score(targets[lesion], logits[lesion, 1] - logits[lesion, 0]),
        "accuracy": accuracy_score(targets, logits.argmax(1)),
        "balanced_accuracy": balanced_accuracy_score(targets, logits.argmax(1)),
    }


def test_means_are_scikit_learns(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    for row in summarise(study, known, found, repeats=20):
        each = {key[1:]: sklearns(one.test, known) for key, one in found.items() if key[0] == row.row.slug}
        assert len(each) == 6 == row.planned == row.everywhere.trainings
        for metric in METRICS:
            mean = np.mean([one[metric] for one in each.values()])
            assert row.everywhere.mean[metric].value == pytest.approx(mean)
            decide = np.mean([one[metric] for (_, fold), one in each.items() if fold in (1, 2)])
            assert row.decide.mean[metric].value == pytest.approx(decide)
            held = np.mean([one[metric] for (_, fold), one in each.items() if fold == 0])
            assert row.held_out.mean[metric].value == pytest.approx(held)
            for seed in (0, 1):
                own = np.mean([one[metric] for (s, _), one in each.items() if s == seed])
                assert row.seeds[seed][metric] == pytest.approx(own)
            two = [row.seeds[seed][metric] for seed in (0, 1)]
            assert row.spread[metric] == pytest.approx(abs(two[0] - two[1]) / np.sqrt(2)), "of two values, by hand"
        pooled = [
            sklearns({n: v for fold in (0, 1, 2) for n, v in found[(row.row.slug, seed, fold)].test.items()}, known)
            for seed in (0, 1)
        ]
        for metric in METRICS:
            assert row.pooled.mean[metric].value == pytest.approx(np.mean([one[metric] for one in pooled]))
        assert (row.pooled.trainings, row.decide.trainings, row.held_out.trainings) == (2, 4, 2)
        assert row.seconds == 6 * 30.0


def test_differences_are_paired_and_of_what_both_have(tmp_path: Path) -> None:
    missing = (("better", 0, 1), ("plain", 1, 2))
    study, known, found = made_up(tmp_path, ROWS, SKILLS, skip=missing)
    plain, better = summarise(study, known, found, repeats=50)
    assert plain.everywhere.difference is None
    assert (better.missing, plain.missing) == (((0, 1),), ((1, 2),))
    shared = [(0, 0), (0, 2), (1, 0), (1, 1)]
    assert (better.everywhere.shared, better.everywhere.trainings) == (4, 5)
    for metric in METRICS:
        by_hand = np.mean(
            [
                sklearns(found[("better", *job)].test, known)[metric]
                - sklearns(found[("plain", *job)].test, known)[metric]
                for job in shared
            ]
        )
        assert better.everywhere.difference[metric].value == pytest.approx(by_hand)
    assert better.pooled.trainings == 1
    assert better.pooled.shared == 0, "no seed is complete in both"
    assert better.pooled.difference is None
    assert better.seeds[0] == dict.fromkeys(METRICS), "not complete"
    assert better.spread == dict.fromkeys(METRICS)
    assert (better.decide.shared, better.held_out.shared) == (2, 2)


def test_rows_that_answer_alike_differ_by_exactly_nothing(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, {"plain": 1.0, "better": 1.0})
    plain, better = summarise(study, known, found, repeats=100)
    for metric in METRICS:
        assert better.everywhere.difference[metric] == Estimate(0.0, 0.0, 0.0), "the same draws for all rows"
        assert better.everywhere.mean[metric] == plain.everywhere.mean[metric]
        assert plain.everywhere.mean[metric].low < plain.everywhere.mean[metric].high


def test_the_interval_is_a_bootstrap_over_groups(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    plain, _ = summarise(study, known, found, repeats=2000)
    # The same by a loop over resamplings, for the accuracy of one mean over folds and seeds.
    names = sorted({group for _, group in known.pictures.values()})
    rng, values = np.random.default_rng(5), []
    keys = [key for key in found if key[0] == "plain"]
    right = {
        key: [
            (known.pictures[n][1], np.argmax(v) == CLASSES.index(known.pictures[n][0]))
            for n, v in found[key].test.items()
        ]
        for key in keys
    }
    for _ in range(2000):
        drawn, times = np.unique(rng.choice(names, len(names)), return_counts=True)
        weight = dict(zip(drawn, times))
        one = []
        for key in keys:
            weights = [weight.get(group, 0) for group, _ in right[key]]
            one.append(np.average([hit for _, hit in right[key]], weights=weights))
        values.append(np.mean(one))
    low, high = np.percentile(values, [2.5, 97.5])
    estimate = plain.everywhere.mean["accuracy"]
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.012), pytest.approx(high, abs=0.012))


def test_copies_of_a_picture_are_no_more_evidence(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, '[[row]]\nname = "plain"\n', SKILLS)
    # The first ten of each class are wrong, the others right.
    alike = {
        key: replace(
            one,
            test={n: tuple(np.eye(3)[CLASSES.index(known.pictures[n][0]) - (tens(n) == 0)].tolist()) for n in one.test},
        )
        for key, one in found.items()
    }
    alone = {name: (label, name) for name, (label, _) in known.pictures.items()}
    lumped = {name: (label, f"{label} {tens(name)}") for name, (label, _) in known.pictures.items()}
    widths = []
    for groups in (alone, lumped):
        (row,) = summarise(study, replace(known, pictures=groups), alike, repeats=400)
        estimate = row.everywhere.mean["accuracy"]
        assert estimate.value == pytest.approx(63 / 90)
        widths.append(estimate.high - estimate.low)
    assert widths[1] > 2 * widths[0]  # of copies in tens about the root of ten


def tens(name: str) -> int:
    """2 of `benign (25).png`."""
    return int(name.split("(")[1].split(")")[0]) // 10


def test_a_class_without_pictures_is_unknown(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    without = {
        key: replace(one, test={n: v for n, v in one.test.items() if not n.startswith("malignant")})
        for key, one in found.items()
    }
    plain, better = summarise(study, known, without, repeats=20)
    assert plain.everywhere.mean["auc_benign_malignant"] == Estimate(None)
    assert better.everywhere.difference["auc_benign_malignant"] == Estimate(None)
    assert plain.everywhere.mean["accuracy"].value is not None


def test_nothing_trained_yet(tmp_path: Path) -> None:
    study, known, _ = made_up(tmp_path, ROWS, SKILLS)
    plain, better = summarise(study, known, {}, repeats=20)
    assert plain.everywhere.mean == dict.fromkeys(METRICS, Estimate(None))
    assert better.everywhere.difference is None
    assert len(plain.missing) == 6


def test_rows_with_their_own_seeds_and_folds(tmp_path: Path) -> None:
    text = ROWS + "seeds = [1, 9]\nfolds = [0, 2]\n"
    study, known, found = made_up(tmp_path, text, SKILLS)
    plain, better = summarise(study, known, found, repeats=20)
    assert (plain.planned, better.planned) == (6, 4)
    assert better.everywhere.shared == 2, "seed 1, folds 0 and 2"
    assert better.pooled.trainings == 2
    assert better.pooled.shared == 1, "seed 1"
    one, two = (
        sklearns({n: v for fold in (0, 2) for n, v in found[(slug, 1, fold)].test.items()}, known)["accuracy"]
        for slug in ("better", "plain")
    )
    assert better.pooled.difference["accuracy"].value == pytest.approx(one - two), "plain on better's folds"
    assert list(better.seeds) == [1, 9]


def test_the_made_up_noise_is_shared_by_rows(tmp_path: Path) -> None:
    study = read_study(made_up(tmp_path, ROWS, SKILLS)[0].path)
    jobs = [job for job in study.jobs() if (job.seed, job.fold) == (0, 0)]
    known = made_up(tmp_path, ROWS, SKILLS)[1]
    one, two = (result(job, known, Answers(1.0)) for job in jobs)
    assert one.test == two.test
