"""The folder of an evaluation: JSON for programs, one Markdown page, figures, every answer as CSV."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from device import RESEARCH_NOTICE, files, schema
from device.decide import ABSTAIN
from train import outputs
from train.data.busi import CLASSES, DataSet
from train.evaluation.curves import GRID
from train.evaluation.evaluate import Evaluation, differences
from train.evaluation.figures import FIGURES
from train.evaluation.page import page, warnings
from train.evaluation.reliability import Reliability

JSON, PAGE, PREDICTIONS = "evaluation.json", "report.md", "predictions.csv"


def report(evaluations: list[Evaluation], data: DataSet) -> dict[str, Any]:
    """Everything as plain data; unknown is None. models: by the path given, in the order given."""
    first = evaluations[0]
    models = {str(evaluation.model.path): _model(evaluation) for evaluation in evaluations}
    for evaluation in evaluations[1:]:
        found = differences(first, evaluation)
        models[str(evaluation.model.path)]["minus_first"] = None if found is None else schema.dump(found)
    return {"notice": RESEARCH_NOTICE, "data": data.name, "synthetic": data.synthetic, "models": models}


def _model(evaluation: Evaluation) -> dict[str, Any]:
    pictures = evaluation.pictures
    return {
        "name": evaluation.model.title,
        "kind": evaluation.model.kind,
        "part": evaluation.part,
        "pictures": len(pictures),
        "different_pictures": len({picture.name for picture in pictures}),
        "groups": len(np.unique(evaluation.groups)),
        "split": evaluation.split,
        "warnings": warnings(evaluation),
        "calibration": schema.dump(evaluation.calibration),
        "repeats": len(evaluation.drawn["accuracy"]),
        "metrics": schema.dump(evaluation.metrics),
        "confusion": {"truth": list(CLASSES), "said": list(CLASSES), "pictures": evaluation.confusion().tolist()},
        "verdicts": {
            "truth": list(CLASSES),
            "said": [*CLASSES, ABSTAIN],
            "pictures": evaluation.verdicts().tolist(),
        },
        "roc": {name: None if roc is None else _roc(roc) for name, roc in evaluation.roc.items()},
        "reliability": {
            "calibrated": _reliability(evaluation.reliability),
            "temperature_1": _reliability(evaluation.uncalibrated),
        },
        "errors": [pictures[i].name for i in evaluation.errors()],
    }


def _roc(roc) -> dict[str, Any]:
    band = {"specificity": _numbers(GRID), "low": _numbers(roc.low), "high": _numbers(roc.high)}
    return {"specificity": _numbers(roc.specificity), "sensitivity": _numbers(roc.sensitivity), "band": band}


def _reliability(bins: Reliability) -> dict[str, Any]:
    shares = {name: _numbers(getattr(bins, name)) for name in ("confidence", "accuracy", "low", "high")}
    return {"pictures": bins.pictures.tolist(), **shares}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def predictions(evaluation: Evaluation) -> str:
    """CSV with a comment line: image, group, truth, likeliest class, calibrated probabilities 0..1, verdict."""
    text = io.StringIO()
    synthetic = "SYNTHETIC. " if evaluation.synthetic else ""
    text.write(f"# {synthetic}{RESEARCH_NOTICE}\n")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "group_id", "truth", "likeliest", *(f"p_{label}" for label in CLASSES), "verdict"])
    probabilities, chosen = evaluation.probabilities, evaluation.chosen
    for i, picture in enumerate(evaluation.pictures):
        values = [float(p) for p in probabilities[i]]
        said = str(evaluation.said[i])
        table.writerow([picture.name, evaluation.groups[i], picture.label, CLASSES[chosen[i]], *values, said])
    return text.getvalue()


def check_replaceable(folder: Path) -> None:
    """Raise UserError unless `folder` is new, empty, or holds an earlier evaluation and nothing else."""
    outputs.check_replaceable(folder, JSON, "evaluation")


def write(folder: Path, evaluations: list[Evaluation], data: DataSet) -> None:
    """Write evaluation.json, report.md, and for each model its figures and predictions.csv, as a whole or not at all.

    One model's lie beside the page, those of several in a folder each. Raises UserError as check_replaceable does.
    """
    places = [""] if len(evaluations) == 1 else _places(evaluations)
    with outputs.whole_folder(folder, JSON, "evaluation") as (aside, content):
        for evaluation, place in zip(evaluations, places):
            files.write_text(aside / place / PREDICTIONS, predictions(evaluation))
            for name, draw in FIGURES.items():
                draw(evaluation).savefig(aside / place / f"{name}.png")
        files.write_text(aside / PAGE, page(evaluations, places))
        content |= report(evaluations, data)


def _places(evaluations: list[Evaluation]) -> list[str]:
    """A folder's name for each model, `tiny-student/`; a number is added where two would be the same."""
    places: list[str] = []
    for evaluation in evaluations:
        name = re.sub(r"[^a-z0-9]+", "-", evaluation.model.title.lower()).strip("-") or "model"
        again = sum(re.fullmatch(rf"{name}(-\d+)?/", place) is not None for place in places)
        places.append(f"{name}-{again + 1}/" if again else f"{name}/")
    return places
