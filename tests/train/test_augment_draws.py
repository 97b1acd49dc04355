"""Augmentation as a whole: what any recipe keeps, that every draw can be repeated, and that none disturbs another."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.augment import augmented
from train.recipe import Augment

NONE = Augment(flip=0.0)
TOPS = {
    "flip": 1.0,
    "rotate": 45.0,
    "scale": 0.9,
    "shift": 0.9,
    "gain": 0.9,
    "offset": 127.0,
    "depth_crop": 0.5,
    "gamma": 2.0,
    "shadow": 1.0,
    "tgc": 0.9,
    "speckle": 1.0,
    "calipers": 1.0,
    "text": 1.0,
    "blur": 5.0,
    "erase": 1.0,
}
OLD = ("flip", "rotate", "scale", "shift", "gain", "offset")
NEW = tuple(name for name in TOPS if name not in OLD)
STRONG = Augment(1.0, 15.0, 0.2, 0.1, 0.3, 20.0, 0.3, 0.5, 1.0, 0.5, 0.3, 1.0, 1.0, 2.0, 1.0)
PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (72, 96), np.uint8), (9, 9), 2)
MASK = np.zeros((72, 96), bool)
MASK[20:45, 30:70] = True

any_recipe = st.builds(Augment, **{name: st.floats(0, top) for name, top in TOPS.items()})
any_shape = st.tuples(st.integers(1, 40), st.integers(1, 40))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def only(**strengths: float) -> Augment:
    return replace(NONE, **strengths)


def test_every_key_is_tested_here() -> None:
    assert {field.name for field in fields(Augment)} == set(TOPS)


@pytest.mark.parametrize("name", TOPS)
def test_a_strength_out_of_its_range_is_refused_by_name(name: str) -> None:
    assert getattr(Augment(**{name: TOPS[name]}), name) == TOPS[name]
    for wrong in (-0.01, TOPS[name] * 1.01, float("nan")):
        with pytest.raises(ValueError, match=rf"augment\.{name} must lie in 0\.\."):
            Augment(**{name: wrong})


def test_without_strengths_nothing_changes() -> None:
    for seed in range(20):
        luma, mask = augmented(PICTURE, MASK, NONE, rng(seed))
        assert np.array_equal(luma, PICTURE)
        assert np.array_equal(mask, MASK)


@settings(deadline=None, max_examples=150)
@given(any_recipe, any_shape, st.integers(0, 2**32 - 1), st.booleans())
def test_any_recipe_keeps_shape_and_type_and_can_be_repeated(recipe, shape, seed, masked) -> None:
    picture = rng(1).integers(0, 256, shape, np.uint8)
    given_mask = rng(2).random(shape) < 0.3 if masked else None
    before = picture.copy(), None if given_mask is None else given_mask.copy()
    (luma, mask), (again, again_mask) = (augmented(picture, given_mask, recipe, rng(seed)) for _ in range(2))
    assert (luma.shape, luma.dtype, luma.flags.c_contiguous) == (shape, np.uint8, True)
    assert np.array_equal(luma, again)
    if given_mask is None:
        assert mask is None
    else:
        assert (mask.shape, mask.dtype, mask.flags.c_contiguous) == (shape, bool, True)
        assert np.array_equal(mask, again_mask)
        assert np.array_equal(given_mask, before[1]), "the mask in memory is not changed"
    assert np.array_equal(picture, before[0]), "the picture in memory is not changed"


@pytest.mark.parametrize("name", NEW)
def test_every_new_strength_changes_something(name: str) -> None:
    changed = [
        not np.array_equal(augmented(PICTURE, MASK, only(**{name: TOPS[name]}), rng(s))[0], PICTURE) for s in range(9)
    ]
    assert sum(changed) >= 7, "a drawn strength may be next to nothing"


@pytest.mark.parametrize("name", TOPS)
def test_one_strength_does_not_change_the_others_draws(name: str) -> None:
    """All others are switched on, too weak to be seen: what this one does must stay."""
    alone = only(**{name: getattr(STRONG, name)})
    among = replace(Augment(**dict.fromkeys(TOPS, 1e-12)), **{name: getattr(STRONG, name)})
    for seed in range(5):
        wanted, found = (augmented(PICTURE, MASK, recipe, rng(seed)) for recipe in (alone, among))
        assert np.array_equal(wanted[0], found[0])
        assert np.array_equal(wanted[1], found[1])


def test_how_much_is_drawn_depends_on_nothing() -> None:
    states = []
    for recipe in (NONE, STRONG, only(calipers=1.0), only(rotate=3.0)):
        for mask in (None, MASK, MASK & False):
            one = rng(4)
            augmented(PICTURE, mask, recipe, one)
            states.append(one.bit_generator.state)
    assert all(state == states[0] for state in states)


@pytest.mark.parametrize("name", ["shadow", "calipers", "text", "erase"])
def test_a_probability_is_one(name: str) -> None:
    hit = [not np.array_equal(augmented(PICTURE, MASK, only(**{name: 0.3}), rng(s))[0], PICTURE) for s in range(400)]
    # 120 expected, standard deviation 9; a shadow may miss the picture, a word may lie on its like.
    assert 80 <= sum(hit) <= 150
    more = [not np.array_equal(augmented(PICTURE, MASK, only(**{name: 0.6}), rng(s))[0], PICTURE) for s in range(400)]
    assert all(one for one, before in zip(more, hit) if before), "a higher probability keeps what a lower one did"
    assert sum(more) > sum(hit) + 60


def test_a_mask_of_noughts_and_ones_is_a_mask() -> None:
    recipe = replace(STRONG, erase=0.0)
    wanted, found = (augmented(PICTURE, mask, recipe, rng(3)) for mask in (MASK, MASK.astype(np.uint8)))
    assert found[1].dtype == bool
    assert np.array_equal(wanted[0], found[0])
    assert np.array_equal(wanted[1], found[1])


def test_what_is_no_picture_with_its_mask_is_refused() -> None:
    for luma, mask in ((PICTURE, MASK[1:]), (PICTURE.astype(np.float32), None), (PICTURE[None], None)):
        with pytest.raises(ValueError, match="uint8"):
            augmented(luma, mask, NONE, rng())
