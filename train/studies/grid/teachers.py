"""The teachers whose cached answers a study's rows learn from, judged as the rows are: on folds that they never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.bundle import Estimate
from device.errors import UserError
from train.soft.cache import Cache, read_folders
from train.studies.grid.results import Pictures, Result
from train.studies.grid.study import Key, Study
from train.studies.grid.table import METRICS, Drawn, Draws, estimates

_ROW = "/"  # in a teacher's key before the cache's digest: no row's folder is named so


@dataclass(frozen=True)
class Minus:
    """A row minus its teachers, on the `folds` that both answered; difference: metric -> its estimate."""

    row: str
    folds: tuple[int, ...]
    difference: dict[str, Estimate]


@dataclass(frozen=True)
class Teachers:
    """The teachers behind some folders of cached answers, and the rows that learn from them.

    teachers: how many there are. mean: metric -> mean over folds, in each the mean over the teachers that never saw it.
    why_not: why they are not judged, and then there are no figures.
    """

    folders: tuple[str, ...]
    teachers: int
    folds: tuple[int, ...]
    mean: dict[str, Estimate]
    rows: tuple[Minus, ...]
    why_not: str | None = None


def judged(
    study: Study, pictures: Pictures, results: Mapping[Key, Result], repeats: int = 1000, seed: int = 0
) -> list[Teachers]:
    """The teachers of each set of folders that rows of the study learn from, in the study's order.

    A teacher's answer to the picture as it is (view 0) is taken, on the folds that the study has results of. Folds
    weigh the same, and the groups are drawn as for the rows (table.summarise), so the differences are paired.
    """
    tests: dict[int, set[str]] = {}
    for (_, _, fold), result in results.items():
        tests.setdefault(fold, set(result.test))
    folders = dict.fromkeys(row.soft for row in study.rows if row.soft)
    return [_of(study, soft, pictures, results, tests, repeats, seed) for soft in folders]


def _of(
    study: Study,
    soft: tuple[Path, ...],
    pictures: Pictures,
    results: Mapping[Key, Result],
    tests: dict[int, set[str]],
    repeats: int,
    seed: int,
) -> Teachers:
    names = tuple(folder.name for folder in soft)
    try:
        caches = read_folders(soft, None)
        answers = _answers(caches, pictures, tests)
    except UserError as error:
        return Teachers(names, 0, (), {}, (), str(error).replace(f"{study.path.parent}/", ""))
    taught = [row for row in study.rows if row.soft == soft]
    own = {row.slug: [key for key in results if key[0] == row.slug] for row in taught}
    said = answers | {key: results[key].test for keys in own.values() for key in keys}
    draws = Draws(pictures, said, repeats, seed)
    of_teachers = _by_fold(list(answers), draws)
    minus = []
    for row in taught:
        of_row = _by_fold(own[row.slug], draws)
        shared = tuple(sorted(of_row.keys() & of_teachers.keys()))
        if shared:
            one, two = (_over_folds([of[fold] for fold in shared]) for of in (of_row, of_teachers))
            minus.append(Minus(row.name, shared, estimates({metric: one[metric] - two[metric] for metric in METRICS})))
    mean = estimates(_over_folds(list(of_teachers.values()))) if of_teachers else {}
    return Teachers(names, len(caches), tuple(sorted(of_teachers)), mean, tuple(minus))


def _answers(caches: list[Cache], pictures: Pictures, tests: dict[int, set[str]]) -> dict[Key, dict]:
    """Each teacher's answers to each test part that it never saw. Raises UserError when they are to other pictures."""
    found: dict[Key, dict] = {}
    for number, cache in enumerate(caches):
        meta = cache.meta
        if (meta.data_fingerprint, meta.groups_source) != (pictures.fingerprint, pictures.groups):
            raise UserError(f"{cache.path}: answers other pictures, or pictures in other groups, than this study's.")
        logits = dict(zip(meta.names, cache.logits[:, 0], strict=True))
        for fold in (meta.recipe.split.val_fold, meta.recipe.split.test_fold):
            if fold in tests:
                left = tests[fold] - logits.keys()
                if left:
                    raise UserError(f"{cache.path}: does not answer {min(left)!r}, a test picture of fold {fold}.")
                found[_ROW + cache.sha256, number, fold] = {name: tuple(logits[name]) for name in sorted(tests[fold])}
    return found


def _by_fold(keys: list[Key], draws: Draws) -> dict[int, Drawn]:
    folds = {fold: [key for key in keys if key[2] == fold] for fold in {key[2] for key in keys}}
    means = {fold: draws.mean([(key,) for key in of_fold]) for fold, of_fold in folds.items()}
    return {fold: mean for fold, mean in means.items() if mean is not None}


def _over_folds(means: list[Drawn]) -> Drawn:
    return {metric: np.mean([one[metric] for one in means], axis=0) for metric in METRICS}
