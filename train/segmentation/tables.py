"""The study's page: LightBTSeg's Tables I to III and ablations as Markdown, each as CSV, and every picture's score."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from device import RESEARCH_NOTICE, files
from device.bundle import Estimate
from train.evaluation.intervals import number, percent, signed
from train.options import ONE_PER_PICTURE
from train.segmentation.class_head import Classifier, class_heads
from train.segmentation.results import SegResult
from train.segmentation.scores import Score
from train.segmentation.study import SegStudy
from train.segmentation.summary import Summary
from train.studies.grid.results import Pictures
from train.studies.grid.study import Key
from train.studies.grid.table import METRICS
from train.studies.grid.table import TITLES as CLASS_TITLES

PAGE, PICTURES_CSV = "tables.md", "pictures.csv"
TITLES = {
    "I": "Table I: networks and their students",
    "II": "Table II: trained on one class, tested on each",
    "III": "Table III: one teacher and two",
    "ablation": "Ablations",
}
HEADS = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "pixel accuracy",
    "hd95": "HD95, px",
    "lesions_found": "lesions found",
    "normals_clean": "normals clean",
    "false_area_normals": "false area on normals",
}
# (subset of the pictures, figure) of each table's columns; `difference` is that of Dice to the row named.
_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "I": tuple(("all", name) for name in HEADS),
    "II": tuple((subset, name) for subset in ("benign", "malignant") for name in ("dice", "iou", "recall", "hd95")),
    "III": tuple(("all", name) for name in ("dice", "iou", "precision", "recall", "hd95", "lesions_found")),
    "ablation": tuple(("all", name) for name in ("dice", "iou", "hd95", "lesions_found", "false_area_normals")),
}
_UNKNOWN = Estimate(None)


def write(
    out: Path,
    study: SegStudy,
    pictures: Pictures,
    results: dict[Key, SegResult],
    summaries: list[Summary],
    repeats: int = 1000,
    classifier: Classifier | None = None,
) -> Path:
    """Write the page, a CSV per table and the scores of every picture; returns the page's path.

    classifier: what the class heads are compared with.
    """
    lines = heading(study, pictures, summaries)
    for table, title in TITLES.items():
        rows = [one for one in summaries if table in one.row.tables]
        if rows:
            lines += ["", f"## {title}", "", *_markdown(table, rows)]
            files.write_text(out / f"table-{table.lower()}.csv", _csv(table, rows))
    lines += _class_heads(study, pictures, results, repeats, classifier)
    files.write_text(out / PICTURES_CSV, _scores(study, pictures, results))
    files.write_text(out / PAGE, "\n".join(lines) + "\n")
    return out / PAGE


def heading(study: SegStudy, pictures: Pictures, summaries: list[Summary]) -> list[str]:
    """What must be known to read the tables."""
    recipe = study.rows[0].recipe
    size = f"{recipe.preprocess.height} x {recipe.preprocess.width}"
    grouped = pictures.groups != ONE_PER_PICTURE
    protocol = recipe.split.protocol if grouped else f"{recipe.split.protocol}, near-copies not looked for"
    seeds = [str(list(study.seeds))] + [f"{r.name!r} {list(r.seeds)}" for r in study.rows if r.seeds != study.seeds]
    done, planned = sum(one.trainings for one in summaries), sum(one.planned for one in summaries)
    lines = [
        f"# {study.name}: where the lesion is",
        "",
        f"{RESEARCH_NOTICE}",
        "",
        f"{pictures.title}; protocol {protocol}; input {size}; folds {list(study.folds)}, seeds {', '.join(seeds)}; "
        f"{done} of {planned} trainings done. Each picture is judged once per seed, by the network whose test part it "
        "is in, at the picture's own resolution. Percent but for HD95; in brackets the 95 % interval from a bootstrap "
        "over groups. Unknown figures are left out of a mean (docs/segmentation.md says which). GMAC: 10^9 "
        "multiply-adds.",
    ]
    if recipe.split.leaks:
        lines += ["", f"**The protocol {recipe.split.protocol!r} leaks: copies of test pictures train.**"]
    return lines


def _class_heads(
    study: SegStudy,
    pictures: Pictures,
    results: dict[Key, SegResult],
    repeats: int,
    classifier: Classifier | None,
) -> list[str]:
    rows = class_heads(study, pictures, results, repeats, classifier)
    if not rows:
        return []
    names = [CLASS_TITLES[metric] for metric in METRICS]
    lines = ["", "## Class heads", "", "The mean over the trainings, each on its own test part."]
    head = ["row", "trainings", *names]
    if classifier is not None:
        lines[-1] += f" *Minus*: paired with the classifier alone, {classifier.name!r}, on the shared seeds and folds."
        head += ["shared", *(f"minus: {name}" for name in names)]
    lines += ["", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for one in rows:
        mean = one.mean
        planned = len(study.folds) * len(one.row.seeds)
        cells = [one.row.name, f"{mean.trainings} of {planned}", *(percent(mean.mean[metric]) for metric in METRICS)]
        if classifier is not None:
            differences = mean.difference or {}
            cells += [str(mean.shared), *(signed(differences.get(metric, _UNKNOWN)) for metric in METRICS)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _columns(table: str) -> list[str]:
    both = table == "II"
    return [f"{HEADS[name]} ({subset})" if both else HEADS[name] for subset, name in _COLUMNS[table]]


def _markdown(table: str, rows: list[Summary]) -> list[str]:
    heads = ["row", "trainings", "parameters, M", "MiB", "GMAC", *_columns(table), "Dice against"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in rows:
        cells = [one.row.name, f"{one.trainings} of {one.planned}", *_size(one)]
        cells += [_text(name, one.figures.get(subset, {}).get(name, _UNKNOWN)) for subset, name in _COLUMNS[table]]
        against = f"{signed(one.against['dice'])} ({one.row.against})" if one.against else ""
        lines.append("| " + " | ".join([*cells, against]) + " |")
    return lines


def _size(one: Summary) -> list[str]:
    if one.one is None:
        return ["", "", ""]
    return [f"{one.one.parameters / 1e6:.3f}", f"{one.one.mebibytes:.2f}", f"{one.one.multiply_adds / 1e9:.3f}"]


def _text(name: str, estimate: Estimate) -> str:
    return number(estimate) if name == "hd95" else percent(estimate)


def _csv(table: str, rows: list[Summary]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    figures = [f"{subset}_{name}" for subset, name in _COLUMNS[table]]
    bounds = [f"{name}{end}" for name in figures for end in ("", "_low", "_high")]
    head = ["row", "trainings", "planned", "pictures", "parameters", "multiply_adds", "seconds", *bounds]
    writer.writerow([*head, "against", "dice_difference", "dice_difference_low", "dice_difference_high"])
    for one in rows:
        size = (one.one.parameters, one.one.multiply_adds) if one.one else ("", "")
        found = [one.figures.get(subset, {}).get(name, _UNKNOWN) for subset, name in _COLUMNS[table]]
        values = [value for estimate in found for value in _bounds(estimate)]
        paired = [one.row.against, *_bounds(one.against["dice"])] if one.against else ["", "", "", ""]
        writer.writerow(
            [one.row.name, one.trainings, one.planned, one.pictures, *size, f"{one.seconds:.0f}", *values, *paired]
        )
    return stream.getvalue()


def _bounds(estimate: Estimate) -> tuple[str, str, str]:
    return tuple("" if value is None else f"{value:.6f}" for value in (estimate.value, estimate.low, estimate.high))


def _scores(study: SegStudy, pictures: Pictures, results: dict[Key, SegResult]) -> str:
    """Every picture's score: an empty cell is unknown."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "seed", "fold", "picture", "label", "group", *(field.name for field in fields(Score))])
    for job in study.jobs():
        if job.key not in results:
            continue
        for name, score in results[job.key].scores.items():
            values = ("" if value is None else f"{value:.6g}" for value in astuple(score))
            writer.writerow([job.row.name, job.seed, job.fold, name, *pictures.pictures[name], *values])
    return stream.getvalue()
