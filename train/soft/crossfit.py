"""Cross-fitted teachers: one for each pair of folds, which saw neither, so that its answers there are honest.

A teacher that has trained on a picture answers it with near-certainty and no longer says what the picture resembles;
one that has trained on the student's test part tells the student about it. Predictions for a fold from models that
were trained without it are stacking's (Wolpert, Stacked Generalization, Neural Networks 5, 1992; Breiman, Stacked
Regressions, Machine Learning 24, 1996); here a second fold, the student's test part, stays unseen as well.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from device.errors import UserError
from train.data.busi import DataSet
from train.data.splits import Split, make_split
from train.recipe import Recipe, without_student
from train.runs import Run

TEACHERS = "teachers"


def pairs(folds: int, tests: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs (j, k), j < k, of folds 0..folds - 1 that students with these test folds need, in order, each once.

    Fold j's pictures train when k is the test fold, and the reverse: one test fold needs folds - 1 teachers, all of
    them folds * (folds - 1) / 2. Raises UserError on a test fold outside 0..folds - 1, or when there is none.
    """
    wrong = [test for test in tests if not 0 <= test < folds]
    if wrong or not tests:
        raise UserError(f"test fold {wrong[0] if wrong else 'none'}: the folds are 0..{folds - 1}; name one of them.")
    return sorted({(min(j, k), max(j, k)) for k in tests for j in range(folds) if j != k})


def teacher_recipe(recipe: Recipe, j: int, k: int) -> Recipe:
    """What decides the teacher of a pair of folds: validation j, test k, whichever of the two is less first.

    `select` is forced to the last epoch: then nothing was chosen on either fold, and the figures on both are honest
    out-of-fold figures. What decides the student alone is set to its defaults, so that a change there trains no
    teacher anew. Raises UserError when the protocol leaks or the name is no file's name.
    """
    if recipe.split.leaks:
        raise UserError(
            f"the protocol {recipe.split.protocol!r} lets copies of a picture stand on both sides, so no teacher is "
            "honest; make soft targets with the protocol 'grouped'."
        )
    if recipe.name in ("", "..") or Path(recipe.name).name != recipe.name:
        raise UserError(f"the recipe's name {recipe.name!r} cannot be part of a folder's name; change it.")
    split = replace(recipe.split, val_fold=min(j, k), test_fold=max(j, k), val_parts=1)
    teacher = replace(recipe.teacher, fit=replace(recipe.teacher.fit, select="last"))
    return replace(without_student(recipe), split=split, teacher=teacher)


def split_of(data: DataSet, recipe: Recipe, groups_csv: Path | None, exclude: tuple[str, ...]) -> Split:
    """The split of a pair's teacher; recipe: what teacher_recipe gave. Raises UserError as make_split does."""
    return make_split(data, recipe.split, groups_csv, exclude)


def stem(recipe: Recipe) -> str:
    """`<j>-<k>-<recipe name>-<seed>`: how the run folder and the cache of a pair's teacher are called."""
    return f"{recipe.split.val_fold}-{recipe.split.test_fold}-{recipe.name}-{recipe.seed}"


def train_pair(
    data: DataSet,
    recipe: Recipe,
    groups_csv: Path | None,
    exclude: tuple[str, ...],
    weights_dir: Path | None,
    j: int,
    k: int,
    out: Path,
) -> Run:
    """Train the teacher that sees neither fold j nor fold k, in `out`/teachers/<j>-<k>-<recipe name>-<seed>.

    groups_csv None: each picture is a group of its own, right only for phantoms. exclude: names whose groups do not
    train. A finished teacher is taken up, a killed one goes on. Raises UserError as train_teacher and teacher_recipe
    do.
    """
    from train.training import train_teacher

    own = teacher_recipe(recipe, j, k)
    split = split_of(data, own, groups_csv, exclude)
    return train_teacher(data, own, split, weights_dir, out / TEACHERS / stem(own))
