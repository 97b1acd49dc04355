"""Geometry: what may move, how far, that masks go along, and that the first six strengths draw as they always did."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.augment import augmented, geometry
from train.recipe import Augment

NONE = Augment(flip=0.0)
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32), np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def luma_of(picture: np.ndarray, recipe: Augment, seed: int) -> np.ndarray:
    return augmented(picture, None, recipe, rng(seed))[0]


def as_first_released(luma: np.ndarray, recipe: Augment, draws: np.random.Generator) -> np.ndarray:
    """The augmentation of version 0.1.0, written down again: results that were published must come out again."""
    height, width = luma.shape
    mirror = draws.random() < recipe.flip
    angle, scale, dx, dy, gain, offset = draws.uniform(-1, 1, 6)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle * recipe.rotate, 1 + scale * recipe.scale)
    turn[:, 2] += (dx * recipe.shift * width, dy * recipe.shift * height)
    if recipe.rotate or recipe.scale or recipe.shift:
        luma = cv2.warpAffine(luma, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if mirror:
        luma = luma[:, ::-1]
    if recipe.gain or recipe.offset:
        changed = luma.astype(np.float32) * np.float32(1 + gain * recipe.gain) + np.float32(offset * recipe.offset)
        luma = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return luma


old_recipe = st.builds(
    Augment,
    flip=st.floats(0, 1),
    rotate=st.floats(0, 45),
    scale=st.floats(0, 0.9),
    shift=st.floats(0, 0.9),
    gain=st.sampled_from([0.0, 0.2, 0.9]),
    offset=st.sampled_from([0.0, 15.0, 127.0]),
)


@settings(deadline=None)
@given(old_recipe, st.integers(0, 2**32 - 1), st.tuples(st.integers(2, 50), st.integers(2, 50)))
def test_the_first_six_strengths_do_what_they_always_did(recipe: Augment, seed: int, shape: tuple[int, int]) -> None:
    picture = rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(luma_of(picture, recipe, seed), as_first_released(picture, recipe, rng(seed)))


def test_a_flip_mirrors_left_and_right_only() -> None:
    mask = PICTURE > 128
    luma, mirrored = augmented(PICTURE, mask, Augment(flip=1.0), rng())
    assert np.array_equal(luma, PICTURE[:, ::-1])
    assert np.array_equal(mirrored, mask[:, ::-1])
    assert luma.flags.c_contiguous
    assert mirrored.flags.c_contiguous
    flipped = sum(not np.array_equal(luma_of(PICTURE, Augment(flip=0.3), seed), PICTURE) for seed in range(500))
    assert 110 <= flipped <= 190  # 150 expected, standard deviation 10


def test_a_shift_moves_by_at_most_its_share() -> None:
    spot = np.zeros((40, 60), np.uint8)
    spot[20, 30] = 255
    places = []
    for seed in range(200):
        y, x = np.unravel_index(luma_of(spot, Augment(flip=0, shift=0.1), seed).argmax(), spot.shape)
        places.append((y - 20, x - 30))
    down, right = np.abs(places).max(axis=0)
    assert down in (3, 4)
    assert right in (5, 6)


def test_a_rotation_turns_about_the_middle() -> None:
    cross = np.zeros((41, 41), np.uint8)
    cross[20, :] = 255
    angles = []
    for seed in range(100):
        ys, xs = np.nonzero(luma_of(cross, Augment(flip=0, rotate=20.0), seed) > 100)
        angles.append(np.degrees(np.arctan(np.polyfit(xs, ys, 1)[0])))
        assert abs(ys[np.abs(xs - 20) <= 1].mean() - 20) <= 1.0
    assert 18 <= max(angles) <= 21
    assert -21 <= min(angles) <= -18


@pytest.mark.parametrize("shape", [(24, 32), (32, 24)])
def test_a_move_by_nothing_is_exact(shape: tuple[int, int]) -> None:
    # warpAffine with the identity must not blur: the middle is taken in the same convention on both sides.
    picture = rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(luma_of(picture, Augment(flip=0, rotate=1e-9), 0), picture)
    assert np.array_equal(luma_of(picture, Augment(flip=0, depth_crop=1e-9), 0), picture)


moving = st.builds(
    Augment,
    flip=st.floats(0, 1),
    rotate=st.floats(0, 45),
    scale=st.floats(0, 0.3),
    shift=st.floats(0, 0.3),
    depth_crop=st.floats(0, 0.5),
)


@settings(deadline=None)
@given(moving, st.integers(0, 2**32 - 1), st.floats(12, 44), st.floats(12, 60), st.floats(5, 9))
def test_the_mask_moves_with_its_lesion(recipe: Augment, seed: int, y: float, x: float, radius: float) -> None:
    rows, columns = np.mgrid[:56, :72]
    away = np.hypot(rows - y, columns - x)
    # A smooth blob, half as bright on its outline as in its middle; the outline is the mask's.
    blob = np.rint(255 / (1 + np.exp(2 * (away - radius)))).astype(np.uint8)
    luma, mask = augmented(blob, away < radius, recipe, rng(seed))
    bright = luma > 127
    assert abs(int(bright.sum()) - int(mask.sum())) <= 0.25 * mask.sum() + 8
    inner = np.s_[1:-1, 1:-1]
    if mask.any() and mask.sum() == mask[inner].sum() and bright.sum() == bright[inner].sum():  # no part of it left
        lesion, drawn = (np.argwhere(found).mean(axis=0) for found in (bright, mask))
        assert np.hypot(*(lesion - drawn)) <= 1.0


@settings(deadline=None)
@given(moving, st.integers(0, 2**32 - 1))
def test_a_place_belongs_to_the_moved_mask_when_half_of_it_did(recipe: Augment, seed: int) -> None:
    mask = rng(5).random((30, 40)) < 0.4
    luma, moved = augmented(mask.astype(np.uint8) * np.uint8(255), mask, recipe, rng(seed))
    assert np.array_equal(moved, luma > 127)


def corners(shape: tuple[int, int], most: float, seed: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edge of what remains, in fractions of the picture, from the inverted matrix."""
    back = np.linalg.inv(geometry.depth_crop(shape, most, rng(seed)))
    left, top, _ = back @ (-0.5, -0.5, 1)
    right, bottom, _ = back @ (shape[1] - 0.5, shape[0] - 0.5, 1)
    return (left + 0.5) / shape[1], (top + 0.5) / shape[0], (right + 0.5) / shape[1], (bottom + 0.5) / shape[0]


def test_another_depth_cuts_below_and_beside_but_never_the_skin() -> None:
    found = np.array([corners((40, 60), 0.3, seed) for seed in range(300)])
    left, top, right, bottom = found.T
    assert np.abs(top).max() < 1e-9
    assert 0.70 <= bottom.min() < 0.71
    assert 0.99 < bottom.max() <= 1.0
    sides = 1 - (right - left)
    assert (left >= -1e-9).all()
    assert (right <= 1 + 1e-9).all()
    assert (sides <= 1 - bottom + 1e-9).all(), "the sides lose no more than the depth does"
    assert (sides < 0.2 * (1 - bottom)).any()
    assert (sides > 0.8 * (1 - bottom)).any()


def test_another_depth_enlarges_what_is_left() -> None:
    # By hand: with half of the depth cut, row r shows the place (r + 0.5) / 2 - 0.5 of a ramp of 20 levels a row.
    ramp = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[:, None], 12, axis=1)
    matrix = np.array([[1.0, 0, 0], [0, 2, 0.5]])
    seed = next(s for s in range(10_000) if rng(s).random() > 0.999)  # all but the whole of `most` is cut
    found = geometry.depth_crop(ramp.shape, 0.5, rng(seed))
    np.testing.assert_allclose(found[1, 1:], matrix[1, 1:], atol=5e-3)
    luma, _ = geometry.warped(ramp, None, matrix)
    assert luma[1:6, 5].tolist() == [5, 15, 25, 35, 45]
