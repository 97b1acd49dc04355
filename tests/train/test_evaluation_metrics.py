"""Every metric against scikit-learn, torchmetrics or a hand calculation, of the pictures and of resampled ones."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from device.bundle import Estimate
from train import torchvision_shim  # noqa: F401  before torchmetrics
from train.data.busi import CLASSES
from train.evaluation.intervals import drawn_counts, resampled
from train.evaluation.metrics import (
    accuracy,
    auc_benign_malignant,
    balanced_accuracy,
    confusion,
    figures,
    measure,
    measure_verdicts,
    nll,
)
from train.evaluation.reliability import BINS, brier, calibration_error, reliability_bins

BENIGN, MALIGNANT, NORMAL = range(3)

# Ties, tiny differences, and logits far outside what a sigmoid can hold apart.
LOGITS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0**-24, 40.0, -40.0, 1e4, -1e4, 2.0**100, -(2.0**100)]),
    st.floats(-20, 20, width=32),
)


@st.composite
def _cases(draw: st.DrawFn, elements: st.SearchStrategy = LOGITS) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 40))
    logits = draw(arrays(np.float32, (n, 3), elements=elements))
    return logits, draw(arrays(np.int64, n, elements=st.integers(0, 2)))


def _figures(logits: np.ndarray, targets: np.ndarray, *rest) -> dict[str, float]:
    return {
        name: float(values[0]) for name, values in figures(logits, targets, np.ones((1, len(targets))), *rest).items()
    }


def _noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    logits[np.arange(n), targets] += 1.0
    return logits, targets


def test_the_classes_are_where_the_metrics_take_them_to_be() -> None:
    assert CLASSES == ("benign", "malignant", "normal")


@settings(deadline=None, max_examples=120)
@given(_cases())
def test_what_is_said_is_counted_as_scikit_learn_does(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = case
    chosen, found, present = logits.argmax(axis=1), _figures(logits, targets), sorted(set(targets))
    assert found["accuracy"] == accuracy(logits, targets) == pytest.approx(accuracy_score(targets, chosen))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(y_pred contains classes not in y_true|A single label was found)")
        wanted = balanced_accuracy_score(targets, chosen)
    assert found["balanced_accuracy"] == balanced_accuracy(logits, targets) == pytest.approx(wanted)
    f1 = f1_score(targets, chosen, labels=present, average="macro", zero_division=np.nan)
    assert found["macro_f1"] == pytest.approx(f1)
    for k, label in enumerate(CLASSES):
        for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            wanted = score(targets, chosen, labels=[k], average=None, zero_division=np.nan)[0]
            if k not in present:
                wanted = np.nan
            assert found[f"{name}_{label}"] == pytest.approx(wanted, nan_ok=True), (name, label)
    matrix = confusion(chosen, targets, np.ones((1, len(targets))))[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A single label was found")
        assert np.array_equal(matrix, confusion_matrix(targets, chosen, labels=range(3)))


@settings(deadline=None, max_examples=200)
@given(_cases(), st.floats(0.25, 4))
def test_both_areas_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, targets = case
    z, lesion, malignant = logits.astype(np.float64), targets != NORMAL, targets == MALIGNANT
    found = _figures(logits, targets, temperature)
    if {BENIGN, MALIGNANT} <= set(targets):
        wanted = roc_auc_score(malignant[lesion], (z[:, MALIGNANT] - z[:, BENIGN])[lesion])
        assert found["auc_benign_malignant"] == auc_benign_malignant(logits, targets) == pytest.approx(wanted)
    else:
        assert np.isnan(found["auc_benign_malignant"])
        assert auc_benign_malignant(logits, targets) is None
    if 0 < malignant.sum() < len(targets):
        away = (z - z[:, [MALIGNANT]]) / temperature
        odds = -np.logaddexp(away[:, BENIGN], away[:, NORMAL])
        assert found["auc_malignant_rest"] == pytest.approx(roc_auc_score(malignant, odds))
    else:
        assert np.isnan(found["auc_malignant_rest"])


def test_against_the_rest_pictures_are_ordered_by_probability() -> None:
    logits, targets = _noisy(90, 3)
    for temperature in (0.5, 1.0, 3.0):
        p = scipy_softmax(logits.astype(np.float64) / temperature, axis=1)[:, MALIGNANT]
        found = _figures(logits, targets, temperature)["auc_malignant_rest"]
        assert found == pytest.approx(roc_auc_score(targets == MALIGNANT, p), abs=1e-12)
    assert len({_figures(logits, targets, t)["auc_malignant_rest"] for t in (0.1, 10.0)}) == 2, "the order changes"


def test_auc_by_hand() -> None:
    # Scores (malignant - benign): malignant 3, 0, -200; benign 0, -1, -100. Of the 9 pairs malignant against benign:
    # 3 wins 3; 0 wins 2 and ties 1 (counts 1/2); -200 wins 0: AUC = 5.5 / 9. The normal picture does not count.
    score = np.array([3, 0, -200, 0, -1, -100, 1e6], np.float32)
    targets = np.array([1, 1, 1, 0, 0, 0, 2])
    logits = np.stack([np.zeros(7), score, np.full(7, 50.0)], axis=1).astype(np.float32)
    assert auc_benign_malignant(logits, targets) == pytest.approx(5.5 / 9)
    assert auc_benign_malignant(np.stack([score, np.zeros(7), score], axis=1), targets) == pytest.approx(3.5 / 9)


def test_differences_beyond_a_sigmoid_are_not_merged() -> None:
    # sigmoid(200) and sigmoid(300) are both 1 in floating point; in order, malignant above benign, the AUC is 1.
    logits = np.array([[0, 200, 0], [0, 300, 0], [0, 199.99, 0]], np.float32)
    targets = np.array([0, 1, 0])
    assert auc_benign_malignant(logits, targets) == 1.0
    assert _figures(logits, targets)["auc_malignant_rest"] == 1.0


def test_all_scores_equal_is_chance() -> None:
    found = _figures(np.zeros((6, 3), np.float32), np.array([0, 1, 0, 1, 2, 1]))
    assert found["auc_benign_malignant"] == found["auc_malignant_rest"] == 0.5


def test_means_over_classes_take_those_that_the_part_holds() -> None:
    # Recalls: benign 2 of 4, malignant 1 of 1, normal 0 of 1: (1/2 + 1 + 0) / 3 = 1/2. F1: benign 2*2 / (4+2) = 2/3,
    # malignant 2 / (1+3) = 1/2, normal 0 / (1+1) = 0, their mean 7/18.
    targets = np.array([0, 0, 0, 0, 1, 2])
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 1, 1]]
    found = _figures(logits, targets)
    assert found["balanced_accuracy"] == balanced_accuracy(logits, targets) == pytest.approx(1 / 2)
    assert found["macro_f1"] == pytest.approx(7 / 18)
    assert found["precision_normal"] == found["f1_normal"] == 0.0, "called once, and wrongly"
    # Without the normal picture: recalls 1/2 and 1, F1 2/3 and 2 / (1+2); nothing is said about normal pictures.
    found = _figures(logits[:5], targets[:5])
    assert found["balanced_accuracy"] == balanced_accuracy(logits[:5], targets[:5]) == pytest.approx(3 / 4)
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert all(np.isnan(found[f"{name}_normal"]) for name in ("precision", "recall", "f1"))


def test_a_resampling_without_a_class_of_the_part_has_no_mean_over_classes() -> None:
    logits, targets = np.eye(3, dtype=np.float32)[[0, 1, 2]], np.array([0, 1, 2])
    found = figures(logits, targets, np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]]))
    for name in ("balanced_accuracy", "macro_f1", "recall_normal", "precision_normal", "f1_normal"):
        assert found[name][0] == 1.0
        assert np.isnan(found[name][1]), name
    assert found["accuracy"][1] == found["recall_benign"][1] == 1.0
    # Nor when another picture is called so: there F1 would be 0.
    logits, targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]], np.array([0, 1, 2, 0])
    found = figures(logits, targets, np.array([[1.0, 1.0, 0.0, 1.0]]))
    assert np.isnan([found[name][0] for name in ("macro_f1", "f1_normal", "recall_normal")]).all()
    assert found["precision_normal"][0] == 0.0


def test_precision_of_a_class_that_is_never_called_is_unknown() -> None:
    found = _figures(np.eye(3, dtype=np.float32)[[0, 0, 0]], np.array([0, 1, 2]))
    assert np.isnan(found["precision_malignant"])
    assert found["recall_malignant"] == found["f1_malignant"] == 0.0, "it has a picture, which was not found"


def test_the_operating_point_by_hand() -> None:
    # P(malignant), calibrated: of the malignant 0.9, 0.5, 0.2; benign 0.5, 0.1; normal 0.7, 0.3, 0.0.
    p = np.array([0.9, 0.5, 0.2, 0.5, 0.1, 0.7, 0.3, 1e-9])
    targets = np.array([1, 1, 1, 0, 0, 2, 2, 2])
    logits = 2.0 * np.log(np.stack([(1 - p) / 2, p, (1 - p) / 2], axis=1))  # at temperature 2 these are p again
    threshold = float(scipy_softmax(logits[1] / 2)[1])
    found = _figures(logits, targets, 2.0, threshold)
    assert found["sensitivity"] == pytest.approx(2 / 3), "a picture at the threshold is called malignant"
    assert found["specificity"] == pytest.approx(3 / 5)
    assert found["specificity_benign"] == pytest.approx(1 / 2)
    assert _figures(logits, targets, 2.0, 0.25)["specificity"] == pytest.approx(2 / 5)
    assert _figures(logits, targets, 1.0, 0.85)["sensitivity"] == pytest.approx(1 / 3), "0.9 is 0.994 at temperature 1"
    assert _figures(logits, targets, 2.0, 0.85)["sensitivity"] == pytest.approx(1 / 3)
    assert _figures(logits, targets, 2.0, 0.95)["sensitivity"] == 0.0
    assert _figures(logits, targets, 1.0, 0.95)["sensitivity"] == pytest.approx(1 / 3)
    assert "sensitivity" not in _figures(logits, targets)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.floats(0.5, 4))
def test_calibration_error_equals_torchmetrics(seed: int, n: int, temperature: float) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, targets = _noisy(n, seed)
    p = scipy_softmax(logits.astype(np.float64) / temperature, axis=1)
    edge = np.abs(p.max(axis=1)[:, None] * BINS - np.arange(1, BINS + 1)).min()
    assume(edge > 1e-5)  # on an edge torchmetrics, in float32, takes the next bin
    wanted = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(targets), 3, n_bins=BINS, norm="l1")
    assert _figures(logits, targets, temperature)["ece"] == pytest.approx(float(wanted), abs=1e-5)


def test_calibration_error_and_its_bins_by_hand() -> None:
    # Confidence 0.8 is the upper edge of bin 11 (0.733, 0.8] and belongs to it. There 0.8 right and 0.75 wrong: mean
    # confidence 0.775, accuracy 1/2. Bin 14: 0.95 and 1.0 right. ECE = 2/4 * 0.275 + 2/4 * 0.025 = 0.15.
    p = np.array([[0.8, 0.1, 0.1], [0.75, 0.25, 0.0], [0.02, 0.95, 0.03], [0.0, 0.0, 1.0]])
    targets = np.array([0, 1, 1, 2])
    counts = np.array([[1.0, 1, 1, 1], [2.0, 0, 1, 1], [0.0, 3, 0, 1]])
    # Of the resamplings: 0.2 * 2/4 + 0.025 * 2/4, and 0.75 * 3/4 + 0 * 1/4.
    assert calibration_error(p, targets, counts) == pytest.approx([0.15, 0.1125, 0.5625])
    bins = reliability_bins(p, targets, counts)
    assert bins.pictures.tolist() == [0] * 11 + [2, 0, 0, 2]
    assert (bins.confidence[11], bins.accuracy[11]) == (pytest.approx(0.775), 0.5)
    assert (bins.confidence[14], bins.accuracy[14]) == (pytest.approx(0.975), 1.0)
    assert np.isnan(bins.confidence[0])
    # Accuracy in bin 11 of the three resamplings: 1/2, 1, 0.
    assert (bins.low[11], bins.high[11]) == (pytest.approx(0.025), pytest.approx(0.975))


@settings(deadline=None, max_examples=100)
@given(_cases(st.floats(-8, 8, width=32)), st.floats(0.5, 4))
def test_brier_score_equals_scikit_learn(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, targets = case
    p = scipy_softmax(logits.astype(np.float64) / temperature, axis=1)
    wanted = sum(brier_score_loss(targets == k, p[:, k], pos_label=True) for k in range(3))
    assert _figures(logits, targets, temperature)["brier"] == pytest.approx(wanted)


def test_brier_score_ends_at_two() -> None:
    p = np.eye(3)[[0, 1, 2]]
    assert brier(p, np.array([0, 1, 2]), np.ones((1, 3))) == [0.0]
    assert brier(p, np.array([1, 2, 0]), np.ones((1, 3))) == [2.0]


@settings(deadline=None)
@given(_cases(), st.floats(0.1, 10))
def test_nll_equal_to_scipy(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, targets = case
    log_p = log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(targets)), targets]
    wanted = -np.maximum(log_p, math.log(1e-12)).mean()  # a probability is taken as at least 1e-12
    assert nll(logits, targets, temperature) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert _figures(logits, targets, temperature)["nll"] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_counts_stand_for_pictures_drawn_several_times() -> None:
    logits, targets = _noisy(60, 5)
    groups = np.arange(60) // 3
    found = figures(logits, targets, drawn_counts(groups, 30, 2), 1.7, 0.4)
    for r, index in enumerate(resampled(groups, 30, 2)):
        wanted = _figures(logits[index], targets[index], 1.7, 0.4)
        assert {name: values[r] for name, values in found.items()} == pytest.approx(wanted), "as if copied"


@settings(deadline=None, max_examples=50)
@given(_cases(st.floats(-9, 9, width=32)), st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_plays_no_part(case: tuple[np.ndarray, np.ndarray], random) -> None:
    logits, targets = case
    order = list(range(len(targets)))
    random.shuffle(order)
    wanted = _figures(logits, targets, 1.3, 0.3)
    assert _figures(logits[order], targets[order], 1.3, 0.3) == pytest.approx(wanted, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(_cases(st.integers(-9, 9).map(float)))
def test_what_only_orders_does_not_hang_on_the_scale(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = case
    found, other = _figures(logits, targets), _figures(4 * logits + 1, targets, 4.0)
    assert other == pytest.approx(found, nan_ok=True), "temperature takes the scale back, a common shift is nothing"
    for wanted in ("auc_benign_malignant", "accuracy", "specificity_at_sensitivity_90_benign_malignant"):
        assert _figures(4 * logits, targets)[wanted] == pytest.approx(found[wanted], nan_ok=True)


def test_measure_by_hand() -> None:
    # Two groups of two pictures: a is all right (accuracy 1), b half right. Drawn aa, ab, ba, bb: accuracy 1, 3/4, 3/4,
    # 1/2 with probabilities 1/4, 1/2, 1/4: the 2.5 and 97.5 percentiles are 1/2 and 1.
    # AUC: picture 2 (malignant, score 1), pictures 0 and 3 (benign, -1 and 1): it wins one, ties one: 3/4.
    # Drawn aa: 1; bb: no malignant picture, unknown; ab: 3/4.
    logits = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]], np.float32)
    targets = np.array([BENIGN, NORMAL, MALIGNANT, BENIGN])
    groups = np.array(["a", "b", "a", "b"])
    found = measure(logits, targets, groups)
    assert found["accuracy"] == Estimate(0.75, 0.5, 1.0)
    assert found["auc_benign_malignant"] == Estimate(0.75, 0.75, 1.0)
    # Recalls: benign 1/2, malignant 1, normal 1; only ab and ba have every class.
    wanted = pytest.approx(2.5 / 3)
    balanced = found["balanced_accuracy"]
    assert (balanced.value, balanced.low, balanced.high) == (wanted, wanted, wanted)


def test_measure_names() -> None:
    logits, targets = _noisy(30, 0)
    curves = ("benign_malignant", "malignant_rest")
    wanted = {"accuracy", "balanced_accuracy", "macro_f1", "ece", "brier", "nll"}
    wanted |= {f"{name}_{label}" for name in ("precision", "recall", "f1") for label in CLASSES}
    wanted |= {f"auc_{curve}" for curve in curves}
    wanted |= {f"specificity_at_sensitivity_{at}_{curve}" for at in (90, 95) for curve in curves}
    assert set(measure(logits, targets, np.arange(30), repeats=5)) == wanted
    at_point = measure(logits, targets, np.arange(30), 1.0, 0.5, repeats=5)
    assert set(at_point) == wanted | {"sensitivity", "specificity", "specificity_benign"}


def test_the_interval_holds_the_value_and_repeats() -> None:
    logits, targets = _noisy(150, 0)
    groups = np.arange(150) // 2
    found, again = (measure(logits, targets, groups, 0.9, 0.4, repeats=200) for _ in range(2))
    other = measure(logits, targets, groups, 0.9, 0.4, repeats=200, seed=1)
    assert found == again
    for name, estimate in found.items():
        assert 0 < estimate.low < estimate.value < estimate.high < 2, name
        assert other[name].value == estimate.value
        assert (other[name].low, other[name].high) != (estimate.low, estimate.high)


def test_copies_in_one_group_do_not_narrow_the_interval() -> None:
    # Each picture four times: as groups of four the interval stays, as pictures of their own it would halve.
    logits, targets = _noisy(60, 1)
    single = measure(logits, targets, np.arange(60), repeats=300)["accuracy"]
    many, many_targets = np.repeat(logits, 4, axis=0), np.repeat(targets, 4)
    grouped = measure(many, many_targets, np.repeat(np.arange(60), 4), repeats=300)["accuracy"]
    naive = measure(many, many_targets, np.arange(240), repeats=300)["accuracy"]
    assert grouped == single
    assert naive.high - naive.low == pytest.approx((single.high - single.low) / 2, rel=0.2)


def test_of_one_group_the_interval_collapses() -> None:
    logits, targets = _noisy(30, 2)
    for estimate in measure(logits, targets, np.zeros(30), threshold=0.5, repeats=20).values():
        assert estimate.low == estimate.high == pytest.approx(estimate.value)


def test_undefined_metrics_are_unknown() -> None:
    found = measure(np.eye(3, dtype=np.float32)[[2, 2]], np.array([2, 2]), np.array([0, 1]), threshold=0.5, repeats=20)
    assert found["accuracy"] == found["balanced_accuracy"] == found["specificity"] == Estimate(1.0, 1.0, 1.0)
    unknown = ("auc_benign_malignant", "auc_malignant_rest", "sensitivity", "specificity_benign", "recall_malignant")
    unknown += tuple(name for name in found if name.startswith("specificity_at"))
    assert {found[name] for name in unknown} == {Estimate(None, None, None)}


def test_verdicts_by_hand() -> None:
    said = np.array(["benign", "malignant", "malignant", "abstain", "normal", "abstain", "normal", "benign"])
    targets = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    found = measure_verdicts(said, targets, np.arange(8), repeats=50)
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(
        {
            "verdict_coverage": 6 / 8,
            "verdict_accuracy": 3 / 6,
            "malignant_called": 1 / 3,
            "malignant_missed": 1 / 3,
            "benign_called_malignant": 1 / 2,
        }
    )
    alone = measure_verdicts(said[:2], targets[:2], np.zeros(2), repeats=50)
    assert alone["malignant_called"] == Estimate(None)
    assert alone["verdict_coverage"] == Estimate(1.0, 1.0, 1.0)
