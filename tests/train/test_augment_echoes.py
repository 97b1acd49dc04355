"""Echoes and screen: ranges, physics that can be checked, and statistics against scipy's."""

import cv2
import numpy as np
import pytest
from scipy import stats

from train.augment import augmented, echoes, screen
from train.recipe import Augment

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
GREY = np.full((64, 80), 100, np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def luma_of(picture: np.ndarray, seed: int, **strengths: float) -> np.ndarray:
    return augmented(picture, None, Augment(flip=0, **strengths), rng(seed))[0]


def test_gain_and_offset_are_clipped_and_stay_in_their_range() -> None:
    offsets = {int(luma_of(GREY, seed, offset=20.0)[0, 0]) for seed in range(300)}
    assert min(offsets) in (80, 81)
    assert max(offsets) in (119, 120)
    gains = {int(luma_of(GREY, seed, gain=0.3)[0, 0]) for seed in range(300)}
    assert min(gains) in (70, 71)
    assert max(gains) in (129, 130)
    for seed in range(50):
        for value in (0, 255):
            found = luma_of(np.full((16, 16), value, np.uint8), seed, gain=0.9, offset=127.0)
            assert len(np.unique(found)) == 1
            if value == 0:  # gain leaves black alone: what is left is the offset, clipped at black
                assert found[0, 0] <= 127


def test_gamma_keeps_black_white_and_order_and_both_directions_are_as_far() -> None:
    exponents = []
    for seed in range(200):
        found = luma_of(RAMP, seed, gamma=0.5).ravel()
        assert (found[0], found[-1]) == (0, 255)
        assert (np.diff(found.astype(int)) >= 0).all()
        exponents.append(np.log(found[128] / 255) / np.log(128 / 255))
    assert 1.45 <= max(exponents) <= 1.51
    assert 1 / 1.51 <= min(exponents) <= 1 / 1.45
    assert abs(np.mean(np.log(exponents))) < 0.06  # of a uniform draw in +-0.405: standard error 0.017


@pytest.mark.parametrize("strengths", [{"gamma": 2.0}, {"shadow": 1.0}, {"tgc": 0.9}, {"speckle": 1.0}])
def test_black_stays_black(strengths: dict[str, float]) -> None:
    assert not any(luma_of(np.zeros((64, 80), np.uint8), seed, **strengths).any() for seed in range(20))


def test_a_tgc_curve_is_smooth_over_depth_and_of_mean_nought() -> None:
    curves = np.stack([echoes.tgc_curve(224, rng(seed)) for seed in range(300)])
    assert np.abs(curves).max() <= 1
    assert np.abs(curves).max() > 0.8
    assert np.abs(curves.mean(axis=1)).max() < 1e-6
    assert np.abs(np.diff(curves, axis=1)).max() < 0.03
    found = luma_of(GREY, 3, tgc=0.4)
    assert (found == found[:, :1]).all(), "one gain for the whole row"
    assert 60 <= found.min() < found.max() <= 140


def test_a_shadow_takes_away_below_and_behind_and_nothing_above() -> None:
    tops, widths, deepest = [], [], []
    for seed in range(300):
        levels = echoes.shadow((120, 160), rng(seed))
        assert (levels.shape, levels.dtype) == ((120, 160), np.float32)
        assert levels.min() >= 0
        deepest.append(levels.max())
        if deepest[-1] > 20:
            tops.append(np.flatnonzero(levels.max(axis=1) > 0.02 * deepest[-1])[0])
            widths.append((levels[-1] > levels[-1].max() / 2).sum())
            assert np.abs(np.diff(levels, axis=1)).max() < 0.35 * deepest[-1], "edges are soft"
            if 2 < levels[-1].argmax() < 157:  # else it leaves the picture at the side
                assert (np.diff(levels.max(axis=1)) > -0.05 * deepest[-1]).all(), "a shadow does not end"
    assert 20 < np.median(deepest) <= 80
    assert max(deepest) <= 80
    assert min(tops) == 0
    assert max(tops) > 60
    assert 5 <= np.median(widths) <= 60


def test_a_shadow_subtracts_as_decibels_do() -> None:
    seed = 1
    found = (np.full((64, 80), level, np.uint8) for level in (150, 200))
    darker, brighter = (luma_of(picture, seed, shadow=1.0).astype(int) for picture in found)
    assert darker.min() < 140
    assert (brighter - darker == 50).all()


def test_speckle_is_the_logarithm_of_a_rayleigh_envelope() -> None:
    noise = np.stack([echoes.speckle((224, 224), rng(seed)) for seed in range(6)])
    law = np.log(stats.rayleigh.ppf((np.arange(100_000) + 0.5) / 100_000))
    law = np.maximum((law - law.mean()) / law.std(), -2)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        assert np.quantile(noise, share) == pytest.approx(np.quantile(law, share), abs=0.05)
    assert noise.mean() == pytest.approx(law.mean(), abs=0.03)
    assert noise.std() == pytest.approx(law.std(), abs=0.03)
    assert noise.min() >= -2


def test_speckle_is_correlated_and_coarser_across_the_beam() -> None:
    across, along = [], []
    for seed in range(10):
        noise = echoes.speckle((224, 224), rng(seed))
        across.append(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1])
        along.append(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1])
    assert np.mean(across) > np.mean(along) + 0.1
    assert min(along) > 0.1


def test_speckle_multiplies_by_up_to_its_strength() -> None:
    spreads = {level: [] for level in (60, 120)}
    for level, found in spreads.items():
        for seed in range(60):
            found.append(luma_of(np.full((64, 80), level, np.uint8), seed, speckle=0.2).std() / level)
    assert 0.15 < max(spreads[60]) < 0.2
    assert min(spreads[60]) < 0.02
    np.testing.assert_allclose(spreads[60], spreads[120], atol=0.006)


def test_blur_is_a_gaussian_of_up_to_its_sigma() -> None:
    spot = np.zeros((41, 41), np.uint8)
    spot[20, 20] = 255
    sigmas = []
    for seed in range(100):
        found = luma_of(spot, seed, blur=2.0).astype(float)
        rows = found.sum(axis=1)
        sigmas.append(np.sqrt((rows * (np.arange(41) - 20) ** 2).sum() / rows.sum()))
    assert 1.7 < max(sigmas) < 2.2
    assert min(sigmas) < 0.3
    assert np.array_equal(screen.blurred(spot, 0.1), spot)


def test_one_rectangle_is_blanked_with_the_median() -> None:
    picture = cv2.GaussianBlur(rng(1).integers(0, 200, (61, 81), np.uint8), (5, 5), 2)
    shares, aspects = [], []
    for seed in range(200):
        found = screen.erased(picture, rng(seed))
        rows, columns = np.nonzero(found != picture)
        box = found[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == np.median(picture)).all()
        shares.append(box.size / picture.size)
        aspects.append(box.shape[0] / box.shape[1])
    assert 0.015 <= min(shares) < 0.03
    assert 0.13 < max(shares) <= 0.16
    assert min(aspects) < 0.4
    assert max(aspects) > 2.5


@pytest.mark.parametrize("shape", [(9, 301), (301, 9)])
def test_a_rectangle_that_is_too_long_keeps_its_area(shape: tuple[int, int]) -> None:
    # Bright and dark in turn, one bright place more: the median is bright, so the dark half of a rectangle changes.
    picture = np.where(np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2, 10, 200).astype(np.uint8)
    shares = np.array([2 * (screen.erased(picture, rng(seed)) != picture).mean() for seed in range(200)])
    assert (shares >= 0.01).all()
    assert (shares <= 0.17).all()
    assert shares.mean() == pytest.approx(0.085, abs=0.01)  # uniform in 2..15 %
