"""The cross-data-set table as Markdown, JSON and a forest plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device import RESEARCH_NOTICE, files, schema
from train import outputs
from train.data.busi import CLASSES, DataSet
from train.evaluation.intervals import percent
from train.external.adapters import ExternalSet
from train.external.overlap import Copy
from train.external.table import REFERENCE, Row, Table

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "said_normal": "said normal",
}
_OPERATING = {"operating_sensitivity": "sensitivity", "operating_specificity": "specificity"}
_MISMATCH = " †"
MARK, WHAT = "external.json", "cross-data-set table"


def markdown(table: Table, sets: Sequence[ExternalSet], data: DataSet | None) -> str:
    """The whole report. data: where copies were looked for."""
    labelled = [row for row in table.rows if row.part.labelled]
    unlabelled = [row for row in table.rows if not row.part.labelled]
    operating = [row for row in labelled if set(_OPERATING) <= set(row.figures)]
    lines = ["# External data sets", "", f"**{RESEARCH_NOTICE}**", ""]
    if any(row.synthetic for row in table.rows):
        lines += [
            "**SYNTHETIC: models marked so were trained on phantoms; their figures say nothing about patients.**",
            "",
        ]
    for sentence in table.warnings:
        lines += [f"**{sentence}**", ""]
    lines += ["These sets are for testing only. Percent [95 % interval].", "", *copies_said(table.copies, data), ""]
    if labelled:
        lines += [*_table(labelled, FIGURES), ""]
    lines += [*_means(table), ""]
    if operating:
        lines += ["## At the bundle's operating point", "", *_table(operating, _OPERATING), ""]
    if unlabelled:
        said = {f"said_{label}": f"said {label}" for label in CLASSES}
        lines += ["## Sets without classes", "", "Every picture shows a lesion, so `normal` is a lesion missed.", ""]
        lines += [*_table(unlabelled, said), ""]
    return "\n".join([*lines, *_how(table), "", *(f"- {one.source}" for one in sets)]) + "\n"


def _table(rows: Sequence[Row], figures: dict[str, str]) -> list[str]:
    head = ["model", "set", "view", "pictures", *figures.values()]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [_name(row), row.part.name, row.part.view, _pictures(row)]
        cells += [percent(row.figures[name]) for name in figures]
        lines.append(f"| {' | '.join(cells)} |")
    if not all(row.matched for row in rows):
        lines += ["", "† The model was trained on pictures of the other view; this row enters no mean over sets."]
    return lines


def _name(row: Row) -> str:
    return row.model + (" SYNTHETIC" if row.synthetic else "") + ("" if row.matched else _MISMATCH)


def _pictures(row: Row) -> str:
    count = len(row.part.pictures)
    if not row.part.labelled:
        return str(count)
    malignant = sum(picture.label == "malignant" for picture in row.part.pictures)
    return f"{count} ({count - malignant} / {malignant})"


def copies_said(copies: Sequence[Copy] | None, data: DataSet | None) -> list[str]:
    """Lines on the pictures that the training's data set holds too; copies None, or no data: nobody looked."""
    if copies is None or data is None:
        return [
            "Nobody looked for copies of training pictures among these (no `--data`): the figures may be too good. "
            "BUS-CoT is known to hold pictures of BUSI."
        ]
    if not copies:
        return [f"No picture here is a copy of one in {data.name}."]
    lines = [f"Left out, because {data.name} holds the same scan ({len(copies)}):", ""]
    lines += ["| set | picture | class | copy of | class there | key points | correlation |", f"|{'---|' * 7}"]
    for c in copies:
        other = f"**{c.label_of}**" if c.label not in (None, c.label_of) else c.label_of
        lines.append(
            f"| {c.set} | {c.name} | {c.label or 'none'} | {c.of} | {other} | {c.matched} | {c.correlation:.2f} |"
        )
    return lines


def _means(table: Table) -> list[str]:
    lines = ["## Mean over the sets", ""]
    if table.means:
        head = ["models", "sets", "accuracy, pictures drawn", "accuracy, sets drawn", "balanced accuracy", "AUC"]
        lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        for mean in table.means:
            name = mean.title + (f", mean of up to {mean.models}" if mean.models > 1 else "")
            spread = percent(mean.spread) if mean.spread else "fewer than three sets"
            cells = [name, ", ".join(mean.sets), percent(mean.figures["accuracy"]), spread]
            cells += [
                percent(mean.figures[key]) if key in mean.figures else "unknown" for key in ("balanced_accuracy", "auc")
            ]
            lines.append(f"| {' | '.join(cells)} |")
    else:
        lines += ["There is none: no model here has two sets of its view."]
    lines += [
        "",
        f"For comparison: the LMIC study reports a mean accuracy of {100 * REFERENCE.value:.2f} % "
        f"[{100 * REFERENCE.low:.2f}, {100 * REFERENCE.high:.2f}] over its data sets. Its sets are others than these, "
        "so the two figures can be set side by side but not ranked.",
    ]
    return lines


def _how(table: Table) -> list[str]:
    return [
        "## How to read this",
        "",
        "- Pictures: benign / malignant in brackets. The decision is the larger of the two lesion logits; *said "
        "normal* is how often the third class had the largest of all, a lesion missed.",
        f"- Intervals: percentile bootstrap, {table.repeats} resamplings of the lesions of each set (*pictures "
        "drawn*). It says how sure the figure is on these sets, not what another hospital would give; *sets drawn* is "
        "Student's t interval over the sets' accuracies and tries to say that, from very few sets.",
        "- The mean over sets weighs each set alike. Of a set with pictures of doubtful class only the others enter "
        "it. A row *mean of N* averages the figures of N models of one title (seeds), drawn together.",
        "",
        "## Sets",
    ]


def to_json(table: Table, sets: Sequence[ExternalSet], data: DataSet | None) -> dict[str, Any]:
    """Everything in the report, for programs; unknown is null."""
    rows = [
        {
            "model": row.model,
            "models": row.models,
            "set": row.part.name,
            "view": row.part.view,
            "matched": row.matched,
            "synthetic": row.synthetic,
            "pictures": len(row.part.pictures),
            "in_mean": row.part.in_mean and row.matched,
            "figures": schema.dump(row.figures),
        }
        for row in table.rows
    ]
    return {
        "notice": RESEARCH_NOTICE,
        "copies_looked_for_in": None if data is None else {"name": data.name, "fingerprint": data.fingerprint},
        "copies": None if table.copies is None else schema.dump(table.copies),
        "sets": {one.name: {"view": one.view, "fingerprint": one.fingerprint, "source": one.source} for one in sets},
        "repeats": table.repeats,
        "warnings": list(table.warnings),
        "rows": rows,
        "means": schema.dump(table.means),
        "reference": {"what": "LMIC study, mean accuracy over its own data sets", **schema.dump(REFERENCE)},
    }


def check_target(folder: Path) -> None:
    """Raise UserError when `folder` holds anything but an earlier table."""
    outputs.check_replaceable(folder, MARK, WHAT)


def write(folder: Path, table: Table, sets: Sequence[ExternalSet], data: DataSet | None) -> None:
    """Write report.md, external.json and external.png as the folder `folder`, whole or not at all.

    Raises UserError as outputs.check_replaceable does, and when the disk refuses.
    """
    from train.external.plot import forest

    labelled = [row for row in table.rows if row.part.labelled]
    with outputs.whole_folder(folder, MARK, WHAT) as (aside, content):
        text = markdown(table, sets, data)
        if labelled:
            files.write_bytes(aside / "external.png", forest(labelled))
            text += "\n![Accuracy per set](external.png)\n"
        content |= to_json(table, sets, data)
        files.write_text(aside / "report.md", text)
