"""What an evaluation makes of a model's answers: calibration, verdicts, matrices, errors, paired differences."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluations import OWN, a_candidate, a_split, answers, noisy, pictured
from scipy.special import softmax
from sklearn.metrics import accuracy_score, roc_auc_score
from tiny_bundle import LUMA_OF_CLASS

from device.bundle import Estimate
from device.errors import UserError
from device.preprocess import Preprocess
from train.calibrate import fit_temperature, operating_point
from train.data.busi import CLASSES, DataSet, Picture, read_dataset
from train.data.torch_data import targets_of
from train.evaluation.evaluate import Calibration, calibration_of, differences, evaluate, judge, predict, verdicts
from train.evaluation.models import open_model


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


def test_matrices_and_errors_by_hand(data: DataSet) -> None:
    # As under the protocol `paper`, benign (1) stands there three times. Confidence 0.8, of benign (2) 0.9, normal 0.4.
    pictures = pictured(data, "benign (1)", "benign (2)", "malignant (1)", "benign (1)", "normal (1)", "benign (1)")
    logits = answers("malignant", "normal", "malignant", "malignant", "benign", "malignant")
    logits[1], logits[4] = answers("normal", p=0.9)[0], np.log([0.4, 0.25, 0.35])
    groups = np.array([picture.name for picture in pictures])
    found = judge(a_candidate(), pictures, groups, logits, Calibration(1.0, 0.25, "by hand"), "test", None, 20)
    assert found.confusion().tolist() == [[0, 3, 1], [0, 1, 0], [1, 0, 0]]
    assert [found.pictures[i].name for i in found.errors()] == ["benign (2).png", "benign (1).png", "normal (1).png"]
    assert found.said.tolist() == ["malignant", "normal", "malignant", "malignant", "malignant", "malignant"]
    assert found.verdicts().tolist() == [[0, 3, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert found.metrics["accuracy"].value == pytest.approx(1 / 6)
    assert found.metrics["sensitivity"].value == 1.0
    assert found.metrics["specificity"].value == pytest.approx(1 / 5)
    # Each group is one picture: drawn four times out of four it stands for three entries each time.
    assert found.metrics["specificity_benign"].low == 0.0


def test_a_threshold_is_reached_by_what_equals_it(data: DataSet) -> None:
    logits = answers("benign", "normal", "malignant", p=0.5)
    p = softmax(logits / 2.0, axis=1)[0, 1]  # of the first two; the third has more
    said = verdicts(a_candidate(), logits, Calibration(2.0, float(p), "by hand"))
    assert said.tolist() == ["malignant"] * 3
    said = verdicts(a_candidate(), logits, Calibration(2.0, float(np.nextafter(p, 1)), "by hand"))
    assert said.tolist() == ["benign", "normal", "malignant"]
    said = verdicts(a_candidate(), logits, Calibration(2.0, 0.99, "by hand"))
    assert said.tolist()[:2] == ["benign", "normal"]
    assert said[2] in ("benign", "normal"), "below the threshold the likelier of the others"


def test_a_run_is_calibrated_on_its_validation_part(data: DataSet) -> None:
    split = a_split(data)
    rng = np.random.default_rng(1)
    known: dict[int, np.ndarray] = {}

    def answer(lumas: np.ndarray) -> np.ndarray:
        return np.stack([known.setdefault(hash(luma.tobytes()), rng.normal(size=3)) for luma in lumas])

    model = a_candidate(predict=answer)
    found = evaluate(model, split, "test", 20)
    logits, targets = predict(model, split.val), targets_of(split.val)
    temperature = fit_temperature(logits, targets)
    assert found.calibration.temperature == temperature
    wanted = operating_point(logits, targets, temperature, 0.9, "val").malignant_threshold
    assert found.calibration.threshold == wanted
    assert f"90 % sensitivity) derived on the validation part ({len(split.val)} pictures)" in found.calibration.source
    assert found.pictures == split.test
    assert found.split == split.describe()
    assert np.array_equal(found.logits, predict(model, split.test))
    own = evaluate(model, split, "val", 20)
    assert own.calibration == found.calibration
    assert own.metrics["sensitivity"].value >= 0.9
    assert calibration_of(replace(model, temperature=2.0, threshold=0.25), split) == Calibration(
        2.0, 0.25, "temperature and threshold are the bundle's own"
    )


def test_a_model_that_gives_no_number_is_refused(data: DataSet) -> None:
    def answer(lumas: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(lumas), 3), np.float32)
        logits[2, 1], logits[3, 0] = np.nan, np.inf
        return logits

    with pytest.raises(UserError, match=r"runs/tiny.*'benign \(3\).png' \(2 pictures in all\)"):
        predict(a_candidate(predict=answer), data.pictures[:5])


def _flat(folder: Path, label: str, number: int, luma: int) -> Picture:
    path = folder / f"{label} ({number}).png"
    cv2.imwrite(str(path), np.full((64, 64), luma, np.uint8))
    return Picture(path.name, path, label, ())


def test_a_bundle_says_what_the_device_says(bundle_dir: Path, tmp_path: Path) -> None:
    # The bundle judges by mean luma; half-way between two classes it abstains (tests/device/tiny_bundle.py).
    lumas = {"benign": (128, 216, 172), "malignant": (216, 216, 40), "normal": (40, 84, 128)}
    pictures = tuple(_flat(tmp_path, label, n, luma) for label in CLASSES for n, luma in enumerate(lumas[label]))
    model = open_model(bundle_dir / "float32")
    assert (model.kind, model.preprocess, LUMA_OF_CLASS["benign"]) == ("bundle", Preprocess(64, 64), 128)
    calibration = calibration_of(model, None)
    assert calibration == Calibration(1.0, 0.5, "temperature and threshold are the bundle's own")
    found = judge(model, pictures, np.arange(9), predict(model, pictures), calibration, "test", None, 20)
    assert found.said.tolist() == [
        *("benign", "malignant", "abstain"),
        *("malignant", "malignant", "normal"),
        *("normal", "abstain", "benign"),
    ]
    assert found.verdicts().tolist() == [[1, 1, 0, 1], [0, 2, 1, 0], [1, 0, 1, 1]]
    metrics = {name: estimate.value for name, estimate in found.metrics.items()}
    assert metrics["verdict_coverage"] == pytest.approx(7 / 9)
    assert metrics["verdict_accuracy"] == pytest.approx(4 / 7)
    assert (metrics["malignant_called"], metrics["malignant_missed"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert metrics["benign_called_malignant"] == pytest.approx(1 / 3)
    # A run folder with the very same answers knows no abstention.
    plain = judge(a_candidate(), pictures, np.arange(9), found.logits, calibration, "test", None, 20)
    assert plain.verdicts()[:, 3].sum() == 0
    assert "verdict_coverage" not in plain.metrics


def test_a_paired_difference_by_hand(data: DataSet) -> None:
    # Two groups: in a the other model is right where the first is wrong, in b both are right.
    pictures = pictured(data, "benign (1)", "malignant (1)", "normal (1)", "normal (2)")
    groups = np.array(["a", "b", "b", "b"])
    first = answers("normal", "malignant", "normal", "normal")
    better = answers("benign", "malignant", "normal", "normal")
    one, other = (judge(a_candidate(), pictures, groups, z, OWN, "test", None, 400) for z in (first, better))
    found = differences(one, other)
    # Drawn aa: 1 - 0; ab, ba: 1 - 3/4; bb: 1 - 1. The percentiles of 1/4, 1/2, 1/4 are 0 and 1.
    assert found["accuracy"] == Estimate(0.25, 0.0, 1.0)
    # Recalls 1, 1, 1 and 0, 1, 1; both classes' pictures are drawn only with ab and ba.
    assert found["balanced_accuracy"] == Estimate(pytest.approx(1 / 3), pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert set(found) == {"accuracy", "balanced_accuracy", "auc_benign_malignant", "auc_malignant_rest"}
    back = differences(other, one)["accuracy"]
    assert (back.value, back.low, back.high) == (-0.25, -1.0, 0.0)


def test_pairing_narrows_the_interval(data: DataSet) -> None:
    split = a_split(data)
    first = noisy(data, split)
    almost = np.array(first.logits)
    almost[0] = answers(next(label for label in CLASSES if label != first.pictures[0].label))[0] * 9
    other = judge(first.model, first.pictures, first.groups, almost, OWN, "test", first.split, 60)
    paired, alone = differences(first, other)["accuracy"], first.metrics["accuracy"]
    assert paired.high - paired.low < (alone.high - alone.low) / 1.5, "unpaired it would be wider than one alone"
    assert set(differences(first, first).values()) == {Estimate(0.0, 0.0, 0.0)}


def test_models_on_other_pictures_are_not_paired(data: DataSet) -> None:
    split = a_split(data)
    first = noisy(data, split)
    assert differences(first, replace(first, pictures=first.pictures[::-1])) is None
    assert differences(first, replace(first, groups=np.zeros(len(first.groups)))) is None
    fewer = judge(first.model, first.pictures, first.groups, first.logits, OWN, "test", first.split, 59)
    assert differences(first, fewer) is None


def test_what_is_unknown_for_one_is_unknown_for_the_difference(data: DataSet) -> None:
    pictures = pictured(data, "benign (1)", "normal (1)")
    model = judge(a_candidate(), pictures, np.arange(2), answers("benign", "benign"), OWN, "test", None, 20)
    found = differences(model, model)
    assert found["auc_benign_malignant"] == Estimate(None)
    assert found["accuracy"].value == 0.0


def test_figures_are_those_of_scikit_learn(data: DataSet) -> None:
    found = noisy(data, a_split(data))
    p, malignant = found.probabilities, found.targets == 1
    assert p == pytest.approx(softmax(found.logits, axis=1), abs=1e-6)
    assert found.metrics["accuracy"].value == pytest.approx(accuracy_score(found.targets, p.argmax(axis=1)))
    assert found.metrics["auc_malignant_rest"].value == pytest.approx(roc_auc_score(malignant, p[:, 1]))
    roc = found.roc["malignant_rest"]
    area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    assert area(roc.sensitivity, 1 - roc.specificity) == pytest.approx(roc_auc_score(malignant, p[:, 1]))
    assert found.reliability.pictures.sum() == len(found.targets)


def test_the_temperature_reaches_every_probability(data: DataSet) -> None:
    pictures = pictured(data, "benign (1)", "malignant (1)", "normal (1)")
    logits = 2 * answers(*CLASSES, p=0.6)  # 0.6 at temperature 2, 0.818 at 1
    found = judge(a_candidate(), pictures, np.arange(3), logits, Calibration(2.0, 0.5, "by hand"), "test", None, 20)
    assert found.probabilities.max(axis=1) == pytest.approx([0.6] * 3)
    assert np.nansum(found.reliability.confidence) == pytest.approx(0.6)
    assert np.nansum(found.uncalibrated.confidence) == pytest.approx(0.36 / (0.36 + 2 * 0.04))
    assert found.metrics["ece"].value == pytest.approx(0.4)
    assert found.metrics["brier"].value == pytest.approx(0.4**2 + 2 * 0.2**2)
