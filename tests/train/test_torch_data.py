"""Augmentation: what may change, what must not, and that every draw can be repeated."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.torch_data import LumaSet, augmented
from train.recipe import Augment

NONE = Augment(flip=0.0)
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32), np.uint8)
SMOOTH = cv2.GaussianBlur(PICTURE, (9, 9), 3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_strengths_nothing_changes() -> None:
    for seed in range(20):
        assert np.array_equal(augmented(PICTURE, NONE, rng(seed)), PICTURE)


def test_a_flip_mirrors_left_and_right_only() -> None:
    assert np.array_equal(augmented(PICTURE, Augment(flip=1.0), rng()), PICTURE[:, ::-1])
    flipped = sum(not np.array_equal(augmented(PICTURE, Augment(flip=0.3), rng(seed)), PICTURE) for seed in range(500))
    assert 110 <= flipped <= 190  # 150 expected, standard deviation 10


def test_gain_and_offset_are_clipped_and_stay_in_their_range() -> None:
    grey = np.full((16, 16), 100, np.uint8)
    offsets = {int(augmented(grey, Augment(flip=0, offset=20.0), rng(seed))[0, 0]) for seed in range(300)}
    assert min(offsets) in (80, 81)
    assert max(offsets) in (119, 120)
    gains = {int(augmented(grey, Augment(flip=0, gain=0.3), rng(seed))[0, 0]) for seed in range(300)}
    assert min(gains) in (70, 71)
    assert max(gains) in (129, 130)
    for seed in range(50):
        for value in (0, 255):
            found = augmented(np.full((16, 16), value, np.uint8), Augment(0, gain=0.9, offset=127.0), rng(seed))
            assert len(np.unique(found)) == 1
            if value == 0:  # gain leaves black alone: what is left is the offset, clipped at black
                assert found[0, 0] <= 127


def test_a_shift_moves_by_at_most_its_share() -> None:
    spot = np.zeros((40, 60), np.uint8)
    spot[20, 30] = 255
    places = []
    for seed in range(200):
        y, x = np.unravel_index(augmented(spot, Augment(flip=0, shift=0.1), rng(seed)).argmax(), spot.shape)
        places.append((y - 20, x - 30))
    down, right = np.abs(places).max(axis=0)
    assert down in (3, 4)
    assert right in (5, 6)


def test_a_rotation_turns_about_the_middle() -> None:
    cross = np.zeros((41, 41), np.uint8)
    cross[20, :] = 255
    angles = []
    for seed in range(100):
        ys, xs = np.nonzero(augmented(cross, Augment(flip=0, rotate=20.0), rng(seed)) > 100)
        angles.append(np.degrees(np.arctan(np.polyfit(xs, ys, 1)[0])))
        assert abs(ys[np.abs(xs - 20) <= 1].mean() - 20) <= 1.0
    assert 18 <= max(angles) <= 21
    assert -21 <= min(angles) <= -18


@settings(deadline=None)
@given(
    st.builds(
        Augment,
        flip=st.floats(0, 1),
        rotate=st.floats(0, 45),
        scale=st.floats(0, 0.9),
        shift=st.floats(0, 0.9),
        gain=st.floats(0, 0.9),
        offset=st.floats(0, 127),
    ),
    st.integers(0, 2**32 - 1),
)
def test_any_recipe_gives_a_picture_of_the_same_shape(recipe: Augment, seed: int) -> None:
    before = SMOOTH.copy()
    found, again = (augmented(SMOOTH, recipe, rng(seed)) for _ in range(2))
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (SMOOTH.shape, np.uint8, True)
    assert np.array_equal(found, again)
    assert np.array_equal(SMOOTH, before), "the picture in memory is not changed"


def test_one_strength_does_not_change_the_others_draws() -> None:
    for seed in range(20):
        plain = augmented(SMOOTH, Augment(flip=0.5, gain=0.3), rng(seed))
        mirrored = not np.array_equal(augmented(SMOOTH, Augment(flip=0.5), rng(seed)), SMOOTH)
        alone = augmented(SMOOTH, Augment(flip=0.0, gain=0.3), rng(seed))
        assert np.array_equal(plain, alone[:, ::-1] if mirrored else alone)


def test_items_depend_on_seed_epoch_and_picture_alone() -> None:
    lumas, targets = np.stack([PICTURE] * 3), np.array([2, 0, 1])
    recipe = Augment(rotate=10.0, gain=0.2)

    def item(seed: int, epoch: int, index: int) -> bytes:
        one = LumaSet(lumas, targets, recipe, seed)
        one.epoch = epoch
        luma, _ = one[index]
        return luma.numpy().tobytes()

    every = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in (0, 1, 2)]
    assert len({item(*which) for which in every}) == len(every)
    assert item(1, 1, 2) == item(1, 1, 2)


def test_items_are_luma_as_the_network_takes_it() -> None:
    luma, target = LumaSet(PICTURE[None], np.array([2]))[0]
    assert (luma.shape, luma.dtype, target, type(target)) == ((1, 24, 32), torch.float32, 2, int)
    assert np.array_equal(luma[0].numpy(), PICTURE)
    assert len(LumaSet(PICTURE[None], np.array([2]))) == 1


@pytest.mark.parametrize("shape", [(24, 32), (32, 24)])
def test_a_full_turn_of_nothing_is_exact(shape: tuple[int, int]) -> None:
    # warpAffine with the identity must not blur: the middle is taken in the same convention on both sides.
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(augmented(picture, Augment(flip=0, rotate=1e-9), rng()), picture)
