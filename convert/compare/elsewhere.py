"""A study's networks and files on other hospitals' pictures: the sets of train/external, for testing only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from convert.compare.made import Made, kept
from device import files, schema
from device.bundle import Estimate
from device.errors import UserError
from device.runtime import Model
from train import runs
from train.data.busi import DataSet, read_dataset
from train.evaluation.models import Candidate, candidate, run_model
from train.external.adapters import ExternalSet, load_lumas, read_external
from train.external.overlap import Copy, copies_in
from train.external.table import SURE, Part, Table, judge
from train.studies.grid.results import DIGITS
from train.studies.grid.study import Key

ANSWERS = "external.json"
NETWORK = "network"  # the form of PyTorch's own answers, before any conversion
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}
Form = tuple[str, str | None]  # row's folder name, variant; None: the network


@dataclass(frozen=True)
class Asked:
    """One training's answers to the external pictures of its view, also to those that no figure counts.

    weights, convert: of what gave them, as in Made. sets: name -> fingerprint. answers: NETWORK or variant -> set ->
    picture's name -> logits.
    """

    weights: str
    convert: dict[str, Any]
    sets: dict[str, str]
    answers: dict[str, dict[str, dict[str, tuple[float, ...]]]]


@dataclass(frozen=True)
class Elsewhere:
    """A form on one set, or its mean over several: of how many pictures, how many of them malignant.

    figures: METRICS, 0..1, means over `trainings` trainings with 95 % intervals over the sets' lesions.
    """

    pictures: int
    malignant: int
    trainings: int
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class External:
    """The sets. copies: pictures that are `whole`'s own and count nowhere; both None when nobody could look."""

    sets: tuple[ExternalSet, ...]
    copies: tuple[Copy, ...] | None
    whole: DataSet | None


def read_sets(root: Path, data: DataSet) -> tuple[ExternalSet, ...]:
    """All sets under `root`. Raises UserError as train external does, and when none of the data's view has classes."""
    sets = read_external(root)
    if not any(one.view == data.view and _labelled(one) for one in sets):
        raise UserError(
            f"{root}: none of the sets there has classes and pictures of the view {data.view!r}, as {data.root} has; "
            "give a folder with such a set, or leave out --external."
        )
    return sets


def without_copies(sets: Sequence[ExternalSet], data: DataSet, whole: Path | None) -> External:
    """Look for pictures of the training's among those that figures count. whole: what `data` was cut from, where it
    holds crops, in which no copy can be found. Raises UserError when a picture does not decode."""
    looked = data if data.view == "whole" else read_dataset(whole) if whole else None
    counted = [one for one in sets if one.view == data.view and _labelled(one)]
    return External(tuple(sets), None if looked is None else copies_in(counted, looked), looked)


def _labelled(one: ExternalSet) -> bool:
    return all(picture.label is not None for picture in one.pictures)


def ask(run: runs.Run, one: Made, sets: Sequence[ExternalSet], folder: Path) -> Asked:
    """Ask the network and the files that `one` says are in `folder`, once: ANSWERS beside them.

    What is there of the same weights, recipe and sets stays. Raises UserError: a file does not open, an answer is not
    finite, or a picture does not decode.
    """
    fitting = [found for found in sets if found.view == run.meta.view]
    prints = {found.name: found.fingerprint for found in fitting}
    forms = [NETWORK, *(variant for variant, said in one.test.items() if said)]
    there = kept(Asked, folder / ANSWERS)
    if there and (there.weights, there.convert, there.sets) == (one.weights, one.convert, prints):
        if set(forms) <= {*there.answers}:
            return there
    answers: dict[str, dict[str, dict[str, tuple[float, ...]]]] = {form: {} for form in forms}
    models = {variant: Model(folder / f"{variant}.tflite") for variant in forms[1:]}
    for found in fitting:
        lumas = load_lumas(found.pictures, run.meta.recipe.preprocess)
        for form in forms:
            logits = candidate(run).predict(lumas) if form == NETWORK else run_model(models[form], lumas)
            if not np.isfinite(logits).all():
                raise UserError(f"{folder}: {form} gave no finite numbers for {found.name}; train or convert it again.")
            said = (tuple(round(float(v), DIGITS) for v in row) for row in logits)
            answers[form][found.name] = dict(zip((p.name for p in found.pictures), said, strict=True))
    asked = Asked(one.weights, one.convert, prints, answers)
    files.write_text(folder / ANSWERS, json.dumps(schema.dump(asked), allow_nan=False, ensure_ascii=False) + "\n")
    return asked


def nameable(run: runs.Run) -> Candidate:
    """What `judged` must know of a training, without its network: there may be many trainings."""

    def predict(lumas: np.ndarray) -> np.ndarray:
        raise AssertionError("its answers are kept; it is not asked again")

    return replace(candidate(run), predict=predict)


def judged(
    asked: Mapping[Key, tuple[Candidate, Asked]], external: External, repeats: int = 1000
) -> dict[Form, dict[str, Elsewhere]]:
    """Each form's figures by train/external's own judging: name of a set, of the part of it with sure classes (SURE),
    or `mean of A, B` -> Elsewhere. asked: of each training `nameable` and `ask`. Raises UserError: nothing is left."""
    models: list[Candidate] = []
    forms: dict[str, Form] = {}
    said: dict[Path, dict[str, dict[str, tuple[float, ...]]]] = {}
    for (slug, _, _), (model, one) in asked.items():
        for form, answers in one.answers.items():
            named = replace(model, path=model.path / form, title=f"{slug} {form}")
            forms[named.title] = (slug, None if form == NETWORK else form)
            said[named.path] = answers
            models.append(named)

    def answer(model: Candidate, part: Part) -> np.ndarray:
        of_set = said[model.path][part.name.removesuffix(SURE)]
        return np.array([of_set[picture.name] for picture in part.pictures])

    # All sets, in their order: each draws its own resamplings, and they are to be those of train external.
    return _by_form(judge(models, external.sets, external.copies, repeats=repeats, ask=answer), forms)


def _by_form(table: Table, forms: Mapping[str, Form]) -> dict[Form, dict[str, Elsewhere]]:
    found: dict[Form, dict[str, Elsewhere]] = {form: {} for form in forms.values()}
    in_mean: dict[str, dict[str, Part]] = {title: {} for title in forms}
    for row in table.rows:  # first each training's, then their mean, which takes their place
        if row.part.labelled:
            found[forms[row.title]][row.part.name] = _elsewhere([row.part], row.models, row.figures)
            in_mean[row.title] |= {row.part.name: row.part} if row.part.in_mean else {}
    for mean in table.means:
        parts = list(in_mean[mean.title].values())
        found[forms[mean.title]][f"mean of {', '.join(mean.sets)}"] = _elsewhere(parts, mean.models, mean.figures)
    return found


def _elsewhere(parts: Sequence[Part], trainings: int, figures: Mapping[str, Estimate]) -> Elsewhere:
    labels = [picture.label for part in parts for picture in part.pictures]
    known = {name: figures.get(name, Estimate(None)) for name in METRICS}
    return Elsewhere(len(labels), labels.count("malignant"), trainings, known)
