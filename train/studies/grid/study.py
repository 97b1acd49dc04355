"""A study file: rows, each a recipe with changes, and the seeds and folds that each is trained with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from device import schema
from device.errors import UserError, nearest
from train.recipe import Recipe, check_seed, load_recipe, read_toml

Key = tuple[str, int, int]  # of a job: its row's folder name, seed, fold

TEACHERS = "teachers"  # the folder of living teachers, beside those of the rows; no row can be named so

# A job decides these; a change of the others would give the rows different test parts, or nothing to do with training.
_OF_JOBS = (
    "name",
    "seed",
    "convert",
    "split.protocol",
    "split.folds",
    "split.test_fold",
    "split.val_fold",
    "split.seed",
)


@dataclass(frozen=True)
class RowFile:
    """One `[[row]]` as it is written. change: nested tables laid over the base row's recipe.

    base: a row that stands above; this row's changes, teacher and soft targets start from its. against: the row that
    the paired difference is taken to, when it is not the base. teacher: `soft` learns from cached answers in the
    folders `soft`, relative to the study file; `living` from the recipe's teacher, trained on the same split first.
    seeds, folds: instead of the study's.
    """

    name: str
    change: dict[str, Any] = field(default_factory=dict)
    base: str | None = None
    against: str | None = None
    teacher: Literal["none", "soft", "living"] | None = None
    soft: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    folds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StudyFile:
    """A study as it is written: see docs/scaling.md. decide: the folds on which rows are chosen."""

    name: str
    row: tuple[RowFile, ...]
    recipe: str = "offline"
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    decide: tuple[int, ...] = (1, 2, 3, 4)


@dataclass(frozen=True)
class Row:
    """A row with everything resolved. recipe: of which a job replaces seed and folds. change: to its base's recipe.
    against: name of the row that it is compared with, or None. soft: folders of cached answers, or none. living:
    whether the recipe's teacher is trained first and asked about what the student sees."""

    name: str
    slug: str
    recipe: Recipe
    change: dict[str, Any]
    base: str | None
    against: str | None
    soft: tuple[Path, ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    living: bool = False


class Trainable(Protocol):
    """As much of a row as its trainings need: of a study of students, or of networks that outline."""

    name: str
    slug: str
    recipe: Any


R = TypeVar("R", bound=Trainable)


@dataclass(frozen=True)
class Job(Generic[R]):
    """One training: a row, the seed of the training, and the test fold."""

    row: R
    seed: int
    fold: int

    @property
    def recipe(self) -> Any:
        """The row's recipe with this seed and these folds. The split's own seed stays, and with it each fold."""
        split = self.row.recipe.split
        split = replace(split, test_fold=self.fold, val_fold=(self.fold + 1) % split.folds)
        return replace(self.row.recipe, name=self.row.slug, seed=self.seed, split=split)

    @property
    def key(self) -> Key:
        """The row's folder name, the seed and the fold."""
        return self.row.slug, self.seed, self.fold

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}, fold {self.fold}"


@dataclass(frozen=True)
class Study:
    """A study file that was read and found sound; recipe: the base recipe's name as it is written."""

    name: str
    path: Path
    recipe: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    decide: tuple[int, ...]
    rows: tuple[Row, ...]

    def jobs(self) -> list[Job[Row]]:
        """All trainings: seeds outermost, then rows, then folds, so that an interrupted study can be compared."""
        seeds = dict.fromkeys(seed for row in self.rows for seed in row.seeds)
        ordered = [s for s in self.seeds if s in seeds] + [s for s in seeds if s not in self.seeds]
        return [Job(row, s, fold) for s in ordered for row in self.rows if s in row.seeds for fold in row.folds]

    def row(self, name: str) -> Row:
        """The row of this name, or of this folder name. Raises UserError when there is none."""
        return named(self.rows, name, self.path)


def read_study(path: Path) -> Study:
    """Read a study file, strictly.

    Raises UserError naming file and row: no TOML, an unknown key or recipe, a row that is there twice or is another's
    twin, a base that does not stand above, a changed split, or a fold that there is not.
    """
    path = Path(path)
    written = schema.load(StudyFile, read_toml(path, "study"), path)
    recipe = load_recipe(str(path.parent / written.recipe) if written.recipe.endswith(".toml") else written.recipe)
    if recipe.split.leaks:
        raise UserError(f"{path}: the recipe {written.recipe!r} splits by {recipe.split.protocol!r}; use 'grouped'.")
    check_numbers(f"{path}", written.seeds, written.folds, recipe.split.folds)
    check_folds(f"{path}: decide", written.decide, recipe.split.folds)
    rows: list[Row] = []
    for one in written.row:
        rows.append(_resolved(one, rows, written, recipe, path))
    if not rows:
        raise UserError(f"{path}: there is no [[row]] in it; add one.")
    return Study(
        written.name, path, written.recipe, written.folds, written.seeds, written.decide, _compared(rows, recipe, path)
    )


def _resolved(one: RowFile, above: list[Row], study: StudyFile, recipe: Recipe, path: Path) -> Row:
    where = f"{path}, row {one.name!r}"
    slug = re.sub(r"[^a-z0-9]+", "-", one.name.lower()).strip("-")
    taken = next((row for row in above if row.slug == slug), None)
    if not slug or taken:
        why = f"bears the name of the row {taken.name!r}" if taken else "has no letter or figure in its name"
        raise UserError(f"{where}: {why}; give it another name.")
    base = next((row for row in above if row.name == one.base), None)
    if one.base is not None and base is None:
        names = [row.name for row in above]
        raise UserError(f"{where}: no row {one.base!r}{nearest(one.base, names)} stands above it; correct base.")
    for key in _OF_JOBS:
        if _has(one.change, key):
            raise UserError(f"{where}: change must not hold {key!r}, which is the same for all rows; remove it.")
    start = schema.dump(base.recipe if base else recipe)
    changed = schema.load(Recipe, laid_over(start, one.change), where)
    living = one.teacher == "living" or (one.teacher is None and base is not None and base.living)
    if changed.distill.features and not living:
        raise UserError(f'{where}: distill.features needs a teacher that is asked; add teacher = "living".')
    if slug == TEACHERS:
        raise UserError(f"{where}: the folder of this name is the living teachers'; give the row another name.")
    seeds = study.seeds if one.seeds is None else one.seeds
    folds = study.folds if one.folds is None else one.folds
    check_numbers(where, seeds, folds, recipe.split.folds)
    return Row(
        name=one.name,
        slug=slug,
        recipe=changed,
        change=one.change,
        base=one.base,
        against=one.against,
        soft=_soft(one, base, path, where),
        seeds=seeds,
        folds=folds,
        living=living,
    )


def _soft(one: RowFile, base: Row | None, path: Path, where: str) -> tuple[Path, ...]:
    soft = tuple(path.parent / folder for folder in one.soft)
    if soft and one.teacher != "soft":
        raise UserError(f"{where}: soft names folders, but teacher is not 'soft'; add teacher = \"soft\".")
    if one.teacher in ("none", "living"):
        return ()
    if one.teacher == "soft" and not soft and not (base and base.soft):
        raise UserError(f'{where}: teacher = "soft" needs the folders of its answers; add soft = [...].')
    return soft or (base.soft if base else ())


def _compared(rows: list[Row], recipe: Recipe, path: Path) -> tuple[Row, ...]:
    """Fill in what each row is compared with: `against`, else its base, else the row that is the study's recipe."""
    plain = next((row.name for row in rows if row.recipe == recipe and not (row.soft or row.living)), None)
    found = []
    for number, row in enumerate(rows):
        against = row.against or row.base or (plain if plain != row.name else None)
        if against is not None and (against == row.name or against not in [other.name for other in rows]):
            raise UserError(f"{path}, row {row.name!r}: there is no other row {against!r}; correct against.")
        same = (row.recipe, row.soft, row.living)
        twin = next((r.name for r in rows[:number] if (r.recipe, r.soft, r.living) == same), None)
        if twin:
            raise UserError(f"{path}, row {row.name!r}: is the same training as {twin!r}; remove one or change it.")
        found.append(replace(row, against=against))
    return tuple(found)


def named(rows: Sequence[R], name: str, path: Path) -> R:
    """The row of this name, or of this folder name. path: the study's. Raises UserError when there is none."""
    for row in rows:
        if name in (row.name, row.slug):
            return row
    names = [row.name for row in rows]
    raise UserError(f"{path}: no row {name!r}{nearest(name, names)}; there are {', '.join(names)}.")


def laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested tables with the values of `over` in the place of those of `under`."""
    laid = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(laid.get(key), dict)
        laid[key] = laid_over(laid[key], value) if both else value
    return laid


def _has(change: dict[str, Any], key: str) -> bool:
    first, _, rest = key.partition(".")
    if first not in change:
        return False
    return not rest or (isinstance(change[first], dict) and _has(change[first], rest))


def check_numbers(where: str, seeds: tuple[int, ...], folds: tuple[int, ...], count: int) -> None:
    """Raise UserError unless seeds and folds are one or more, each once, and the folds lie in 0..count - 1."""
    try:
        for seed in seeds:
            check_seed("seeds", seed)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    for name, values in (("seeds", seeds), ("folds", folds)):
        if not values or len(set(values)) != len(values):
            raise UserError(f"{where}: {name} {list(values)} must be one or more, each once; correct them.")
    check_folds(f"{where}: folds", folds, count)


def check_folds(where: str, folds: tuple[int, ...], count: int) -> None:
    """Raise UserError, `where` in front, unless each of `folds` is one of 0..count - 1."""
    wrong = [fold for fold in folds if not 0 <= fold < count]
    if wrong:
        raise UserError(f"{where}: the recipe has no fold {wrong[0]}; there are 0..{count - 1}.")
