"""What one row's answers to pictures that its networks never saw are worth: operating point, coverage against risk.

Each training's temperature is fitted on its own validation part and divides its answers to its test part; all folds and
seeds together then give one answer per picture and seed. A validation part in a fold that may not be asked, since it is
the test part of what ships, says nothing: the mean temperature of the other trainings stands for its own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device.bundle import Estimate, OperatingPoint
from device.decide import softmax
from device.errors import UserError
from train.calibrate import abstain_limit, fit_temperature, operating_point
from train.data.busi import CLASSES
from train.evaluation.metrics import with_interval
from train.studies.grid.results import Pictures

MALIGNANT = CLASSES.index("malignant")
COVERAGES = np.arange(200, 9, -1) / 200  # 1, 0.995, ..., 0.05
POINTS = (1.0, 0.95, 0.9, 0.8, 0.7)  # of the page's table


class Answered(Protocol):
    """As much of a training's result as is asked for: of a student, or of a network with two heads.

    test, val: picture's name -> (K,) logits of the part, in the order of CLASSES.
    """

    seed: int
    fold: int
    test: dict[str, tuple[float, ...]]
    val: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class OutOfFold:
    """N answers. logits (N, K), divided by their training's temperature, so that softmax calibrates them; targets (N,);
    groups (N,) names; folds (N,), seeds (N,); limits (N,): below this confidence the training's own rule abstains.

    temperatures: seed, fold -> temperature; borrowed: those of them that are the mean of the others.
    """

    logits: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    seeds: np.ndarray
    limits: np.ndarray
    temperatures: dict[tuple[int, int], float]
    borrowed: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Threshold:
    """The operating point and what it reaches, 0..1. fitted: on the very answers it was derived from. crossed: each
    fold judged at the threshold that the other folds give, so that no answer decides about itself."""

    point: OperatingPoint
    fitted: dict[str, Estimate]
    crossed: dict[str, Estimate]
    crossed_thresholds: dict[int, float]


@dataclass(frozen=True)
class Coverage:
    """What is answered, from the most confident on, and how often that is wrong: a row per coverage.

    coverage (C,) 1..0.05; limit (C,): the least confidence that is answered. Of the answered: risk (C, 3), share of
    wrong likeliest classes; verdict_risk (C, 3), share of wrong verdicts at the operating point; sensitivity (C, 3),
    share of malignant pictures called malignant. The three columns: value, ends of its 95 % interval.
    aurc, verdict_aurc: areas under the two risk curves.
    """

    coverage: np.ndarray
    limit: np.ndarray
    risk: np.ndarray
    verdict_risk: np.ndarray
    sensitivity: np.ndarray
    aurc: Estimate
    verdict_aurc: Estimate


def out_of_fold(
    results: Sequence[Answered],
    pictures: Pictures,
    coverage: float,
    held_out: Collection[tuple[int, int]] = frozenset(),
) -> OutOfFold:
    """Calibrate each training on its validation part and join the test parts.

    coverage: share of the validation part that the abstention rule of a training answers (train/calibrate.py).
    held_out: seed and fold of the trainings whose validation part may not be asked; they get the geometric mean of the
    others' temperatures and the mean of their limits. Raises UserError without results, or when all are held out.
    """
    if not results:
        raise UserError("this row has no finished training; run busi-kd train grid first.")
    own = {}
    for one in results:
        if (one.seed, one.fold) not in held_out:
            val, val_targets = _arrays(one.val, pictures)
            temperature = fit_temperature(val, val_targets)
            limit = abstain_limit(val, temperature, coverage, "validation").min_confidence
            own[one.seed, one.fold] = temperature, limit
    if not own:
        raise UserError(
            "the validation part of every finished training lies in a fold that the study does not decide on, so "
            "nothing calibrates the answers; train folds whose next one is in decide."
        )
    found = np.array(list(own.values()))
    mean = float(np.exp(np.log(found[:, 0]).mean())), float(found[:, 1].mean())
    keys = [(one.seed, one.fold) for one in results]
    used = {key: own.get(key, mean) for key in keys}
    said = [_arrays(one.test, pictures) for one in results]
    sizes = [len(targets) for _, targets in said]
    return OutOfFold(
        logits=np.concatenate([logits / used[key][0] for key, (logits, _) in zip(keys, said, strict=True)]),
        targets=np.concatenate([targets for _, targets in said]),
        groups=pictures.groups_of(name for one in results for name in one.test),
        folds=np.repeat([one.fold for one in results], sizes),
        seeds=np.repeat([one.seed for one in results], sizes),
        limits=np.repeat([used[key][1] for key in keys], sizes),
        temperatures={key: temperature for key, (temperature, _) in used.items()},
        borrowed=frozenset(keys) - own.keys(),
    )


def _arrays(said: dict[str, tuple[float, ...]], pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    targets = np.array([CLASSES.index(pictures.pictures[name][0]) for name in said], np.int64)
    return np.array(list(said.values()), np.float64), targets


def threshold(answers: OutOfFold, target: float, counts: np.ndarray) -> Threshold:
    """The malignant threshold at the sensitivity `target` (train.calibrate.operating_point), over all answers.

    counts (R, N): how often each answer is drawn. The threshold stays as it is in the resamplings: the intervals say
    what this very threshold reaches. Raises UserError without a malignant or without any other picture.
    """
    score = softmax(answers.logits)[:, MALIGNANT]
    names = ", ".join(map(str, np.unique(answers.folds)))
    where = f"out-of-fold answers of {len(answers.temperatures)} networks to test folds {names}"
    point = operating_point(answers.logits, answers.targets, 1.0, target, where)
    crossed, thresholds = np.zeros(len(score), bool), {}
    for fold in np.unique(answers.folds):
        inside = answers.folds == fold
        if inside.all():
            break
        other = operating_point(answers.logits[~inside], answers.targets[~inside], 1.0, target, "the other folds")
        thresholds[int(fold)] = other.malignant_threshold
        crossed[inside] = score[inside] >= other.malignant_threshold
    return Threshold(
        point,
        _reached(score >= point.malignant_threshold, answers.targets, counts),
        _reached(crossed, answers.targets, counts) if thresholds else {},
        thresholds,
    )


def _reached(called: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> dict[str, Estimate]:
    malignant, benign = targets == MALIGNANT, targets == CLASSES.index("benign")
    return {
        "sensitivity": share(called, malignant, counts),
        "specificity": share(~called, ~malignant, counts),
        "specificity_benign": share(~called, benign, counts),
    }


def share(event: np.ndarray, among: np.ndarray, counts: np.ndarray) -> Estimate:
    """Share 0..1 of the answers `among` (N,) bool with `event` (N,) bool, with its interval over counts (R, N)."""
    from train.evaluation.intervals import share as drawn

    value = float(event[among].mean()) if among.any() else None
    return with_interval(value, drawn(event, among, counts))


def verdicts(answers: OutOfFold, malignant_threshold: float) -> np.ndarray:
    """(N,) class numbers as the device says them, but for abstention: malignant from the threshold on, else the
    likelier of the others (device/decide.py)."""
    others = answers.logits.copy()
    others[:, MALIGNANT] = -np.inf
    called = softmax(answers.logits)[:, MALIGNANT] >= malignant_threshold
    return np.where(called, MALIGNANT, others.argmax(axis=1))


def confidence(logits: np.ndarray) -> np.ndarray:
    """(N,) logarithm of the odds of the likeliest class: orders as its probability, and stays apart where that is 1."""
    rest = np.sort(logits, axis=1)[:, :-1] - logits.max(axis=1, keepdims=True)
    return -np.logaddexp.reduce(rest, axis=1)


def coverage_risk(answers: OutOfFold, malignant_threshold: float, counts: np.ndarray) -> Coverage:
    """Risk against coverage when the least confident answers are withheld.

    Confidence is the largest calibrated probability, as in device/decide.py. Coverage: share of the pictures that are
    answered; risk: share of wrong answers among them (Geifman and El-Yaniv, Selective Classification for Deep Neural
    Networks, NeurIPS 2017, section 2). AURC: the mean of the risk over all coverages k / N (Geifman, Uziel and
    El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR 2019, section 2). Equally confident
    answers count as if each were wrong to their common share. counts (R, N): in each resampling the least confident of
    its own answers are withheld, so that the coverage is the same in all.
    """
    said = verdicts(answers, malignant_threshold)
    score = confidence(answers.logits)
    order = np.argsort(-score, kind="stable")
    ones = np.concatenate([np.ones((1, len(score))), counts])[:, order]
    malignant = answers.targets == MALIGNANT
    wrong = {
        "risk": answers.logits.argmax(axis=1) != answers.targets,
        "verdict": said != answers.targets,
        "malignant": malignant,
        "found": malignant & (said == MALIGNANT),
    }
    answered = np.cumsum(ones, axis=1)
    sums = {name: np.cumsum(ones * _levelled(event[order], score[order]), axis=1) for name, event in wrong.items()}
    risks = {name: sums[name] / np.maximum(answered, 1) for name in ("risk", "verdict")}
    at = _places(answered)
    rows = np.arange(len(ones))[:, None]
    with np.errstate(invalid="ignore"):  # without a malignant picture among the answered: unknown
        found = sums["found"][rows, at] / sums["malignant"][rows, at]
    probability = softmax(answers.logits).max(axis=1)[order]
    return Coverage(
        coverage=COVERAGES,
        limit=probability[at[0]],
        risk=_with_ends(risks["risk"][rows, at]),
        verdict_risk=_with_ends(risks["verdict"][rows, at]),
        sensitivity=_with_ends(found),
        aurc=_area(risks["risk"], ones),
        verdict_aurc=_area(risks["verdict"], ones),
    )


def _levelled(event: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Each answer's event as the share of it among the answers of the same confidence. Both (N,)."""
    _, tied = np.unique(score, return_inverse=True)
    return (np.bincount(tied, event) / np.bincount(tied))[tied]


def _places(answered: np.ndarray) -> np.ndarray:
    """(R, C): the first answer, from the most confident on, with which a coverage is reached."""
    wanted = COVERAGES * answered[:, -1:]
    return np.stack([np.searchsorted(row, need - 1e-9) for row, need in zip(answered, wanted)])


def _with_ends(drawn: np.ndarray) -> np.ndarray:
    found = [with_interval(float(column[0]), column[1:]) for column in drawn.T]
    return np.array([[one.value, one.low, one.high] for one in found], np.float64)  # None becomes NaN


def _area(risks: np.ndarray, counts: np.ndarray) -> Estimate:
    areas = (risks * counts).sum(axis=1) / counts.sum(axis=1)
    return with_interval(float(areas[0]), areas[1:])


def own_rule(answers: OutOfFold, malignant_threshold: float, counts: np.ndarray) -> dict[str, Estimate]:
    """What each training's own abstention limit, from its validation part, does on its test part; shares 0..1.

    `coverage`; among the answered `risk`, `verdict_risk` and `sensitivity`; `missed`: malignant pictures, of all of
    them, that are answered and called something else.
    """
    answered = softmax(answers.logits).max(axis=1) >= answers.limits
    said, malignant = verdicts(answers, malignant_threshold), answers.targets == MALIGNANT
    everything = np.ones(len(said), bool)
    return {
        "coverage": share(answered, everything, counts),
        "risk": share(answers.logits.argmax(axis=1) != answers.targets, answered, counts),
        "verdict_risk": share(said != answers.targets, answered, counts),
        "sensitivity": share(said == MALIGNANT, malignant & answered, counts),
        "missed": share(answered & (said != MALIGNANT), malignant, counts),
    }
