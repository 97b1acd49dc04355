"""Which cached answers may teach which student: those of teachers that saw neither the picture nor its test part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.errors import UserError
from train.data import splits
from train.data.busi import CLASSES, DataSet, Picture
from train.data.splits import Split
from train.recipe import Recipe
from train.soft.cache import Cache, check_views, read_folders
from train.soft.crossfit import pairs


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """What the student of one split learns from its teachers.

    logits (N, V, K) float32: row n for split.train[n], entry v for its view v (train/data/views.py, drawn from `seed`),
    the logarithm of the teachers' mean probability of each class. views: V. sha256: over the content of every cache
    that was used. sources: what these are, in words.

    saw_validation: whether a teacher among them was trained on groups of the student's validation part; among
    cross-fitted ones all but those of the validation fold were. The student then hears of the validation pictures
    through them, and its figures there are a little too good. With select = "last" nothing but temperature and
    threshold is chosen on them; the test part is unseen in any case.
    """

    logits: np.ndarray
    views: int
    seed: int
    sha256: str
    sources: tuple[str, ...]
    saw_validation: bool


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Answers to pictures by teachers that never saw them.

    names: N, in the order of the data set. logits (N, K) float32: logarithms of mean probabilities. teachers (N,):
    how many were averaged for each picture.
    """

    names: tuple[str, ...]
    logits: np.ndarray
    teachers: np.ndarray


def read_soft_targets(folders: Sequence[Path], data: DataSet, split: Split, recipe: Recipe) -> SoftTargets:
    """The soft targets of a student's training part, from all caches in `folders` (several: an ensemble).

    A cache serves a training picture when its teacher saw neither that picture's group nor any group of the student's
    test part. The groups are those of the student's split: stricter ones, found since, are honoured.

    Several teachers' answers are averaged as probabilities at temperature 1: the ensemble is a mixture of its members
    (Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017,
    section 2.4), each with one vote. A mean of logits, the geometric mean of Hinton et al. (Distilling the Knowledge in
    a Neural Network, 2015, section 1), would let the surest teacher outvote the others, and how large a teacher's
    logits are says little here. A single teacher's answers stay as they are, but for a shift.

    Raises UserError: a leaky protocol; a cache as read_folders refuses it; one that answers other views than the
    recipe's, or fewer; a training picture without an honest answer.
    """
    if split.leaks:
        raise UserError(
            f"the protocol {split.recipe.protocol!r} leaks, so no cached teacher is honest; use --teacher instead of "
            "soft targets."
        )
    caches = read_folders(folders, data)
    test = set(split.groups(split.test))
    honest = [cache for cache in caches if not known_groups(cache, split.group_of) & test]
    names = [picture.name for picture in split.train]
    total, count, used = _mean(honest, names, split.group_of, recipe.distill.views)
    for cache in used or caches:
        check_views(cache, data, recipe)
    missing = [picture for picture, teachers in zip(split.train, count) if not teachers]
    if missing:
        raise UserError(_say_missing(missing, caches, data, split))
    validation = set(split.groups(split.val))
    return SoftTargets(
        logits=total,
        views=recipe.distill.views,
        seed=recipe.distill.view_seed,
        sha256=hashlib.sha256("\0".join(cache.sha256 for cache in used).encode()).hexdigest(),
        sources=tuple(_describe(cache) for cache in used),
        saw_validation=any(known_groups(cache, split.group_of) & validation for cache in used),
    )


def out_of_fold(
    folders: Sequence[Path], data: DataSet, group_of: dict[str, str], mean_of_views: bool = False
) -> OutOfFold:
    """What the teachers in the folders say of pictures whose groups they never saw: how good the teacher itself is.

    Raises UserError as read_folders does; all else as in out_of_fold_of.
    """
    return out_of_fold_of(read_folders(folders, data), data, group_of, mean_of_views)


def out_of_fold_of(
    caches: Sequence[Cache], data: DataSet, group_of: dict[str, str], mean_of_views: bool = False
) -> OutOfFold:
    """The mean answer, as in read_soft_targets, of all teachers that never saw the picture's group.

    group_of: the group of each picture's name, as in Split. mean_of_views: of all the picture's views instead of the
    picture as it is. Of one recipe and seed a picture has folds - 1 teachers when all pairs were trained, so the
    figures are those of an ensemble; a single teacher's are those of its own cache.
    """
    names = [picture.name for picture in data.pictures]
    views = min(cache.meta.views for cache in caches) if mean_of_views else 1
    total, count, _ = _mean(caches, names, group_of, views)
    answered = np.flatnonzero(count)
    logits = np.logaddexp.reduce(total[answered].astype(np.float64), axis=1) - np.log(views)
    return OutOfFold(tuple(names[row] for row in answered), logits.astype(np.float32), count[answered])


def known_groups(cache: Cache, group_of: dict[str, str]) -> set[str]:
    """The groups of which the cache's teacher saw a picture, by the groups given."""
    return {group_of[name] for name in cache.meta.trained}


def _mean(
    caches: Sequence[Cache], names: list[str], group_of: dict[str, str], views: int
) -> tuple[np.ndarray, np.ndarray, list[Cache]]:
    """Logarithm (N, V, K) float32 of the mean probability over the teachers that never saw the picture's group.

    Also how many there were for each picture (N,), 0 without any, where the logarithm is -inf; and which were used.
    """
    row_of = {name: row for row, name in enumerate(names)}
    total, count = np.full((len(names), views, len(CLASSES)), -np.inf), np.zeros(len(names), np.int64)
    used = []
    for cache in caches:
        known = known_groups(cache, group_of)
        own = [i for i, name in enumerate(cache.meta.names) if name in row_of and group_of[name] not in known]
        if not own:
            continue
        rows = [row_of[cache.meta.names[i]] for i in own]
        logits = cache.logits[own, :views].astype(np.float64)
        if logits.shape[1] == views:  # else check_views refuses the cache
            total[rows] = np.logaddexp(total[rows], logits - np.logaddexp.reduce(logits, axis=2)[..., None])
        count[rows] += 1
        used.append(cache)
    return (total - np.log(np.maximum(count, 1))[:, None, None]).astype(np.float32), count, used


def _describe(cache: Cache) -> str:
    recipe = cache.meta.recipe
    return (
        f"teacher {cache.meta.teacher_sha256[:12]} of {recipe.name}, seed {recipe.seed}, without folds "
        f"{recipe.split.val_fold} and {recipe.split.test_fold}, answered on {cache.meta.hardware}"
    )


def _say_missing(missing: list[Picture], caches: list[Cache], data: DataSet, split: Split) -> str:
    test, folds = split.recipe.test_fold, split.recipe.folds
    said = (
        f"no teacher that answers {missing[0].name!r} saw neither its group nor the test part's; {len(missing)} of "
        f"{len(split.train)} training pictures have no soft target"
    )
    fold_of = _fold_of(data, split)
    lacking = {tuple(sorted((fold_of[p.name], test))) for p in missing if p.name in fold_of}
    there = {
        (own.val_fold, own.test_fold)
        for own in (cache.meta.recipe.split for cache in caches)
        if (own.folds, own.seed) == (folds, split.recipe.seed)
    }
    lacking = sorted((lacking & set(pairs(folds, [test]))) - there)
    command = f"busi-kd train soft-targets with this recipe, these groups and --test-folds {test}"
    if lacking:
        named = " and ".join(f"{j}-{k}" for j, k in lacking)
        return f"{said}: no teacher of the folds {named} is there; run {command}."
    return f"{said}: the teachers were trained with other groups, --exclude, --only or folds; run {command}."


def _fold_of(data: DataSet, split: Split) -> dict[str, int]:
    """The fold that each picture falls into by the split's recipe and groups."""
    found = {}
    for fold in range(split.recipe.folds):
        how = replace(split.recipe, test_fold=fold, val_fold=(fold + 1) % split.recipe.folds, val_parts=1)
        found |= {picture.name: fold for picture in splits._grouped(data, how, split.group_of)[2]}
    return found
