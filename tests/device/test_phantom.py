"""The phantoms: repeatable, speckle as theory has it, lesion signs as the lexicon has them, always marked."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import UserError
from device.phantom import (
    CLASSES,
    MIN_SIDE_PX,
    RAYLEIGH_SNR,
    SYNTHETIC_NOTE,
    log_compress,
    make_phantom,
    speckle_envelope,
)
from device.phantom_clip import CLIP_PERIOD_S, PhantomClip

SMALL = (96, 128)
sizes = st.tuples(st.integers(MIN_SIDE_PX, 160), st.integers(MIN_SIDE_PX, 200))
seeds = st.integers(0, 2**64)


@pytest.fixture(scope="module")
def clip() -> PhantomClip:
    return PhantomClip(seed=3, size=SMALL, fps=10.0)


@given(st.sampled_from(CLASSES), seeds, sizes)
@settings(max_examples=30, deadline=None)
def test_a_phantom_is_repeatable_well_formed_and_masked_exactly_when_it_has_a_lesion(label, seed, size):
    first, second = make_phantom(label, seed, size), make_phantom(label, seed, size)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.mask.tobytes() == second.mask.tobytes()
    assert first.image.shape == first.mask.shape == size
    assert (first.image.dtype, first.mask.dtype, first.label) == (np.uint8, np.bool_, label)
    assert first.mask.any() == (label != "normal")
    border = np.concatenate([first.mask[[0, -1]].ravel(), first.mask[:, [0, -1]].ravel()])
    assert not border.any()  # the lesion lies in the picture as a whole, so its mask is exact


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_a_picture_much_taller_than_wide_still_holds_its_lesion(label):
    for seed in range(8):
        mask = make_phantom(label, seed, (400, 80)).mask
        assert mask.any()
        assert not mask[:, [0, -1]].any()


def test_seeds_give_pictures_of_their_own():
    assert len({make_phantom(label, seed, SMALL).image.tobytes() for label in CLASSES for seed in range(5)}) == 15


def test_labels_of_one_seed_share_no_tissue():
    """Otherwise the three pictures of a seed would be near-copies, and a split by picture would leak."""

    def texture(label: str, seed: int) -> np.ndarray:
        smooth = cv2.blur(make_phantom(label, seed).image[20:340], (15, 5)).astype(np.float32)
        return np.diff(smooth[:, ::15], axis=1).ravel()  # along a row: the layers all pictures share cancel

    for seed in range(4):
        for one, other in itertools.combinations(CLASSES, 2):
            assert abs(np.corrcoef(texture(one, seed), texture(other, seed))[0, 1]) < 0.25


def test_speckle_of_homogeneous_tissue_is_rayleigh_before_log_compression():
    envelope = speckle_envelope(np.random.default_rng(1), np.zeros((512, 640), np.float32), px_per_mm=10.0)
    assert envelope.mean() / envelope.std() == pytest.approx(RAYLEIGH_SNR, abs=0.06)
    assert RAYLEIGH_SNR == pytest.approx(1.91, abs=0.005)
    assert np.mean(envelope**2) == pytest.approx(1.0, abs=0.05)  # holds where the beam is narrow ...
    assert np.mean(envelope[-64:] ** 2) == pytest.approx(1.0, abs=0.15)  # ... and where it is wide
    # Rayleigh with unit power: P(envelope > t) = exp(-t^2).
    for threshold in (0.5, 1.0, 1.5):
        assert np.mean(envelope > threshold) == pytest.approx(np.exp(-(threshold**2)), abs=0.02)


def test_resolution_is_finer_along_the_beam_than_across_and_worsens_with_depth():
    envelope = speckle_envelope(np.random.default_rng(2), np.zeros((512, 512), np.float32), px_per_mm=12.0)

    def correlation(part: np.ndarray, down: int, across: int) -> float:
        rows, columns = part.shape
        a, b = part[: rows - down, : columns - across], part[down:, across:]
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    shallow, deep = envelope[:128], envelope[-128:]
    assert correlation(shallow, 3, 0) < correlation(shallow, 0, 3) < correlation(deep, 0, 3)


@given(st.floats(-20.0, 20.0))
@settings(max_examples=15, deadline=None)
def test_echogenicity_scales_the_envelope_in_decibel(gain_db):
    flat = np.zeros((64, 80), np.float32)
    base = speckle_envelope(np.random.default_rng(5), flat, 8.0)
    louder = speckle_envelope(np.random.default_rng(5), flat + np.float32(gain_db), 8.0)
    np.testing.assert_allclose(louder, base * 10.0 ** (gain_db / 20.0), rtol=1e-3, atol=1e-6)


def test_log_compression_maps_the_dynamic_range_onto_the_luma_range():
    decibel = np.array([30.0, 20.0, -7.5, -35.0, -80.0])
    luma = [log_compress(np.full((4, 4), 10 ** (d / 20), np.float32), 55.0)[1, 1] for d in decibel]
    assert luma == [255, 255, 128, 0, 0]


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_benign_lies_wider_than_tall_and_malignant_stands_taller_than_wide(seed):
    for label, wider in (("benign", True), ("malignant", False)):
        top, bottom, left, right = _extent(make_phantom(label, seed, (192, 256)).mask)
        assert (right - left > bottom - top) == wider


def _solidity(mask: np.ndarray) -> float:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = np.vstack(contours)
    return float(sum(map(cv2.contourArea, contours)) / cv2.contourArea(cv2.convexHull(points)))


def test_malignant_outlines_are_less_convex_than_every_benign_one():
    benign = [_solidity(make_phantom("benign", seed).mask) for seed in range(15)]
    malignant = [_solidity(make_phantom("malignant", seed).mask) for seed in range(15)]
    assert min(benign) > 0.95
    assert max(malignant) < min(benign)
    assert np.mean(malignant) < 0.9


def _behind_minus_beside(label: str, seed: int, near: int, far: int) -> float:
    """Grey levels by which tissue `near` to `far` px below a lesion differs from what lies beside it."""
    picture = make_phantom(label, seed)
    _, bottom, left, right = _extent(picture.mask)
    rows = slice(bottom + near, bottom + far)
    quarter = (right - left) // 4
    behind = picture.image[rows, left + quarter : right - quarter]
    beside = np.hstack([picture.image[rows, left - 55 : left - 15], picture.image[rows, right + 15 : right + 55]])
    return float(behind.mean()) - float(beside.mean())


@pytest.mark.parametrize(("near", "far"), [(8, 24), (40, 64)])  # about 1 to 2 mm and 4 to 6 mm below
def test_posterior_shadow_behind_malignant_and_enhancement_behind_benign(near, far):
    benign = [_behind_minus_beside("benign", seed, near, far) for seed in range(16)]
    malignant = [_behind_minus_beside("malignant", seed, near, far) for seed in range(16)]
    assert np.mean(benign) > 15.0
    assert np.mean(malignant) < -15.0


def test_lesions_are_darker_than_the_tissue_around_them_in_both_classes():
    for label in ("benign", "malignant"):
        contrast = []
        for seed in range(12):
            picture = make_phantom(label, seed)
            ring = cv2.dilate(picture.mask.astype(np.uint8), np.ones((81, 81), np.uint8)) > picture.mask
            contrast.append(picture.image[picture.mask].mean() - picture.image[ring].mean())
        assert np.mean(contrast) < -30.0


def test_no_global_brightness_statistic_separates_two_classes():
    """A classifier that only looks at the histogram must not do well: the signs are in shape and place."""
    count = 60
    table = {}
    for label in CLASSES:
        images = [make_phantom(label, seed, SMALL).image for seed in range(count)]
        table[label] = np.array([[i.mean(), i.std(), *np.percentile(i, (5, 25, 50, 75, 95))] for i in images])
    for one, other in (("benign", "malignant"), ("benign", "normal"), ("malignant", "normal")):
        for a, b in zip(table[one].T, table[other].T):
            cuts = np.concatenate([a, b])[:, None]
            right = ((a > cuts).sum(axis=1) + (b <= cuts).sum(axis=1)) / (2 * count)
            assert max(right.max(), 1.0 - right.min()) < 0.8


@given(sizes, seeds)
@settings(max_examples=15, deadline=None)
def test_the_burned_in_word_is_the_same_in_every_class_and_covers_no_lesion(size, seed):
    pictures = [make_phantom(label, seed, size) for label in CLASSES]
    corner = np.s_[-10:-1, 1:56]  # scale 1 at these sizes: nine 5 x 7 letters on black
    for picture in pictures:
        np.testing.assert_array_equal(picture.image[corner], pictures[0].image[corner])
        assert not picture.mask[corner].any()
    word = pictures[0].image[corner]
    assert set(np.unique(word)) == {0, 200}
    assert (word[1:8, 19:24] == 200).sum() == 11  # the T: a bar of five and a stem of six
    assert "synthetic" in SYNTHETIC_NOTE


def test_a_clip_is_repeatable_in_any_order(clip):
    again = PhantomClip(seed=3, size=SMALL, fps=10.0)
    for index in (200, 0, 37, 200):
        one, other = clip.frame(index), again.frame(index)
        assert one.image.tobytes() == other.image.tobytes()
        assert one.mask.tobytes() == other.mask.tobytes()
        one.image[:] = 0  # a frame is the caller's to change: the clip keeps no hold of it
    assert PhantomClip(seed=4, size=SMALL).frame(0).image.tobytes() != again.frame(0).image.tobytes()


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_neighbouring_frames_of_a_clip_differ(clip, index):
    assert clip.frame(index).image.tobytes() != clip.frame(index + 1).image.tobytes()


def test_frames_differ_where_the_probe_turns_round(clip):
    turn = round(CLIP_PERIOD_S / 2 * 10.0)
    near = [clip.frame(index).image.tobytes() for index in range(turn - 4, turn + 5)]
    assert len(set(near)) == len(near)


def test_a_clip_shows_every_class_and_its_mask_agrees_with_its_label(clip):
    frames = [clip.frame(index) for index in range(round(CLIP_PERIOD_S / 2 * 10.0))]
    labels = [frame.label for frame in frames]
    assert {label: labels.count(label) > 20 for label in CLASSES} == dict.fromkeys(CLASSES, True)
    assert labels[0] == labels[-1] == "normal"
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    assert changes == 8  # four lesions drift in and out, with normal tissue between any two
    for frame in frames:
        assert frame.image.shape == frame.mask.shape == SMALL
        assert (frame.image.dtype, frame.mask.dtype) == (np.uint8, np.bool_)
        assert frame.mask.any() == (frame.label != "normal")


def test_a_clip_lesion_counts_from_half_its_area_and_has_the_shape_of_its_label(clip):
    frames = [clip.frame(index) for index in range(round(CLIP_PERIOD_S / 2 * 10.0))]
    for label, run in itertools.groupby(frames, key=lambda frame: frame.label):
        if label == "normal":
            continue
        masks = [frame.mask for frame in run]
        areas = np.array([mask.sum() for mask in masks])
        whole = masks[int(np.argmax(areas))]
        top, bottom, left, right = _extent(whole)
        assert (right - left > bottom - top) == (label == "benign")
        for edge in (areas[0], areas[-1]):  # the frames in which it drifts in and out
            assert 0.5 <= edge / areas.max() < 0.75


def test_the_probe_moves_at_the_same_speed_at_every_frame_rate(clip):
    slow = PhantomClip(seed=3, size=SMALL, fps=5.0)
    for index in range(0, 240, 7):
        np.testing.assert_array_equal(slow.frame(index).mask, clip.frame(2 * index).mask)


def test_clip_frames_carry_the_burned_in_word(clip):
    corner = np.s_[-10:-1, 1:56]
    word = make_phantom("normal", 0, SMALL).image[corner]
    for index in (0, 100, 239):
        np.testing.assert_array_equal(clip.frame(index).image[corner], word)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cyst", 0), "'cyst'.*benign, malignant, normal"),
        (("benign", -1), "seed is -1"),
        (("benign", 1.5), "seed 1.5"),
        (("benign", 0, (63, 512)), "63x512.*64"),
        (("benign", 0, (384, 0)), "384x0"),
        (("benign", 0, (384, -512)), "384x-512"),
        (("benign", 0, (384,)), r"\(384,\)"),
        (("benign", 0, 384), "384.*height, width"),
        (("benign", 0, (384.0, 512)), "384.0"),
    ],
)
def test_make_phantom_names_the_bad_argument(arguments, said):
    with pytest.raises(UserError, match=said):
        make_phantom(*arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -2}, "seed is -2"),
        ({"size": (480, 10)}, "480x10"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"fps": -30}, "fps is -30"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": float("inf")}, "fps is inf"),
        ({"fps": "30"}, "fps is '30'"),
    ],
)
def test_a_clip_names_the_bad_argument(options, said):
    with pytest.raises(UserError, match=said):
        PhantomClip(**options)


@pytest.mark.parametrize(("index", "said"), [(-1, "index is -1"), (0.5, "index 0.5")])
def test_a_clip_names_the_bad_index(clip, index, said):
    with pytest.raises(UserError, match=said):
        clip.frame(index)
