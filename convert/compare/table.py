"""The lines of a comparison: a study's rows as the files they become, each with its accuracy, size and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import MappingProxyType

from convert.compare.alone import Load
from convert.compare.board import OnBoard
from convert.compare.elsewhere import Elsewhere, Form
from convert.compare.made import Made
from convert.compare.timing import Time
from device.bundle import Estimate
from train.studies.grid.results import Pictures, Result
from train.studies.grid.study import Key, Row, Study
from train.studies.grid.table import summarise


@dataclass(frozen=True)
class Line:
    """One row of a study in one form: its network (variant None) or a file.

    trainings of planned: how many stand behind the figures. figures: 0..1, means over folds and seeds with 95 %
    intervals; lost: minus those of the network, paired. kilobytes: mean over trainings; time, load, board: of one file;
    each None where there is none. why: what is missing, one sentence, or None. elsewhere: external set -> its figures,
    empty where nobody asked.
    """

    row: str
    variant: str | None
    trainings: int
    planned: int
    figures: dict[str, Estimate]
    lost: dict[str, Estimate] | None
    kilobytes: float | None
    parameters: int | None
    multiply_adds: int | None
    size: tuple[int, int] | None
    time: Time | None
    load: Load | None
    why: str | None
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    board: OnBoard | None = None

    @property
    def name(self) -> str:
        """Row and variant, as they are shown."""
        return self.row if self.variant is None else f"{self.row}, {self.variant}"


def lines(
    study: Study,
    pictures: Pictures,
    results: Mapping[Key, Result],
    made: Mapping[Key, Made],
    variants: Sequence[str],
    times: Mapping[tuple[str, str], Time],
    loads: Mapping[tuple[str, str], Load],
    failed: Mapping[Form, str],
    repeats: int = 1000,
    elsewhere: Mapping[Form, dict[str, Elsewhere]] = MappingProxyType({}),
    boards: Mapping[Form, OnBoard] = MappingProxyType({}),
) -> list[Line]:
    """A Line per row of `study` and form. times, loads, boards: (row's folder name, variant) -> what was measured;
    elsewhere: the same, and None for the network -> what the external sets say.

    failed: (row's folder name, variant) -> why that file was not measured; variant None: why there is no file. Every
    file is compared with its own network, within each resampling (train/studies/grid).
    """
    rows, answers = [], dict(results)
    for row in study.rows:
        rows.append(replace(row, against=None))
        for variant in variants:
            slug = f"{row.slug} {variant}"
            rows.append(replace(row, name=f"{row.name}, {variant}", slug=slug, against=row.name))
            for (of, seed, fold), one in made.items():
                if of == row.slug and one.test.get(variant):
                    kept = replace(results[of, seed, fold], row=slug, test=one.test[variant])
                    answers[slug, seed, fold] = kept
    summaries = iter(summarise(replace(study, rows=tuple(rows)), pictures, answers, repeats))
    found = []
    for row in study.rows:
        own = {key: one for key, one in made.items() if key[0] == row.slug}
        for variant in (None, *variants):
            summary = next(summaries)
            some = next(iter(own.values()), None)
            sizes = [one.kilobytes[variant] for one in own.values() if variant in one.kilobytes]
            found.append(
                Line(
                    row.name,
                    variant,
                    summary.everywhere.trainings,
                    summary.planned,
                    summary.everywhere.mean,
                    summary.everywhere.difference,
                    fmean(sizes) if sizes else None,
                    some.parameters if some else None,
                    some.multiply_adds if some else None,
                    some.size if some else None,
                    times.get((row.slug, variant)) if variant else None,
                    loads.get((row.slug, variant)) if variant else None,
                    _why(row, variant, own, failed),
                    elsewhere.get((row.slug, variant), {}),
                    boards.get((row.slug, variant)),
                )
            )
    return found


def _why(row: Row, variant: str | None, own: Mapping[Key, Made], failed: Mapping) -> str | None:
    if variant is None:
        return None
    broken = next((one.broken[variant] for one in own.values() if variant in one.broken), None)
    known = broken or failed.get((row.slug, variant)) or failed.get((row.slug, None))
    return known or (None if own else "no training of this row is finished")


def recommended(found: Sequence[Line], metric: str) -> tuple[Line, Line] | None:
    """(the smallest file within one standard error of the best, of equal ones the better; the best), of the files with
    all trainings behind them; None without any.

    The rule of Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3. The
    standard error is a quarter of the 95 % interval's width (3.92 of them in a normal one).
    """
    whole = [
        line
        for line in found
        if line.kilobytes is not None and line.trainings == line.planned and line.figures[metric].low is not None
    ]
    if not whole:
        return None
    best = max(whole, key=lambda line: line.figures[metric].value)
    top = best.figures[metric]
    least = top.value - (top.high - top.low) / 3.92
    near = [line for line in whole if line.figures[metric].value >= least]
    return min(near, key=lambda line: (line.kilobytes, -line.figures[metric].value)), best


def frontier(found: Sequence[Line], metric: str, cost: str) -> list[Line]:
    """The files that no other file beats: at most its `cost` (`kilobytes` or `milliseconds`) and better in `metric`,
    by rising cost."""
    known = [line for line in found if costs(line, cost) is not None and line.figures[metric].value is not None]
    kept: list[Line] = []
    for line in sorted(known, key=lambda line: (costs(line, cost), -line.figures[metric].value)):
        if not kept or line.figures[metric].value > kept[-1].figures[metric].value:
            kept.append(line)
    return kept


def costs(line: Line, cost: str) -> float | None:
    """A line's `kilobytes` or `milliseconds`."""
    if cost == "kilobytes":
        return line.kilobytes
    return None if line.time is None else line.time.p50
