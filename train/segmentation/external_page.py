"""What networks outline on other hospitals' pictures: a page, every picture's scores, a contact sheet per set."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from device import RESEARCH_NOTICE, files, schema
from device.preprocess import read_picture, to_luma
from train import outputs
from train.data.busi import DataSet
from train.evaluation.intervals import number, percent
from train.external.adapters import ExternalSet
from train.external.overlap import Copy
from train.external.page import copies_said
from train.segmentation.external import Outliner, OutlinerRow, truth
from train.segmentation.scores import Score
from train.segmentation.sheet import LEGEND, PATIENTS, chosen, page, tile
from train.segmentation.tables import HEADS

MARK, WHAT = "outlines.json", "judgement of outlines"
PAGE, SCORES = "report.md", "pictures.csv"
_FIGURES = ("dice", "iou", "precision", "recall", "hd95", "lesions_found")
_SHOWN = 4  # best, median and worst outlines of a set, each


def markdown(
    rows: Sequence[OutlinerRow],
    models: Sequence[Outliner],
    sets: Sequence[ExternalSet],
    copies: Sequence[Copy] | None,
    data: DataSet | None,
) -> str:
    """The report. sets: those judged. data: where copies were looked for."""
    lines = ["# Outlines on other hospitals' pictures", "", f"**{RESEARCH_NOTICE}**", ""]
    if any(row.synthetic for row in rows):
        lines += ["**SYNTHETIC: networks marked so were trained on phantoms; they say nothing about patients.**", ""]
    for model in models:
        lines += [f"**{model.title}: {model.warning}**", ""] if model.warning else []
    lines += ["These sets are for testing only. Percent but for HD95 [95 % interval].", ""]
    of_sets = {one.name for one in sets}
    lines += [*copies_said(None if copies is None else [c for c in copies if c.set in of_sets], data), ""]
    lines += ["| network | networks | set | lesion pictures | " + " | ".join(HEADS[name] for name in _FIGURES) + " |"]
    lines += ["|" + "---|" * (4 + len(_FIGURES))]
    for row in rows:
        name = row.title + (" SYNTHETIC" if row.synthetic else "")
        cells = [name, str(row.networks), row.set, str(len(row.pictures))]
        cells += [(number if key == "hd95" else percent)(row.figures[key]) for key in _FIGURES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_how(), "", *(f"- {one.source}" for one in sets)]) + "\n"


def _how() -> list[str]:
    return [
        "## How to read this",
        "",
        "- Each outline is judged at its picture's own size, as `busi-kd train segment` does; a lesion of which "
        "nothing was outlined has a Dice of 0 and no HD95.",
        "- Several networks of one title (folds, seeds): the mean of their figures. Intervals: percentile bootstrap "
        "over the lesions of a set, drawn together for all networks; not what another hospital would give.",
        "",
        "## Sets",
        "",
    ]


def check_target(folder: Path) -> None:
    """Raise UserError when `folder` holds anything but an earlier judgement."""
    outputs.check_replaceable(folder, MARK, WHAT)


def write(
    folder: Path,
    rows: Sequence[OutlinerRow],
    models: Sequence[Outliner],
    sets: Sequence[ExternalSet],
    copies: Sequence[Copy] | None,
    data: DataSet | None,
) -> None:
    """Write report.md, outlines.json, pictures.csv and contact sheets as the folder `folder`, whole or not at all.

    Raises UserError as outputs.check_replaceable does, and when the disk refuses.
    """
    with outputs.whole_folder(folder, MARK, WHAT) as (aside, content):
        files.write_text(aside / PAGE, markdown(rows, models, sets, copies, data))
        files.write_text(aside / SCORES, _scores(rows))
        for row in rows:
            files.write_bytes(aside / f"{row.set} {row.title}.png".replace("/", "-").replace(" ", "-"), _sheet(row))
        content |= {
            "notice": RESEARCH_NOTICE,
            "copies_looked_for_in": None if data is None else {"name": data.name, "fingerprint": data.fingerprint},
            "copies": None if copies is None else schema.dump(tuple(copies)),
            "sets": {one.name: {"fingerprint": one.fingerprint, "source": one.source} for one in sets},
            "rows": [
                {
                    "network": row.title,
                    "networks": row.networks,
                    "set": row.set,
                    "synthetic": row.synthetic,
                    "pictures": len(row.pictures),
                    "figures": {name: schema.dump(row.figures[name]) for name in _FIGURES},
                }
                for row in rows
            ],
        }


def _scores(rows: Sequence[OutlinerRow]) -> str:
    """Every picture's score by every network; an empty cell is unknown."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["network", "number", "set", "picture", *(field.name for field in fields(Score))])
    for row in rows:
        for count, run in enumerate(row.runs, 1):
            for picture, found in zip(row.pictures, run, strict=True):
                values = ("" if value is None else f"{value:.6g}" for value in astuple(found))
                writer.writerow([row.title, count, row.set, picture.name, *values])
    return stream.getvalue()


def _sheet(row: OutlinerRow) -> bytes:
    known = [(one.dice, at) for at, one in enumerate(row.runs[0]) if one.dice is not None]
    lines = []
    for what, ones in chosen(sorted(known, key=lambda one: (-one[0], one[1])), _SHOWN).items():
        tiles = []
        for dice, at in ones:
            picture = row.pictures[at]
            drawn = tile(to_luma(read_picture(picture.path)), truth(picture), row.masks[at])
            tiles.append((f"{picture.name.removesuffix('.png')}: Dice {100 * dice:.1f}", drawn))
        lines.append((what, tiles))
    which = "." if row.networks == 1 else f", by the first of {row.networks} networks."
    head = (f"{row.title} on {row.set}: outlines by Dice. {RESEARCH_NOTICE}", f"{LEGEND}{which}", PATIENTS)
    return page(head, [line for line in lines if line[1]])
