"""Evaluations for tests: answers set by hand on the phantoms, without a training."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from device.preprocess import Preprocess
from train.data.busi import CLASSES, DataSet, Picture
from train.data.splits import Split, make_split
from train.evaluation.evaluate import Calibration, Evaluation, judge
from train.evaluation.models import Candidate
from train.recipe import SplitRecipe

OWN = Calibration(1.0, 0.5, "set by hand")


def a_candidate(**changes) -> Candidate:
    """A student's face; `predict` answers with zeros."""
    candidate = Candidate(
        path=Path("runs/tiny"),
        title="tiny student",
        kind="student",
        preprocess=Preprocess(64, 64),
        temperature=None,
        threshold=None,
        target_sensitivity=0.9,
        data_name="phantoms",
        data_fingerprint="0" * 64,
        view="whole",
        synthetic=True,
        split={},
        predict=lambda lumas: np.zeros((len(lumas), 3), np.float32),
    )
    return replace(candidate, **changes)


def answers(*said: str, p: float = 0.8) -> np.ndarray:
    """(N, 3) logits whose softmax gives the class said the probability p and the others the same each."""
    rows = np.full((len(said), 3), (1 - p) / 2)
    rows[np.arange(len(said)), [CLASSES.index(label) for label in said]] = p
    return np.log(rows)


def pictured(data: DataSet, *names: str) -> tuple[Picture, ...]:
    """Pictures of a data set by name, `benign (1)`, in the order given, again when named again."""
    by_name = {picture.name: picture for picture in data.pictures}
    return tuple(by_name[f"{name}.png"] for name in names)


def noisy(data: DataSet, split: Split, seed: int = 0, strength: float = 1.5, **changes) -> Evaluation:
    """An evaluation of the test part with answers that are right more often than not."""
    pictures = split.test
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(pictures), 3)).astype(np.float32)
    logits[np.arange(len(pictures)), [CLASSES.index(picture.label) for picture in pictures]] += strength
    model = a_candidate(**changes)
    return judge(model, pictures, split.groups(pictures), logits, OWN, "test", split.describe(), repeats=60)


def a_split(data: DataSet, protocol: str = "grouped") -> Split:
    """A split of the phantoms under a protocol."""
    return make_split(data, SplitRecipe(protocol=protocol), None)
