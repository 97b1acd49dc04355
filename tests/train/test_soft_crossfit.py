"""Which teachers are needed, and what each of them may see."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soft_caches import student_split
from tiny_recipe import write_tiny_recipe

from device.errors import UserError
from train.data.busi import read_dataset
from train.data.splits import make_split
from train.recipe import Distill, Recipe, SplitRecipe, load_recipe
from train.soft.crossfit import pairs, stem, teacher_recipe


def test_one_test_fold_needs_four_teachers_and_all_five_need_ten() -> None:
    assert pairs(5, [0]) == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert pairs(5, [2]) == [(0, 2), (1, 2), (2, 3), (2, 4)]
    assert pairs(5, range(5)) == list(combinations(range(5), 2))
    assert len(pairs(5, [0, 3])) == 7
    assert pairs(3, [1, 1]) == [(0, 1), (1, 2)]


@given(st.integers(3, 12).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_every_training_fold_of_every_student_has_its_pair(case: tuple[int, set[int]]) -> None:
    folds, tests = case
    found = pairs(folds, sorted(tests))
    assert len(found) == len(set(found))
    assert all(j < k for j, k in found)
    needed = {frozenset((test, fold)) for test in tests for fold in range(folds) if fold != test}
    assert {frozenset(pair) for pair in found} == needed


@pytest.mark.parametrize("tests", [[5], [-1], [0, 7], []])
def test_a_fold_that_is_not_there(tests: list[int]) -> None:
    with pytest.raises(UserError, match=r"the folds are 0\.\.4"):
        pairs(5, tests)


def test_a_pairs_teacher_sees_neither_fold(phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    changes = ("[distill]", "[split]\nfolds = 4\nval_parts = 3\n\n[distill]")
    recipe = load_recipe(write_tiny_recipe(tmp_path / "r.toml", changes))
    tests = {fold: student_split(data, recipe, fold, (fold + 1) % 4).test for fold in range(4)}
    for j, k in pairs(4, range(4)):
        own = teacher_recipe(recipe, j, k)
        split = make_split(data, own.split, None)
        assert set(split.val) == set(tests[j]), "the whole fold, val_parts or not"
        assert set(split.test) == set(tests[k])
        assert not set(split.train) & set(tests[j] + tests[k])
        assert len(split.train) == len(data.pictures) - len(tests[j]) - len(tests[k])
        assert teacher_recipe(recipe, k, j) == own


def test_nothing_is_chosen_on_the_unseen_folds_and_the_student_plays_no_part() -> None:
    recipe = Recipe("r", seed=4)
    own = teacher_recipe(recipe, 3, 1)
    assert own.teacher.fit.select == "last"
    assert replace(own.teacher, fit=recipe.teacher.fit) == recipe.teacher
    assert (own.split.val_fold, own.split.test_fold) == (1, 3)
    assert stem(own) == "1-3-r-4"
    other = replace(recipe, distill=Distill(views=3), student=replace(recipe.student, phantoms=5))
    assert teacher_recipe(other, 1, 3) == own
    assert teacher_recipe(replace(recipe, seed=5), 1, 3) != own


def test_a_leaky_protocol_and_a_name_that_is_none() -> None:
    for protocol in ("paper", "random"):
        with pytest.raises(UserError, match=f"{protocol}.*'grouped'"):
            teacher_recipe(Recipe("r", split=SplitRecipe(protocol=protocol)), 0, 1)
    for name in ("", "..", ".", "a/b", "../up"):
        with pytest.raises(UserError, match="change it"):
            teacher_recipe(Recipe(name), 0, 1)
