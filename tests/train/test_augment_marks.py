"""Burned-in marks: they lie on the outline or nowhere in particular, and tell nothing about mask or class."""

import cv2
import numpy as np
import pytest

from train.augment import augmented, marks
from train.augment.marks import Calipers, calipers
from train.recipe import Augment

SHAPE = (224, 224)
GREY = np.full(SHAPE, 60, np.uint8)
NOTHING = np.zeros(SHAPE, bool)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - y, columns - x) <= radius


def style(made: Calipers) -> tuple:
    return len(made.ends), made.arm, made.slanted, made.dotted, made.numbered


MASKS = (None, NOTHING, disc(60, 70, 20), disc(150, 120, 50), disc(112, 60, 8) | disc(20, 200, 15))


def test_how_many_marks_and_how_they_look_does_not_depend_on_the_mask() -> None:
    for seed in range(150):
        styles, states = [], []
        for mask in MASKS:
            one = rng(seed)
            styles.append(style(calipers(SHAPE, mask, one)))
            states.append(one.bit_generator.state)
        assert len(set(styles)) == 1
        assert all(state == states[0] for state in states), "what follows is drawn alike, too"


def test_an_empty_mask_is_no_mask() -> None:
    for seed in range(30):
        assert np.array_equal(calipers(SHAPE, None, rng(seed)).ends, calipers(SHAPE, NOTHING, rng(seed)).ends)
        without, empty = (marks.with_calipers(GREY, mask, rng(seed)) for mask in (None, NOTHING))
        assert np.array_equal(without, empty)


def test_as_many_marks_are_seen_with_and_without_a_lesion() -> None:
    """Counted in the pixels: marks that are neither joined nor numbered are spots of their own."""
    counted = 0
    for seed in range(150):
        made = [calipers(SHAPE, mask, rng(seed)) for mask in (None, MASKS[2], MASKS[3])]
        if made[0].dotted or made[0].numbered or min(_nearest(one) for one in made) < 20:
            continue
        for mask in (None, MASKS[2], MASKS[3]):
            seen = (marks.with_calipers(GREY, mask, rng(seed)) != GREY).astype(np.uint8)
            assert cv2.connectedComponents(seen, connectivity=8)[0] - 1 == 2 * len(made[0].ends)
        counted += 1
    assert counted >= 15


def _nearest(made: Calipers) -> float:
    ends = made.ends.reshape(-1, 2)
    return min(np.hypot(*(a - b)) for i, a in enumerate(ends) for b in ends[:i])


@pytest.mark.parametrize("name", ["calipers", "text"])
def test_whether_anything_is_burned_in_does_not_depend_on_the_mask(name: str) -> None:
    recipe = Augment(flip=0, **{name: 0.5})
    for seed in range(60):
        found = [augmented(GREY, mask, recipe, rng(seed))[0] for mask in MASKS]
        assert len({bool((luma != GREY).any()) for luma in found}) == 1
        if name == "text":
            assert all(np.array_equal(luma, found[0]) for luma in found)


def test_a_lesion_is_measured_from_outline_to_outline_in_half_of_the_pictures() -> None:
    x, y, radius = 140.0, 80.0, 30.0
    mask = disc(x, y, radius)
    on_outline, angles = 0, []
    for seed in range(400):
        made = calipers(SHAPE, mask, rng(seed))
        away = np.hypot(*(made.ends - (x, y)).reshape(-1, 2).T)
        if (np.abs(away - radius) <= 1.5).all():
            on_outline += 1
            first = made.ends[0, 0] - made.ends[0, 1]
            assert np.hypot(*first) == pytest.approx(2 * radius, abs=3)
            angles.append(np.degrees(np.arctan2(first[1], first[0])))
            if len(made.ends) == 2:
                second = made.ends[1, 0] - made.ends[1, 1]
                cosine = first @ second / np.hypot(*first) / np.hypot(*second)
                assert abs(cosine) < 0.25, "the second distance crosses the first about squarely"
    assert 160 <= on_outline <= 240  # 200 expected, standard deviation 10
    assert -25 < min(angles) < -10
    assert 10 < max(angles) < 25


def test_the_outline_is_that_of_the_moved_lesion() -> None:
    mask = disc(70, 90, 25)
    recipe = Augment(flip=1.0, calipers=1.0)
    hits = 0
    for seed in range(40):
        luma, moved = augmented(GREY, mask, recipe, rng(seed))
        assert np.array_equal(moved, mask[:, ::-1])
        far = np.hypot(*(np.argwhere(luma > 140) - (90, 223 - 70)).T)
        hits += bool(len(far)) and bool((far < 25 + 16).all()) and bool((far > 20).any())
    assert 8 <= hits <= 32


def test_an_odd_lesion_has_its_marks_within_the_picture() -> None:
    hollow = disc(112, 112, 60) & ~disc(112, 130, 60)  # the centroid lies outside
    corner = disc(0, 223, 10)
    dot = NOTHING.copy()
    dot[5, 5] = True
    for mask in (hollow, corner, dot, ~NOTHING):
        for seed in range(40):
            made = calipers(SHAPE, mask, rng(seed))
            assert made.ends.shape == (len(made.ends), 2, 2)
            assert (made.ends >= made.arm).all()
            assert (made.ends <= 223 - made.arm).all()


def test_marks_are_small_and_mostly_bright() -> None:
    levels, shares = [], []
    for seed in range(150):
        found = marks.with_calipers(GREY, None, rng(seed))
        assert (found >= GREY).all()
        levels.append(found.max())
        shares.append((found != GREY).mean())
    assert max(shares) < 0.03
    assert min(shares) > 0.0005
    assert np.median(levels) > 180
    assert min(levels) < 160
    assert len({style(calipers(SHAPE, None, rng(seed)))[2:] for seed in range(100)}) == 8, "every style occurs"


def test_words_lie_mostly_near_a_border() -> None:
    near, shares = 0, []
    for seed in range(200):
        seen = marks.with_text(GREY, rng(seed)) != GREY
        shares.append(seen.mean())
        rows, columns = np.nonzero(seen)
        edges = (rows.min(), columns.min(), 223 - rows.max(), 223 - columns.max())
        near += min(edges) < 0.1 * 224
    assert near >= 175
    assert max(shares) < 0.12
    assert min(shares) > 0


def test_rims_darken_what_surrounds_some_words() -> None:
    white = np.full(SHAPE, 230, np.uint8)
    darkened = sum(marks.with_text(white, rng(seed)).min() < 120 for seed in range(200))
    assert 30 <= darkened <= 75  # 50 expected, standard deviation 6
