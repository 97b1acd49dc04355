"""The page of a row's operating point and of its coverage against risk: Markdown, CSV, JSON, one figure."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device import RESEARCH_NOTICE, files, schema
from device.bundle import Estimate
from device.errors import UserError
from train.calibrate import CERTAIN, abstain_limit, operating_point
from train.evaluation.intervals import drawn_groups, number, percent
from train.outputs import whole_folder
from train.studies.grid.results import Pictures, Result, decisive
from train.studies.grid.study import Job, Key, Row, Study
from train.studies.out_of_fold import (
    COVERAGES,
    POINTS,
    Answered,
    Coverage,
    OutOfFold,
    Threshold,
    coverage_risk,
    out_of_fold,
    own_rule,
    threshold,
)

NUMBERS, TABLE, FIGURE, PAGE = "operating_point.json", "coverage.csv", "coverage.png", "README.md"
_SHARES = {
    "sensitivity": "sensitivity, malignant",
    "specificity": "specificity, all others",
    "specificity_benign": "specificity, benign alone",
}
_RULE = {
    "coverage": "answered",
    "risk": "likeliest class wrong, of the answered",
    "verdict_risk": "verdict wrong, of the answered",
    "sensitivity": "called malignant, of the malignant that are answered",
    "missed": "answered and called something else, of all malignant",
}


@dataclass(frozen=True)
class Asked:
    """A row of a study, and its answers.

    results: of the trainings that are done, of `planned`, on the `folds` that may be asked. held_out: seed and fold of
    those whose validation part lies in another fold. recipe: what a network that
    gets the threshold must have been trained with. target_sensitivity, coverage: see ConvertRecipe. again: the command
    that writes the page.
    """

    study: str
    row: str
    results: tuple[Answered, ...]
    planned: int
    folds: tuple[int, ...]
    held_out: frozenset[tuple[int, int]]
    recipe: dict[str, Any]
    target_sensitivity: float
    coverage: float
    again: str


def held_out(jobs: Sequence[Job], decide: Collection[int]) -> frozenset[tuple[int, int]]:
    """Seed and fold of the jobs whose validation part lies in a fold that the study does not decide on."""
    return frozenset((job.seed, job.fold) for job in jobs if job.recipe.split.val_fold not in decide)


def of_grid(study: Study, row: Row, results: dict[Key, Result]) -> Asked:
    """A row of `busi-kd train grid`.

    Only answers of the folds on which the study decides count: another fold may be the test part of what ships.
    """
    jobs = [job for job in study.jobs() if job.row == row and job.fold in study.decide]
    return Asked(
        study=study.name,
        row=row.name,
        results=tuple(results[job.key] for job in jobs if job.key in results),
        planned=len(jobs),
        folds=tuple(sorted({job.fold for job in jobs})),
        held_out=held_out(jobs, study.decide),
        recipe=decisive(row.recipe),
        target_sensitivity=row.recipe.convert.target_sensitivity,
        coverage=row.recipe.convert.coverage,
        again=f'busi-kd train operating-point {study.path.name} --results DIR --row "{row.name}"',
    )


def write(out: Path, asked: Asked, pictures: Pictures, repeats: int, seed: int = 0) -> Path:
    """Write README.md, coverage.csv, coverage.png and operating_point.json as the folder `out`; returns the first.

    An earlier page in `out` is replaced. Raises UserError when the row has no results or `out` holds anything else.
    """
    if not asked.planned:
        raise UserError(
            f"the study {asked.study!r} decides on none of the folds of its row {asked.row!r}; name one of them in "
            "decide."
        )
    answers = out_of_fold(asked.results, pictures, asked.coverage, asked.held_out)
    counts = drawn_counts(answers, pictures, repeats, seed)
    point = threshold(answers, asked.target_sensitivity, counts)
    curve = coverage_risk(answers, point.point.malignant_threshold, counts)
    rule = own_rule(answers, point.point.malignant_threshold, counts)
    facts = {
        "notice": RESEARCH_NOTICE,
        "study": asked.study,
        "row": asked.row,
        "data": {"name": pictures.data, "fingerprint": pictures.fingerprint, "synthetic": pictures.synthetic},
        "trainings": [[seed, fold] for seed, fold in answers.temperatures],
        "planned": asked.planned,
        "folds": list(asked.folds),
        "groups": pictures.groups,
        "recipe": asked.recipe,
        "temperatures": [answers.temperatures[key] for key in answers.temperatures],
        "borrowed_temperatures": [list(key) for key in answers.temperatures if key in answers.borrowed],
        "threshold": schema.dump(point.point),
        "abstain": schema.dump(abstain_limit(answers.logits, 1.0, asked.coverage, point.point.derived_on)),
        "seed_thresholds": {str(s): v for s, v in seed_thresholds(answers, asked.target_sensitivity).items()},
        "fitted": schema.dump(point.fitted),
        "crossed": schema.dump(point.crossed),
        "crossed_thresholds": {str(fold): value for fold, value in point.crossed_thresholds.items()},
        "abstention": schema.dump(rule),
        "aurc": schema.dump(curve.aurc),
        "verdict_aurc": schema.dump(curve.verdict_aurc),
        "repeats": repeats,
    }
    with whole_folder(out, NUMBERS, "page of an operating point") as (folder, content):
        content.update(facts)
        files.write_text(folder / TABLE, coverage_csv(curve))
        files.write_bytes(folder / FIGURE, draw(curve, rule, f"{asked.study}, {asked.row}", pictures.synthetic))
        page = markdown(asked, pictures, answers, point, curve, rule, repeats)
        files.write_text(folder / PAGE, page)
    return out / PAGE


def drawn_counts(answers: OutOfFold, pictures: Pictures, repeats: int, seed: int) -> np.ndarray:
    """(repeats, N): how often each answer is drawn when the groups of the whole data set are, as in the study's table:
    a picture's answers of all seeds together."""
    names = np.array(sorted({group for _, group in pictures.pictures.values()}))
    return drawn_groups(len(names), repeats, seed)[:, np.searchsorted(names, answers.groups)].astype(np.float64)


def seed_thresholds(answers: OutOfFold, target: float) -> dict[int, float]:
    """The threshold that each seed's answers alone give."""
    found = {}
    for seed in np.unique(answers.seeds):
        own = answers.seeds == seed
        point = operating_point(answers.logits[own], answers.targets[own], 1.0, target, f"seed {seed}")
        found[int(seed)] = point.malignant_threshold
    return found


def coverage_csv(curve: Coverage) -> str:
    """One line per coverage; shares 0..1, unknown is empty."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    names = [f"{name}{end}" for name in ("risk", "verdict_risk", "sensitivity") for end in ("", "_low", "_high")]
    table.writerow(["coverage", "confidence_limit", *names])
    for i, share in enumerate(curve.coverage):
        values = [*curve.risk[i], *curve.verdict_risk[i], *curve.sensitivity[i]]
        table.writerow([f"{share:.3f}", f"{curve.limit[i]:.6f}", *("" if np.isnan(v) else f"{v:.6f}" for v in values)])
    return stream.getvalue()


def markdown(
    asked: Asked,
    pictures: Pictures,
    answers: OutOfFold,
    point: Threshold,
    curve: Coverage,
    rule: dict[str, Estimate],
    repeats: int,
) -> str:
    """The page: the threshold and what it reaches, the abstention rule, coverage against risk."""
    target, coverage = asked.target_sensitivity, asked.coverage
    values = list(answers.temperatures.values())
    found = "; ".join(f"seed {s}: {v:.3f}" for s, v in seed_thresholds(answers, target).items())
    lines = [
        f"# Operating point and abstention: {asked.study}, row {asked.row}",
        "",
        f"**{RESEARCH_NOTICE}**" + (" All pictures are SYNTHETIC phantoms." if pictures.synthetic else ""),
        "",
        f"From {len(values)} of {asked.planned} trainings on {pictures.data}, test folds "
        f"{', '.join(map(str, sorted(set(answers.folds.tolist()))))}: {len(answers.targets)} answers to "
        f"{len(np.unique(answers.groups))} groups of pictures that the answering network never saw. Each training's "
        f"temperature was fitted on its validation part ({min(values):.2f} to {max(values):.2f}){_borrowed(answers)}; "
        "then the test parts of all folds and seeds are judged together. Percent, with a 95 % interval from "
        f"{repeats} resamplings of groups, a picture's answers of all seeds together.",
        "",
        f"## The malignant threshold at {100 * target:.0f} % sensitivity",
        "",
        f"Calibrated P(malignant) >= **{point.point.malignant_threshold:.3f}** ({found} alone).",
        "",
        "| | " + " | ".join(_SHARES.values()) + " |",
        "|---|---|---|---|",
        f"| on the answers it was derived from | {' | '.join(percent(point.fitted[k]) for k in _SHARES)} |",
    ]
    if point.crossed:
        lines.append(
            f"| each fold at the other folds' threshold | {' | '.join(percent(point.crossed[k]) for k in _SHARES)} |"
        )
    lines += [
        "",
        "The first line reaches its sensitivity by construction; the second is what a threshold reaches on pictures "
        "that did not decide about it. The threshold stays as it is in the resamplings.",
        "",
        "## The abstention rule",
        "",
        f"As in a conversion, each training's limit is the highest confidence that {100 * coverage:.0f} % of its "
        f"validation part reaches, at most {100 * CERTAIN:.0f} %; below it the device says that it cannot say. On the "
        "test parts, at the threshold above:",
        "",
        "| | percent |",
        "|---|---|",
        *(f"| {title} | {percent(rule[name])} |" for name, title in _RULE.items()),
        "",
        "## Coverage against risk",
        "",
        f"![Risk and sensitivity against coverage]({FIGURE})",
        "",
        "The least confident answers withheld (selective classification: Geifman and El-Yaniv, NeurIPS 2017): coverage "
        "is the share of pictures that are answered, risk the share of wrong answers among them. Area under the curve "
        "of risk (AURC, mean over all coverages; Geifman, Uziel and El-Yaniv, ICLR 2019): likeliest class "
        f"{number(curve.aurc)}, verdict {number(curve.verdict_aurc)}; 0 is best.",
        "",
        "| coverage | confidence from | likeliest class wrong | verdict wrong | malignant called so, of the answered |",
        "|---|---|---|---|---|",
        *(_point(curve, share) for share in POINTS),
        "",
        "A sensitivity among the answered leaves out the malignant pictures that were withheld.",
        "",
        "## Again",
        "",
        f"    {asked.again}",
    ]
    return "\n".join(lines) + "\n"


def _borrowed(answers: OutOfFold) -> str:
    if not answers.borrowed:
        return ""
    which = ", ".join(f"fold {fold} (seed {seed})" for seed, fold in sorted(answers.borrowed))
    return (
        f", but for {which}, whose validation part lies in a fold that may not be asked: temperature and abstention "
        "limit are the mean of the others there"
    )


def _point(curve: Coverage, share: float) -> str:
    i = int(np.argmin(np.abs(COVERAGES - share)))
    cells = [percent(_estimate(values[i])) for values in (curve.risk, curve.verdict_risk, curve.sensitivity)]
    return f"| {100 * share:.0f} | {100 * curve.limit[i]:.1f} | {' | '.join(cells)} |"


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(*(None if np.isnan(value) else float(value) for value in values))


def draw(curve: Coverage, rule: dict[str, Estimate], title: str, synthetic: bool) -> bytes:
    """PNG: risk of likeliest class and verdict, and sensitivity, against coverage, with bands; the rule as dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = 100 * curve.coverage
    for panel, values, name, key, colour in (
        (left, curve.risk, "likeliest class", "risk", "#0072b2"),
        (left, curve.verdict_risk, "verdict at the threshold", "verdict_risk", "#d55e00"),
        (right, curve.sensitivity, "malignant called malignant", "sensitivity", "#d55e00"),
    ):
        panel.plot(x, 100 * values[:, 0], color=colour, linewidth=1.6, label=name)
        panel.fill_between(x, 100 * values[:, 1], 100 * values[:, 2], color=colour, alpha=0.18, linewidth=0)
        if rule["coverage"].value is not None and rule[key].value is not None:
            panel.plot(100 * rule["coverage"].value, 100 * rule[key].value, "o", color=colour, markersize=7)
    left.set(ylabel="wrong, % of the answered", ylim=(0, None))
    right.set(ylabel="sensitivity, % of the malignant that are answered")
    for panel in (left, right):
        panel.set(xlabel="coverage: answered, % of all", xlim=(0, 101))
        panel.legend(fontsize=8, frameon=False, loc="best")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{'SYNTHETIC phantoms. ' if synthetic else ''}{title}: out-of-fold answers; bands: 95 % over groups of "
        f"pictures; dots: the abstention rule\n{RESEARCH_NOTICE}",
        fontsize=9,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
