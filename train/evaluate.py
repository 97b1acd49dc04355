"""One evaluation for everything: a teacher's or student's run folder, or a model bundle through the device's code."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.bundle import META_FILE, Bundle, Training, load_bundle
from device.errors import UserError
from device.runtime import open_bundle
from train import fit, runs
from train.data.busi import CLASSES, DataSet, load_lumas
from train.data.splits import Split, make_split
from train.data.torch_data import targets_of
from train.metrics import measure
from train.recipe import SplitRecipe


@dataclass(frozen=True)
class Evaluation:
    """Logits of one model on one part of a split, with its metrics."""

    model: str
    part: str
    logits: np.ndarray
    targets: np.ndarray
    metrics: dict


def run_bundle(bundle: Bundle, lumas: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, classes) logits of the TFLite file, picture by picture, as on the Pi."""
    model = open_bundle(bundle)
    return np.stack([model.logits(luma) for luma in lumas])


def evaluate(model: Path, data: DataSet, part: str, groups: Path | None) -> tuple[Evaluation, Split]:
    """Evaluate a run folder or bundle on a part of the split it was trained with.

    Raises UserError when the data set or groups give another split than the model's: the parts would mix.
    """
    if (Path(model) / META_FILE).is_file():
        bundle = load_bundle(model)
        if bundle.meta.classes != CLASSES:
            raise UserError(f"{model}: classes {bundle.meta.classes}, not {CLASSES}; evaluate another bundle.")
        split = same_split(model, bundle.meta.training, data, groups)
        pictures = split.part(part)
        logits = run_bundle(bundle, load_lumas(pictures, bundle.meta.preprocess))
        name = f"{bundle.meta.name} {bundle.meta.variant}"
    else:
        run = runs.load_run(model)
        split = same_split(model, run.meta, data, groups)
        pictures = split.part(part)
        logits = fit.predict(run.network, load_lumas(pictures, run.meta.recipe.preprocess))
        alone = run.meta.kind == "student" and run.meta.teacher_sha256 is None
        name = f"{run.meta.recipe.name} {run.meta.kind}{' without teacher' if alone else ''}"
    targets = targets_of(pictures)
    return Evaluation(name, part, logits, targets, measure(logits, targets, split.groups(pictures))), split


def same_split(model: Path, trained: Training | runs.RunMeta, data: DataSet, groups: Path | None) -> Split:
    """Make again the split a model was trained with.

    Raises UserError when `data` holds other pictures than the training's, or `groups` gives another split.
    """
    if data.fingerprint != trained.data_fingerprint:  # a split is one of names, which other pictures may bear too
        raise UserError(f"{model}: was trained on other pictures than {data.root} holds; give the training's data set.")
    names = ("protocol", "folds", "test_fold", "val_fold", "seed")
    split = make_split(data, SplitRecipe(**{name: trained.split[name] for name in names}), groups)
    if split.fingerprint != trained.split["fingerprint"]:
        raise UserError(
            f"{model}: was trained on another split than {data.root} gives with these groups; "
            "use the data set and --groups of the training."
        )
    return split
