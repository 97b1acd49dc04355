"""One model on one part of its split: logits, calibration, verdicts, figures with intervals, and what is drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.bundle import Estimate, load_bundle
from device.decide import ABSTAIN, decide, softmax
from device.errors import UserError
from train.calibrate import fit_temperature, operating_point
from train.data.busi import CLASSES, DataSet, Picture, load_lumas
from train.data.groups import one_per_picture, read_groups
from train.data.splits import Split
from train.data.torch_data import targets_of
from train.evaluation.curves import Roc, with_band
from train.evaluation.intervals import drawn_counts, with_interval
from train.evaluation.metrics import confusion, estimates, figures, measure_verdicts, roc_curves
from train.evaluation.models import Candidate
from train.evaluation.reliability import Reliability, reliability_bins

_MALIGNANT = CLASSES.index("malignant")
PAIRED = ("accuracy", "balanced_accuracy", "auc_benign_malignant", "auc_malignant_rest")


@dataclass(frozen=True)
class Calibration:
    """Temperature (> 0) and threshold (0..1 of calibrated P(malignant)), and in words where they come from."""

    temperature: float
    threshold: float
    source: str


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on N pictures and what they are worth.

    groups (N,); targets (N,) class numbers; logits (N, K); said (N,) verdict labels. split: Split.describe(), or None
    when the pictures belong to no split of the model's. metrics: of `figures`, for a bundle also of `measure_verdicts`;
    drawn: the same (but not of the verdicts) in each resampling. roc: `benign_malignant` and `malignant_rest`, None
    where undefined. reliability: calibrated; uncalibrated: at temperature 1. data_name, synthetic: of the pictures that
    were judged, which need not be the model's own.
    """

    model: Candidate
    data_name: str
    synthetic: bool
    part: str
    pictures: tuple[Picture, ...]
    groups: np.ndarray
    targets: np.ndarray
    logits: np.ndarray
    calibration: Calibration
    said: np.ndarray
    split: dict | None
    metrics: dict[str, Estimate]
    drawn: dict[str, np.ndarray]
    roc: dict[str, Roc | None]
    reliability: Reliability
    uncalibrated: Reliability

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) calibrated, 0..1."""
        return softmax(self.logits, self.calibration.temperature)

    @property
    def chosen(self) -> np.ndarray:
        """(N,) the class with the largest logit."""
        return self.logits.argmax(axis=1)

    def confusion(self) -> np.ndarray:
        """(K, K) pictures by [truth, class with the largest logit]."""
        return confusion(self.chosen, self.targets, np.ones((1, len(self.targets))))[0].astype(int)

    def verdicts(self) -> np.ndarray:
        """(K, K + 1) pictures by [truth, verdict]; the last column: abstained."""
        by_truth = [self.said[self.targets == k] for k in range(len(CLASSES))]
        return np.array([[(said == label).sum() for label in (*CLASSES, ABSTAIN)] for said in by_truth])

    def errors(self) -> list[int]:
        """Indices of the pictures whose class with the largest logit is wrong, the most confident first.

        A picture that stands several times in the part is named once.
        """
        confidence = self.probabilities.max(axis=1)
        wrong = np.flatnonzero(self.chosen != self.targets)
        ordered = sorted(wrong, key=lambda i: (-confidence[i], self.pictures[i].name))
        first: dict[str, int] = {}
        for i in ordered:
            first.setdefault(self.pictures[i].name, int(i))
        return list(first.values())


def evaluate(model: Candidate, split: Split, part: str, repeats: int = 1000) -> Evaluation:
    """Judge a model on a part of the split it was trained with (models.split_of gives it).

    Raises UserError when a picture does not decode, when the model gives no finite number, or when there is no
    malignant or no other picture in the validation part to derive a run folder's threshold on.
    """
    logits = predict(model, split.part(part))
    val_logits = logits if part == "val" else None
    calibration = calibration_of(model, split, val_logits)
    pictures = split.part(part)
    return judge(model, pictures, split.groups(pictures), logits, calibration, part, split.describe(), repeats)


def evaluate_other(model: Candidate, data: DataSet, groups: Path | None, repeats: int = 1000) -> Evaluation:
    """Judge a model on every picture of a data set that it was not trained on.

    Without `groups` each picture is a group of its own. A run folder has nothing to calibrate on: temperature 1,
    threshold 0.5. Raises UserError when these are the training's own pictures, or of another view.
    """
    if data.fingerprint == model.data_fingerprint:
        raise UserError(f"{model.path}: was trained on {data.root} itself; leave --part all away.")
    if data.view != model.view:
        raise UserError(
            f"{model.path}: was trained on pictures of the view {model.view!r}, {data.root} shows {data.view!r}; give "
            "another data set."
        )
    if model.temperature is not None and model.threshold is not None:
        calibration = calibration_of_bundle(model.temperature, model.threshold)
    else:
        calibration = Calibration(
            1.0, 0.5, "a run folder is not calibrated for other data: temperature 1, threshold 0.5"
        )
    group_of, _ = read_groups(groups, data) if groups else one_per_picture(data)
    names = np.array([group_of[picture.name] for picture in data.pictures])
    logits = predict(model, data.pictures)
    return judge(model, data.pictures, names, logits, calibration, "all", None, repeats, data=data)


def judge(
    model: Candidate,
    pictures: tuple[Picture, ...],
    groups: np.ndarray,
    logits: np.ndarray,
    calibration: Calibration,
    part: str,
    split: dict | None,
    repeats: int = 1000,
    seed: int = 0,
    data: DataSet | None = None,
) -> Evaluation:
    """All figures from a model's logits (N, K) on any pictures with their groups (N,). data: where the pictures are
    from; None: from what the model was trained on."""
    targets, temperature = targets_of(pictures), calibration.temperature
    said = verdicts(model, logits, calibration)
    counts, once = drawn_counts(groups, repeats, seed), np.ones((1, len(pictures)))
    drawn = figures(logits, targets, counts, temperature, calibration.threshold)
    metrics = estimates(logits, targets, drawn, temperature, calibration.threshold)
    if model.kind == "bundle":
        metrics |= measure_verdicts(said, targets, groups, repeats, seed)
    whole, resampled = (roc_curves(logits, targets, c, temperature) for c in (once, counts))
    return Evaluation(
        model=model,
        data_name=data.name if data else model.data_name,
        synthetic=data.synthetic if data else model.synthetic,
        part=part,
        pictures=pictures,
        groups=groups,
        targets=targets,
        logits=logits,
        calibration=calibration,
        said=said,
        split=split,
        metrics=metrics,
        drawn=drawn,
        roc={name: with_band(whole[name], resampled[name]) for name in whole},
        reliability=reliability_bins(softmax(logits, temperature), targets, counts),
        uncalibrated=reliability_bins(softmax(logits), targets, counts),
    )


def predict(model: Candidate, pictures: tuple[Picture, ...]) -> np.ndarray:
    """(N, K) logits of a model on pictures. Raises UserError when one is not finite or a picture does not decode."""
    logits = model.predict(load_lumas(pictures, model.preprocess))
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise UserError(
            f"{model.path}: gives no finite number for {pictures[broken[0]].name!r} ({len(broken)} pictures in all); "
            "train or convert it again."
        )
    return logits


def calibration_of(model: Candidate, split: Split, val_logits: np.ndarray | None = None) -> Calibration:
    """A bundle's own temperature and threshold; a run folder's derived on its validation part.

    val_logits: (V, K) of the validation part when they are known already.
    """
    if model.temperature is not None and model.threshold is not None:
        return calibration_of_bundle(model.temperature, model.threshold)
    logits = predict(model, split.val) if val_logits is None else val_logits
    targets, where = targets_of(split.val), f"the validation part ({len(split.val)} pictures)"
    temperature = fit_temperature(logits, targets)
    point = operating_point(logits, targets, temperature, model.target_sensitivity, where)
    source = f"temperature and threshold ({100 * model.target_sensitivity:g} % sensitivity) derived on {where}"
    return Calibration(temperature, point.malignant_threshold, source)


def calibration_of_bundle(temperature: float, threshold: float) -> Calibration:
    """What a bundle brings along."""
    return Calibration(temperature, threshold, "temperature and threshold are the bundle's own")


def verdicts(model: Candidate, logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """(N,) labels: a bundle's as on the device, abstention included; a run folder's by the threshold alone."""
    if model.kind == "bundle":
        meta = load_bundle(model.path).meta
        return np.array([decide(row, meta).label for row in logits])
    malignant = softmax(logits, calibration.temperature)[:, _MALIGNANT] >= calibration.threshold
    others = np.array(logits, np.float64)
    others[:, _MALIGNANT] = -np.inf
    return np.where(malignant, "malignant", np.array(CLASSES)[others.argmax(axis=1)])


def differences(first: Evaluation, other: Evaluation) -> dict[str, Estimate] | None:
    """`other` minus `first` in each metric of PAIRED, the interval from the same resamplings for both.

    Paired, so that what is hard for both cancels out. None when they were not evaluated on the same pictures in the
    same groups.
    """
    same = first.pictures == other.pictures and np.array_equal(first.groups, other.groups)
    if not same or len(first.drawn["accuracy"]) != len(other.drawn["accuracy"]):
        return None
    found = {}
    for name in PAIRED:
        before, after = first.metrics[name].value, other.metrics[name].value
        value = None if before is None or after is None else after - before
        found[name] = with_interval(value, other.drawn[name] - first.drawn[name])
    return found
