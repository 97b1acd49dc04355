"""What counts as another picture, as movement and as the same picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.phantom_clip import PhantomClip
from device.preprocess import Preprocess, prepare, read_picture
from device.scene import SIDE, SceneLimits, Watch, thumbnail

LIMITS = SceneLimits()
INPUT = Preprocess(height=224, width=224)
RNG = np.random.default_rng(4)


def noisy(picture: np.ndarray, strength: float) -> np.ndarray:
    return np.clip(picture + RNG.normal(0, strength, picture.shape), 0, 255).astype(np.uint8)


def some_of_busi(shared_data: Path, count: int) -> list[np.ndarray]:
    paths = sorted(p for p in (shared_data / "busi").rglob("*.png") if "_mask" not in p.name)
    return [read_picture(path) for path in paths[:: len(paths) // count]]


def test_a_thumbnail_holds_the_means_of_areas() -> None:
    luma = RNG.integers(0, 256, (224, 224), np.uint8)
    wanted = luma.reshape(SIDE, 14, SIDE, 14).mean(axis=(1, 3))
    assert thumbnail(luma) == pytest.approx(wanted, abs=1e-3)


def test_the_first_frame_is_compared_with_none() -> None:
    watch = Watch(LIMITS)
    first, same = (watch.see(np.full((64, 64), 90, np.uint8)) for _ in range(2))
    assert (first.difference, first.drift) == (None, 0.0)
    assert (same.difference, same.drift) == (0.0, 0.0)
    darker = watch.see(np.full((64, 64), 60, np.uint8))
    assert (darker.difference, darker.drift) == (30.0, 0.0), "the darker one is what the next is compared with"


def test_a_slow_movement_adds_up() -> None:
    watch, drifts = Watch(LIMITS), []
    for level in range(40):  # a sixth of a grey level each, as dithered by a grabber
        picture = np.full((96, 96), 100, np.uint8)
        picture.ravel()[:: 6 - level % 6] += 1
        drifts.append(watch.see(picture + level // 6).drift)
    assert max(drifts) <= LIMITS.still
    assert sum(drift == 0.0 for drift in drifts[1:]) >= 6, "over and over it counts as moved"


def test_real_pictures_are_told_apart_and_noise_is_not_movement(shared_data: Path) -> None:
    pictures = some_of_busi(shared_data, 60)
    watch = Watch(LIMITS)
    differences = [watch.see(prepare(picture, INPUT)).difference for picture in pictures]
    assert min(differences[1:]) > LIMITS.new
    for picture in pictures[:12]:
        watch = Watch(LIMITS)
        drifts = [watch.see(prepare(noisy(picture, 10.0), INPUT)).drift for _ in range(10)]
        assert 0 < max(drifts) < LIMITS.still


def test_a_probe_that_moves_is_neither_another_picture_nor_a_frozen_one(shared_data: Path) -> None:
    for picture in some_of_busi(shared_data, 12):
        watch = Watch(LIMITS)
        for shift in range(0, 60, 20):  # pixels to the side, from frame to frame
            moved = cv2.warpAffine(picture, np.float32([[1, 0, shift], [0, 1, 0]]), picture.shape[1::-1])
            change = watch.see(prepare(moved, INPUT))
            assert shift == 0 or LIMITS.still < change.difference < LIMITS.new
            assert change.drift == 0.0


def test_a_phantom_clip_moves_throughout() -> None:
    clip, watch = PhantomClip(2, fps=30.0), Watch(LIMITS)
    changes = [watch.see(prepare(clip.frame(n).image, INPUT)) for n in range(90)]
    assert max(change.difference for change in changes[1:]) < LIMITS.new
    same, longest = 0, 0
    for change in changes:
        same = 0 if change.drift == 0.0 else same + 1
        longest = max(longest, same)
    assert longest < 30 * LIMITS.still_s, "it must never be taken for frozen"


@given(still=st.floats(-5, 300), new=st.floats(-5, 300), seconds=st.floats(-1, 5))
@settings(max_examples=60)
def test_limits_that_contradict_each_other_are_refused(still: float, new: float, seconds: float) -> None:
    if 0 <= still < new <= 255 and seconds >= 0:
        SceneLimits(new, still, seconds)
        return
    with pytest.raises(ValueError, match="a scene needs"):
        SceneLimits(new, still, seconds)
