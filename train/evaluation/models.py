"""Any model behind one face: a teacher's or student's run folder, or a model bundle through the device's code."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from device.bundle import META_FILE, Bundle, load_bundle
from device.errors import UserError
from device.preprocess import Preprocess
from device.runtime import Model, open_bundle
from train import fit, runs
from train.data import split_file
from train.data.busi import CLASSES, DataSet
from train.data.groups import read_groups
from train.data.lists import read_list
from train.data.splits import Split, guard, named


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate, and what it was trained with.

    temperature, threshold: a bundle's own; None for a run folder, where they are derived on its validation part at
    `target_sensitivity`. split: what Split.describe() said at training. predict: (N, H, W) uint8 luma -> (N, classes)
    float32 logits.
    """

    path: Path
    title: str
    kind: Literal["teacher", "student", "bundle"]
    preprocess: Preprocess
    temperature: float | None
    threshold: float | None
    target_sensitivity: float
    data_name: str
    data_fingerprint: str
    view: str
    synthetic: bool
    split: dict[str, Any]
    predict: Callable[[np.ndarray], np.ndarray]


def open_model(path: Path) -> Candidate:
    """Open a run folder or a bundle. Raises UserError when it is neither, damaged, or of other classes."""
    path = Path(path)
    return _from_bundle(path) if (path / META_FILE).is_file() else candidate(runs.load_run(path))


def _from_bundle(path: Path) -> Candidate:
    bundle = load_bundle(path)
    meta = bundle.meta
    if meta.classes != CLASSES:
        raise UserError(f"{path}: classes {meta.classes}, not {CLASSES}; evaluate another bundle.")
    return Candidate(
        path=path,
        title=f"{meta.name} {meta.variant}",
        kind="bundle",
        preprocess=meta.preprocess,
        temperature=meta.temperature,
        threshold=meta.operating_point.malignant_threshold,
        target_sensitivity=meta.operating_point.target_sensitivity,
        data_name=meta.training.data_name,
        data_fingerprint=meta.training.data_fingerprint,
        view=meta.training.view,
        synthetic=meta.synthetic,
        split=meta.training.split,
        predict=lambda lumas: run_bundle(bundle, lumas),
    )


def candidate(run: runs.Run) -> Candidate:
    """A loaded run as a model to evaluate."""
    meta = run.meta
    alone = meta.kind == "student" and meta.teacher_sha256 is None and meta.soft_targets_sha256 is None
    return Candidate(
        path=run.folder,
        title=f"{meta.recipe.name} {meta.kind}{' without teacher' if alone else ''}",
        kind=meta.kind,
        preprocess=meta.recipe.preprocess,
        temperature=None,
        threshold=None,
        target_sensitivity=meta.recipe.convert.target_sensitivity,
        data_name=meta.data_name,
        data_fingerprint=meta.data_fingerprint,
        view=meta.view,
        synthetic=meta.synthetic,
        split=meta.split,
        predict=lambda lumas: fit.predict(run.network, lumas),
    )


def run_bundle(bundle: Bundle, lumas: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, classes) logits of the TFLite file, picture by picture, as on the Pi."""
    return run_model(open_bundle(bundle), lumas)


def run_model(model: Model, lumas: np.ndarray) -> np.ndarray:
    """`run_bundle` with a TFLite file that is open already."""
    return np.stack([model.logits(luma) for luma in lumas])


def split_of(
    model: Candidate,
    data: DataSet,
    groups: Path | None = None,
    only: Path | None = None,
    exclude: Path | None = None,
    file: Path | None = None,
) -> Split:
    """The split a model was trained with, for evaluating it.

    It lies in the run folder, or for a bundle in the conversion's folder; `file` says where else. groups: judge by
    these groups instead of the training's. only: the test part is these pictures. exclude: leave the groups of these
    out of the test part. Raises UserError when the data set or split is not the model's, or when a picture to be
    evaluated has a copy in training although the protocol is not named as leaky.
    """
    if data.fingerprint != model.data_fingerprint:  # a split is one of names, which other pictures may bear too
        raise UserError(
            f"{model.path}: was trained on other pictures than {data.root} holds; give the training's data set."
        )
    split = split_file.read_split(file or _beside(model), data)
    if split.fingerprint != model.split["fingerprint"]:
        raise UserError(f"{file or _beside(model)}: is not the split {model.path} was trained with; give its own.")
    if groups:
        group_of, source = read_groups(groups, data)
        split = replace(split, group_of=group_of, groups_source=source)
    if only:
        split = replace(split, test=named(data, read_list(only, "--only"), "--only"), only=True)
    if exclude:
        unwanted = {split.group_of[p.name] for p in named(data, read_list(exclude, "--exclude"), "--exclude")}
        kept = tuple(p for p in split.test if split.group_of[p.name] not in unwanted)
        split = replace(split, test=kept, dropped=len(split.test) - len(kept))
        if not split.test:
            raise UserError(f"{exclude}: leaves no picture to evaluate; exclude fewer.")
    guard(split)
    return split


def _beside(model: Candidate) -> Path:
    path = model.path.absolute()
    for folder in (path, path.parent):
        if (folder / split_file.FILE).is_file():
            return folder / split_file.FILE
    raise UserError(
        f"{model.path}: no {split_file.FILE} there or in the folder above; say with --split where the training's "
        f"{split_file.FILE} is."
    )
