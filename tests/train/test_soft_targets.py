"""Who may teach whom: no answer of a teacher that saw the picture's group, or the student's test part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from soft_caches import meta_of, student_split, written
from tiny_recipe import write_tiny_recipe

from device.errors import UserError
from train.data.busi import DataSet, read_dataset
from train.data.splits import Split, make_split
from train.recipe import Recipe, load_recipe
from train.soft.cache import Cache, read_folders
from train.soft.crossfit import pairs
from train.soft.targets import out_of_fold, out_of_fold_of, read_soft_targets

FOLDS = 4


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    change = ("[distill]", f"[split]\nfolds = {FOLDS}\n\n[distill]\nviews = 2")
    return load_recipe(write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", change))


@pytest.fixture(scope="module")
def folder(data: DataSet, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers of all six pairs of four folds."""
    out = tmp_path_factory.mktemp("soft")
    for j, k in pairs(FOLDS, range(FOLDS)):
        written(out / "cache", data, meta_of(data, tiny, j, k))
    return out


def means(caches: list[Cache], split: Split, views: int) -> np.ndarray:
    """(N, V, K) mean probabilities for split.train, picture by picture, NaN without an honest teacher."""
    test = {split.group_of[p.name] for p in split.test}
    found = np.full((len(split.train), views, 3), np.nan)
    for n, picture in enumerate(split.train):
        votes = []
        for cache in caches:
            seen = {split.group_of[name] for name in cache.meta.trained}
            if split.group_of[picture.name] in seen or seen & test or picture.name not in cache.meta.names:
                continue
            votes.append(softmax(cache.logits[cache.meta.names.index(picture.name), :views].astype(float), axis=1))
        if votes:
            found[n] = np.mean(votes, axis=0)
    return found


def test_each_student_gets_its_pairs_answers(folder: Path, data: DataSet, tiny: Recipe) -> None:
    caches = {(c.meta.recipe.split.val_fold, c.meta.recipe.split.test_fold): c for c in read_folders([folder], data)}
    fold_of = {p.name: fold for fold in range(FOLDS) for p in student_split(data, tiny, fold, (fold + 1) % FOLDS).test}
    for test in range(FOLDS):
        split = student_split(data, tiny, test, (test + 1) % FOLDS)
        soft = read_soft_targets([folder], data, split, tiny)
        assert soft.logits.shape == (len(split.train), 2, 3)
        assert soft.logits.dtype == np.float32
        assert (soft.views, soft.seed) == (2, 0)
        assert soft.saw_validation, "the pair's teacher trains on all other folds"
        assert len(soft.sources) == FOLDS - 2, "one per training fold"
        for n, picture in enumerate(split.train):
            own = caches[tuple(sorted((fold_of[picture.name], test)))]
            wanted = own.logits[own.meta.names.index(picture.name)]
            np.testing.assert_allclose(softmax(soft.logits[n], axis=1), softmax(wanted, axis=1), rtol=1e-5)
            np.testing.assert_allclose(np.ptp(soft.logits[n] - wanted, axis=1), 0, atol=1e-5)  # but for a shift


def test_the_average_by_hand(data: DataSet, tiny: Recipe, tmp_path: Path) -> None:
    # p = (1/2, 1/4, 1/4) and q = (1/10, 8/10, 1/10): the mean is (0.3, 0.525, 0.175); that of the logits would be
    # proportional to (sqrt(0.05), sqrt(0.2), sqrt(0.025)) = (0.36, 0.73, 0.26) * 0.61.
    p, q = np.log([0.5, 0.25, 0.25]) + 7, np.log([0.1, 0.8, 0.1]) - 30
    split = student_split(data, tiny, 0, 1)
    for seed, logits in ((3, p), (4, q)):
        for j in (2, 3):
            meta = meta_of(data, replace(tiny, seed=seed), 0, j)
            written(tmp_path / str(seed), data, meta, np.broadcast_to(logits, (len(meta.names), 2, 3)))
    soft = read_soft_targets([tmp_path / "3", tmp_path / "4"], data, split, tiny)
    np.testing.assert_allclose(np.exp(soft.logits), np.broadcast_to([0.3, 0.525, 0.175], soft.logits.shape), rtol=1e-5)
    assert len(soft.sources) == 4
    alone = read_soft_targets([tmp_path / "4"], data, split, tiny)
    np.testing.assert_allclose(np.exp(alone.logits[0, 0]), [0.1, 0.8, 0.1], rtol=1e-5)
    turned = read_soft_targets([tmp_path / "4", tmp_path / "3"], data, split, tiny)
    assert turned.sha256 == soft.sha256
    np.testing.assert_array_equal(turned.logits, soft.logits)
    assert alone.sha256 != soft.sha256


def test_a_teacher_that_is_certain_leaves_finite_targets(data: DataSet, tiny: Recipe, tmp_path: Path) -> None:
    for j in (2, 3):
        meta = meta_of(data, tiny, 0, j)
        written(tmp_path, data, meta, np.broadcast_to([900.0, -900.0, 0.0], (len(meta.names), 2, 3)))
    soft = read_soft_targets([tmp_path], data, student_split(data, tiny, 0, 1), tiny)
    np.testing.assert_allclose(soft.logits[0, 0], [0, -1800, -900])


def test_a_teacher_that_knew_the_test_part_is_never_heard(
    folder: Path, data: DataSet, tiny: Recipe, tmp_path: Path
) -> None:
    split = student_split(data, tiny, 0, 1)
    before = read_soft_targets([folder], data, split, tiny)
    # Every teacher that saw fold 0 now swears by class 2; and there is another one, of another seed.
    lies = np.array([-50.0, -50.0, 50.0])
    for j, k in pairs(FOLDS, range(FOLDS)):
        meta = meta_of(data, tiny, j, k)
        written(tmp_path, data, meta, None if 0 in (j, k) else np.broadcast_to(lies, (len(meta.names), 2, 3)))
    meta = meta_of(data, replace(tiny, seed=9), 1, 2)
    written(tmp_path, data, meta, np.broadcast_to(lies, (len(meta.names), 2, 3)))
    after = read_soft_targets([tmp_path], data, split, tiny)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert after.sha256 == before.sha256
    # One single test picture among those it was trained on is enough.
    spoilt = meta_of(data, replace(tiny, seed=8), 0, 2)
    known = split.test[0].name
    names = tuple(name for name in spoilt.names if name != known)
    spoilt = replace(spoilt, names=names, trained={**spoilt.trained, known: known})
    written(tmp_path, data, spoilt, np.broadcast_to(lies, (len(names), 2, 3)))
    np.testing.assert_array_equal(read_soft_targets([tmp_path], data, split, tiny).logits, before.logits)


def test_groups_found_since_are_honoured(folder: Path, data: DataSet, tiny: Recipe) -> None:
    split = student_split(data, tiny, 0, 1)
    by_fold = {fold: student_split(data, tiny, fold, (fold + 1) % FOLDS).test for fold in range(FOLDS)}
    # A copy in fold 2 of what the teacher of 0-3 trained on: for the picture in fold 3 no teacher is honest any more.
    mine, copy = by_fold[3][4].name, by_fold[2][1].name
    strict = replace(split, group_of={**split.group_of, mine: "copies", copy: "copies"})
    with pytest.raises(UserError) as refused:
        read_soft_targets([folder], data, strict, tiny)
    # Both are in training; the teacher of 0-2 saw `mine`, the teacher of 0-3 saw `copy`.
    first = next(p.name for p in split.train if p.name in (mine, copy))
    assert repr(first) in str(refused.value)
    assert "; 2 of 36 training pictures" in str(refused.value)
    assert "other groups" in str(refused.value)
    # A copy of a test picture in fold 2, which the teachers of 0-1 and 0-3 were trained on: none of theirs is used.
    known = replace(split, group_of={**split.group_of, by_fold[0][0].name: "copies", copy: "copies"})
    with pytest.raises(UserError, match=f"; {len(by_fold[3])} of 36 training pictures"):
        read_soft_targets([folder], data, known, tiny)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    test=st.integers(0, FOLDS - 1),
    parts=st.integers(1, 3),
    merged=st.lists(st.tuples(st.integers(0, 71), st.integers(0, 71)), max_size=3),
    lost=st.sets(st.integers(0, 5), max_size=2),
)
def test_the_same_as_picture_by_picture(
    folder: Path, data: DataSet, tiny: Recipe, test: int, parts: int, merged: list, lost: set[int]
) -> None:
    split = student_split(data, tiny, test, (test + 1) % FOLDS, parts)
    group_of = dict(split.group_of)
    for a, b in merged:
        one, other = (group_of[data.pictures[i].name] for i in (a, b))
        group_of = {name: one if group == other else group for name, group in group_of.items()}
    split = replace(split, group_of=group_of)
    paths = sorted((folder / "cache").iterdir())
    left = sorted(set(range(6)) - lost)
    chosen = folder.parent / "chosen" / "".join(map(str, left))
    chosen.mkdir(parents=True, exist_ok=True)
    for number in left:
        (chosen / paths[number].name).write_bytes(paths[number].read_bytes())
    wanted = means(read_folders([chosen], data), split, 2)
    missing = [p.name for p, row in zip(split.train, wanted) if np.isnan(row).any()]
    if missing:
        with pytest.raises(UserError) as refused:
            read_soft_targets([chosen], data, split, tiny)
        assert repr(missing[0]) in str(refused.value)
        assert f"; {len(missing)} of {len(split.train)} training" in str(refused.value)
    else:
        np.testing.assert_allclose(np.exp(read_soft_targets([chosen], data, split, tiny).logits), wanted, rtol=1e-4)


def test_a_missing_pair_is_named(folder: Path, data: DataSet, tiny: Recipe, tmp_path: Path) -> None:
    split = student_split(data, tiny, 1, 0)
    for path in (folder / "cache").iterdir():
        if not path.name.startswith(("1-2", "0-3")):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    lost = [p for p in split.train if p in student_split(data, tiny, 2, 0).test]
    with pytest.raises(UserError) as refused:
        read_soft_targets([tmp_path], data, split, tiny)
    said = str(refused.value)
    assert repr(lost[0].name) in said
    assert f"; {len(lost)} of {len(split.train)} training pictures" in said
    assert "folds 1-2 is there" in said
    assert "busi-kd train soft-targets" in said
    assert "--test-folds 1;" in said or said.endswith("--test-folds 1.")
    # The part of the validation fold that trains wants its teacher too.
    (tmp_path / "1-2.safetensors").write_bytes(next((folder / "cache").glob("1-2*")).read_bytes())
    read_soft_targets([tmp_path], data, split, tiny)
    next(tmp_path.glob("0-1*")).unlink()
    read_soft_targets([tmp_path], data, split, tiny)
    with pytest.raises(UserError, match="folds 0-1 is there"):
        read_soft_targets([tmp_path], data, student_split(data, tiny, 1, 0, val_parts=2), tiny)


def test_other_folds_than_the_students(folder: Path, data: DataSet, tiny: Recipe) -> None:
    other = make_split(data, replace(tiny.split, seed=5), None)
    with pytest.raises(UserError, match="folds 0-2 and 0-3 is there"):
        read_soft_targets([folder], data, other, tiny)


def test_whether_a_teacher_saw_the_validation_part(data: DataSet, tiny: Recipe, tmp_path: Path) -> None:
    split = student_split(data, tiny, 0, 1)
    validation = {p.name for p in split.val}
    for j in (2, 3):
        meta = meta_of(data, tiny, 0, j)
        trained = {name: group for name, group in meta.trained.items() if name not in validation}
        written(tmp_path / "blind", data, replace(meta, trained=trained))
    assert not read_soft_targets([tmp_path / "blind"], data, split, tiny).saw_validation
    one = split.val[0].name
    groups = {**split.group_of, one: split.group_of[split.train[0].name]}
    assert read_soft_targets([tmp_path / "blind"], data, replace(split, group_of=groups), tiny).saw_validation, "a copy"


def test_leaky_protocols_have_no_soft_targets(folder: Path, data: DataSet, tiny: Recipe) -> None:
    for protocol in ("paper", "random"):
        split = make_split(data, replace(tiny.split, protocol=protocol), None)
        with pytest.raises(UserError, match=f"{protocol}.*use --teacher"):
            read_soft_targets([folder], data, split, tiny)


def test_fewer_views_than_are_there_are_the_first_ones(folder: Path, data: DataSet, tiny: Recipe) -> None:
    split = student_split(data, tiny, 0, 1)
    one = replace(tiny, distill=replace(tiny.distill, views=1))
    few, many = (read_soft_targets([folder], data, split, recipe) for recipe in (one, tiny))
    np.testing.assert_array_equal(few.logits, many.logits[:, :1])
    for change in (replace(tiny.distill, views=3), replace(tiny.distill, view_seed=2)):
        with pytest.raises(UserError, match="distill"):
            read_soft_targets([folder], data, split, replace(tiny, distill=change))


def test_out_of_fold_by_hand(folder: Path, data: DataSet) -> None:
    alone = {p.name: p.name for p in data.pictures}
    found = out_of_fold([folder], data, alone)
    assert found.names == tuple(p.name for p in data.pictures)
    assert found.teachers.tolist() == [FOLDS - 1] * 72
    caches = read_folders([folder], data)
    seen = out_of_fold([folder], data, alone, mean_of_views=True)
    for n in (0, 30, 71):
        votes = [c.logits[c.meta.names.index(found.names[n])] for c in caches if found.names[n] in c.meta.names]
        assert len(votes) == FOLDS - 1
        np.testing.assert_allclose(np.exp(found.logits[n]), softmax(np.array(votes), 2)[:, 0].mean(0), rtol=1e-5)
        np.testing.assert_allclose(np.exp(seen.logits[n]), softmax(np.array(votes), 2).mean((0, 1)), rtol=1e-5)


def test_out_of_fold_leaves_out_what_a_teacher_knew(folder: Path, data: DataSet, tiny: Recipe) -> None:
    alone = {p.name: p.name for p in data.pictures}
    (cache,) = [c for c in read_folders([folder], data) if c.path.name.startswith("0-1")]
    found = out_of_fold_of([cache], data, alone)
    assert set(found.names) == set(cache.meta.names)
    assert np.isfinite(found.logits).all()
    copy, known = cache.meta.names[3], next(iter(cache.meta.trained))
    less = out_of_fold_of([cache], data, {**alone, copy: alone[known]})
    assert set(cache.meta.names) - set(less.names) == {copy}
