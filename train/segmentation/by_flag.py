"""A study's outlines by what an audit found in the pictures, and the pictures that every row misses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import RESEARCH_NOTICE, files
from device.bundle import Estimate
from train.evaluation.intervals import percent
from train.segmentation.figures import measure
from train.segmentation.results import SegResult
from train.segmentation.scores import Score
from train.segmentation.study import SegStudy
from train.segmentation.summary import runs_of, shared_names
from train.studies.grid.results import Pictures
from train.studies.grid.study import Key

PAGE = "by-flag.md"
MISSED = 0.5  # Dice below which a lesion counts as missed, of a row's mean over its seeds

Flags = dict[str, dict[str, bool | None]]  # flag -> picture -> whether it has it
_FIGURES = ("dice", "lesions_found")


@dataclass(frozen=True)
class Part:
    """One flag of one row. count: lesion pictures that have it and that have not; figures: likewise, by name."""

    flag: str
    count: tuple[int, int]
    figures: tuple[dict[str, Estimate], dict[str, Estimate]]


@dataclass(frozen=True)
class Miss:
    """A picture whose Dice is below MISSED in each of the `rows` that judged it; best: the highest of them."""

    picture: str
    rows: int
    best: float
    flags: tuple[str, ...]


def parts(runs: list[dict[str, Score]], pictures: Pictures, flags: Flags, repeats: int) -> list[Part]:
    """Figures of the lesion pictures with and without each flag. runs: picture -> score, one per seed.

    A picture of which a flag is unknown is on neither side of it.
    """
    names = [name for name in shared_names(runs) if runs[0][name].lesions]
    found = []
    for flag, has in flags.items():
        sides = [[name for name in names if has[name] is side] for side in (True, False)]
        found.append(Part(flag, tuple(map(len, sides)), tuple(_measured(runs, of, pictures, repeats) for of in sides)))
    return found


def _measured(runs: list[dict[str, Score]], names: list[str], pictures: Pictures, repeats: int) -> dict[str, Estimate]:
    if not names:
        return {figure: Estimate(None) for figure in _FIGURES}
    figures = measure([[scores[name] for name in names] for scores in runs], pictures.groups_of(names), repeats)
    return {figure: figures[figure] for figure in _FIGURES}


def missed(rows: list[list[dict[str, Score]]], flags: Flags) -> list[Miss]:
    """The lesion pictures that two rows or more judged and none outlines, worst first. rows: the runs of each."""
    dice: dict[str, list[float]] = {}
    for runs in rows:
        for name in shared_names(runs):
            if runs[0][name].lesions:
                dice.setdefault(name, []).append(float(np.mean([scores[name].dice for scores in runs])))
    found = [
        Miss(name, len(of), max(of), tuple(flag for flag, has in flags.items() if has[name]))
        for name, of in dice.items()
        if len(of) > 1 and max(of) < MISSED
    ]
    return sorted(found, key=lambda one: (one.best, one.picture))


def write_by_flag(
    out: Path, study: SegStudy, pictures: Pictures, results: dict[Key, SegResult], flags: Flags, repeats: int
) -> Path:
    """Write the page into the study's folder; returns its path."""
    trained = {row.name: list(runs.values()) for row in study.rows if (runs := runs_of(study, row, results))}
    lines = [
        f"# {study.name}: outlines by what stands in the picture",
        "",
        RESEARCH_NOTICE,
        "",
        f"{pictures.title}. Flags are those of `busi-kd train audit` (docs/data.md). Lesion pictures alone, each "
        "judged once per seed by the network whose test part it is in; mean in percent [95 % interval over groups].",
    ]
    for row, runs in trained.items():
        lines += ["", f"## {row}", "", *_table(parts(runs, pictures, flags, repeats))]
    misses = missed(list(trained.values()), flags)
    judged = len({name for runs in trained.values() for name in shared_names(runs) if runs[0][name].lesions})
    lines += [
        "",
        "## Missed by every row",
        "",
        f"{len(misses)} of {judged} lesion pictures have a Dice under {MISSED:.0%} with each row that judged them, "
        "where these are two or more.",
        "",
        "| picture | rows | highest Dice | flags |",
        "|---|---|---|---|",
        *(f"| {one.picture} | {one.rows} | {100 * one.best:.1f} | {', '.join(one.flags)} |" for one in misses),
    ]
    files.write_text(out / PAGE, "\n".join(lines) + "\n")
    return out / PAGE


def _table(rows: list[Part]) -> list[str]:
    head = [
        "flag",
        "pictures with, without",
        "Dice with",
        "Dice without",
        "lesions found with",
        "lesions found without",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in rows:
        cells = [percent(side[figure]) for figure in _FIGURES for side in one.figures]
        lines.append(f"| {one.flag} | {one.count[0]}, {one.count[1]} | " + " | ".join(cells) + " |")
    return lines
