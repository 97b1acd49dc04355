"""A segmentation study: rows, each a recipe with changes, trained on the same folds and seeds; tables name its rows."""

import re
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from device import schema
from device.errors import UserError, nearest
from train.recipe import read_toml
from train.segmentation.recipe import SegRecipe
from train.studies.grid.study import Job, check_folds, check_numbers, laid_over, named

Table = Literal["I", "II", "III", "ablation"]

_OF_JOBS = ("name", "seed")  # a job decides these, and the folds
_SHIPPED = Path(str(resources.files("train.segmentation").joinpath("studies")))


@dataclass(frozen=True)
class RowFile:
    """One `[[row]]` as it is written. change: nested tables laid over the base row's recipe, or the study's.

    tables: those that the row stands in. against: the row that its paired difference is taken to. seeds: instead of
    the study's.
    """

    name: str
    change: dict[str, Any] = field(default_factory=dict)
    base: str | None = None
    tables: tuple[Table, ...] = ("I",)
    against: str | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StudyFile:
    """A study as it is written. recipe: tables of SegRecipe (recipe.py) that all rows start from.

    decide: the folds whose answers give an operating point; another one may be the test part of what ships.
    """

    name: str
    row: tuple[RowFile, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    seeds: tuple[int, ...] = (0,)
    decide: tuple[int, ...] = (1, 2, 3, 4)


@dataclass(frozen=True)
class Row:
    """A row with everything resolved; soft: folders of cached answers for the class head."""

    name: str
    slug: str
    recipe: SegRecipe
    tables: tuple[str, ...]
    against: str | None
    soft: tuple[Path, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class SegStudy:
    """A study file that was read and found sound."""

    name: str
    path: Path
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    decide: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def argument(self) -> str:
        """What names the study on a command line: its name when it is a shipped one, else the name of its file."""
        return self.path.stem if self.path.resolve().parent == _SHIPPED.resolve() else self.path.name

    def row(self, name: str) -> Row:
        """The row of this name, or of this folder name. Raises UserError when there is none."""
        return named(self.rows, name, self.path)

    def with_teachers(self, rows: list[Row]) -> list[Row]:
        """The rows and the rows that teach them, in the study's order."""
        wanted = {row.name for row in rows}
        for row in reversed(self.rows):  # teachers stand above
            if row.name in wanted:
                wanted |= {term.row for term in row.recipe.teachers}
        return [row for row in self.rows if row.name in wanted]

    def jobs(self, rows: list[Row] | None = None) -> list[Job[Row]]:
        """All trainings: seeds outermost, then rows, so that teachers come before their students, then folds."""
        chosen = rows or self.rows
        seeds = dict.fromkeys((*self.seeds, *(seed for row in chosen for seed in row.seeds)))
        return [Job(row, s, fold) for s in seeds for row in chosen if s in row.seeds for fold in self.folds]

    def stages(self, jobs: list[Job[Row]]) -> list[list[Job[Row]]]:
        """Jobs in steps: those of one step need only what earlier steps have trained."""
        depth: dict[str, int] = {}
        for row in self.rows:
            depth[row.name] = 1 + max((depth[term.row] for term in row.recipe.teachers), default=-1)
        steps = range(1 + max((depth[job.row.name] for job in jobs), default=-1))
        return [[job for job in jobs if depth[job.row.name] == step] for step in steps]


def shipped() -> list[str]:
    """Names of the studies that come with busi-kd."""
    return sorted(file.stem for file in _SHIPPED.glob("*.toml"))


def read_study(
    name: str,
    folds: tuple[int, ...] | None = None,
    seeds: tuple[int, ...] | None = None,
    protocol: str | None = None,
) -> SegStudy:
    """Read a study: the name of a shipped one, or the path of a .toml file. The rest: instead of the file's.

    Raises UserError naming file and row: no TOML, an unknown key, a row that is there twice, a base or teacher that
    does not stand above, a seed that a teacher is not trained with, a fold that there is not.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in shipped():
            raise UserError(
                f"no study {name!r}{nearest(name, shipped())}; there are {', '.join(shipped())}, or a .toml file."
            )
        path = _SHIPPED / f"{name}.toml"
    written = schema.load(StudyFile, read_toml(path, "study"), path)
    if protocol is not None:
        written = replace(written, recipe=laid_over(written.recipe, {"split": {"protocol": protocol}}))
    if seeds:
        written = replace(written, seeds=seeds, row=tuple(replace(one, seeds=None) for one in written.row))
    rows: list[Row] = []
    tables: dict[str, dict[str, Any]] = {}
    for one in written.row:
        rows.append(_resolved(one, rows, tables, written, path))
    if not rows:
        raise UserError(f"{path}: there is no [[row]] in it; add one.")
    for row in rows:
        if row.against is not None and row.against not in [other.name for other in rows if other != row]:
            raise UserError(f"{path}, row {row.name!r}: there is no other row {row.against!r}; correct against.")
    count = {row.recipe.split.folds for row in rows}
    if len(count) > 1 or len({(row.recipe.split.protocol, row.recipe.split.seed) for row in rows}) > 1:
        raise UserError(f"{path}: all rows must be split alike; set the table split in [recipe] alone.")
    study = SegStudy(written.name, path, folds or written.folds, written.seeds, written.decide, tuple(rows))
    check_numbers(f"{path}", study.seeds, study.folds, max(count))
    for row in rows:
        check_numbers(f"{path}, row {row.name!r}", row.seeds, study.folds, max(count))
    check_folds(f"{path}: decide", study.decide, max(count))
    return study


def _resolved(one: RowFile, above: list[Row], tables: dict[str, dict], study: StudyFile, path: Path) -> Row:
    where = f"{path}, row {one.name!r}"
    slug = re.sub(r"[^a-z0-9+]+", "-", one.name.lower()).strip("-")
    if not slug or any(row.slug == slug for row in above):
        raise UserError(f"{where}: the name is empty or there already; give it another one.")
    names = [row.name for row in above]
    if one.base is not None and one.base not in names:
        raise UserError(f"{where}: no row {one.base!r}{nearest(one.base, names)} stands above it; correct base.")
    tables[one.name] = laid_over(tables[one.base] if one.base else study.recipe, one.change)
    taken = next((key for key in _OF_JOBS if key in tables[one.name]), None)
    if taken:
        raise UserError(f"{where}: {taken!r} is decided by each training; remove it.")
    recipe = schema.load(SegRecipe, tables[one.name], where)
    seeds = study.seeds if one.seeds is None else one.seeds
    for term in recipe.teachers:
        if term.row not in names:
            raise UserError(f"{where}: no row {term.row!r}{nearest(term.row, names)} stands above it to teach it.")
        teacher = next(row for row in above if row.name == term.row)
        if teacher.recipe.preprocess != recipe.preprocess:
            raise UserError(f"{where}: its teacher {term.row!r} sees another input size; make them alike.")
        untaught = [seed for seed in seeds if seed not in teacher.seeds]
        if untaught:
            raise UserError(f"{where}: its teacher {term.row!r} has no seed {untaught[0]}; give it the same seeds.")
    soft = tuple(path.parent / folder for folder in recipe.classes.soft) if recipe.classes else ()
    return Row(one.name, slug, recipe, one.tables, one.against, soft, seeds)
