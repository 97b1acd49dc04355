"""The verified measure: altered copies are found, unrelated pictures are not, whatever stands around them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from audit_pictures import furniture, tissue

from device.preprocess import read_picture, to_luma
from train.audit import pairs
from train.audit.align import align, match, plausible, turn
from train.audit.features import Features, describe, mirrored, structure, thumbnail_similarity, word_similarity
from train.audit.hashes import phash_bits
from train.audit.pairs import Candidate, candidates, verify
from train.audit.settings import Settings

LIMIT = Settings().similarity
ALTERED = {
    "crop": lambda p: p[40:200, 90:300],
    "mirror": lambda p: p[:, ::-1],
    "gamma": lambda p: (255 * (p / 255) ** 2).astype(np.uint8),
    "contrast": lambda p: cv2.convertScaleAbs(p, alpha=0.4, beta=60),
    "smaller": lambda p: cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "squashed": lambda p: cv2.resize(p, None, fx=0.8, fy=1.0, interpolation=cv2.INTER_AREA),
    "jpeg": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 0),
    "annotated": furniture,
    "mirrored crop": lambda p: p[20:220, 30:250][:, ::-1],
}


def altered(picture: np.ndarray, how: str) -> np.ndarray:
    return np.ascontiguousarray(ALTERED[how](picture))


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_copy_is_found(how: str) -> None:
    picture = tissue(1)
    mirror = "mirror" in how
    found = align(describe(picture), describe(altered(picture, how)), mirror=mirror, frames=False)
    assert found.similarity > 0.7
    assert found.mirror == mirror
    assert found.inliers >= 8
    other = align(describe(picture), describe(altered(picture, how)), mirror=not mirror)
    assert other.similarity < LIMIT


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_real_picture_is_found(shared_data: Path, how: str) -> None:
    for name in ("benign (201)", "malignant (60)", "normal (77)"):
        path = shared_data / "busi" / "Dataset_BUSI_with_GT" / name.split()[0] / f"{name}.png"
        picture = to_luma(read_picture(path))
        found = align(describe(picture), describe(altered(picture, how)), mirror="mirror" in how)
        assert found.similarity > 0.6, name


def test_the_alignment_tells_the_crop() -> None:
    picture = tissue(2)
    found = align(describe(picture), describe(picture[40:200, 90:300].copy()), frames=False)
    assert np.allclose(found.matrix, [[1, 0, 90], [0, 1, 40]], atol=0.5)
    assert found.overlap > 0.95
    turned = cv2.warpAffine(picture, cv2.getRotationMatrix2D((160, 120), 8, 1), (320, 240))
    assert turn(align(describe(picture), describe(turned)).matrix) == pytest.approx(8, abs=0.5)


def test_a_sideways_moved_view_is_found_without_feature_matches() -> None:
    wide = tissue(3, (240, 460))
    first, second = describe(wide[:, :320].copy()), describe(wide[:, 140:].copy())
    bare = [
        Features(one.grey, one.points[:0], one.descriptors[:0], one.thumbnail, one.scale) for one in (first, second)
    ]
    found = align(*bare)
    assert found.inliers == 0
    assert found.similarity > 0.7
    assert found.matrix[0, 2] == pytest.approx(140, abs=1)
    assert found.overlap < 0.7


def test_unrelated_pictures_stay_below_the_limit_also_in_the_same_frame() -> None:
    for seed in range(10, 16):
        for dress in (lambda picture: picture, furniture):
            first, second = describe(dress(tissue(seed))), describe(dress(tissue(seed + 100)))
            for mirror in (False, True):
                assert align(first, second, mirror).similarity < LIMIT


def test_a_blank_picture_is_like_nothing() -> None:
    blank = describe(np.full((240, 320), 80, np.uint8))
    for other in (blank, describe(tissue(4))):
        assert align(blank, other).similarity == 0
        assert match(blank, other) == (None, 0)


def test_too_small_a_picture_tells_nothing() -> None:
    small = describe(tissue(9, (96, 96)))  # nine tiles
    assert align(small, small).similarity == 0
    enough = describe(tissue(9, (128, 128)))
    assert align(enough, enough).similarity > 0.99


def test_brightness_gain_and_gamma_leave_the_structure() -> None:
    grey = tissue(5)
    plain, bent = structure(grey), structure(cv2.convertScaleAbs(grey, alpha=0.6, beta=70))
    assert np.corrcoef(plain.values.ravel(), bent.values.ravel())[0, 1] > 0.99
    assert structure(np.full((60, 60), 9, np.uint8)).shown.sum() == 0


def test_mirrored_descriptors_are_those_of_the_mirrored_picture() -> None:
    picture = tissue(6)
    one, two = describe(picture), describe(np.ascontiguousarray(picture[:, ::-1]))
    flipped = mirrored(one.descriptors).astype(float)
    close = 0
    for point, descriptor in zip(one.points, flipped):
        there = np.abs(two.points - [picture.shape[1] - 1 - point[0], point[1]]).max(1) < 0.6
        away = np.linalg.norm(two.descriptors[there].astype(float) - descriptor, axis=1)
        close += bool(len(away)) and bool(away.min() < 80)  # a descriptor is about 512 long
    assert close > 0.7 * len(one.points)
    assert np.array_equal(mirrored(mirrored(one.descriptors)), one.descriptors)


def test_only_maps_by_which_pictures_are_copied_are_plausible() -> None:
    wanted = [(1, 0, 0, 1, True), (2, 0, 0, 2, True), (1, 0, 0, 1.4, True)]
    wanted += [(-1, 0, 0, 1, False), (5, 0, 0, 5, False), (0.2, 0, 0, 0.2, False), (1, 0, 0, 2, False)]
    wanted += [(0, -1, 1, 0, False), (np.nan, 0, 0, 1, False)]
    for a, b, c, d, good in wanted:
        assert plausible(np.float32([[a, b, 3], [c, d, 4]])) == good, (a, b, c, d)


def test_thumbnails_are_compared_at_every_shift() -> None:
    wide = tissue(7, (240, 640))
    stack = [describe(one.copy()).thumbnail for one in (wide[:, :320], wide[:, 100:420], tissue(8))]
    scores = thumbnail_similarity(np.stack(stack), np.stack(stack))
    assert np.allclose(scores.diagonal(), 1, atol=1e-5)
    assert scores[0, 1] > 0.6 > 0.5 > scores[0, 2]
    assert scores[0, 1] == pytest.approx(scores[1, 0], abs=1e-5)


def test_among_many_pictures_the_nets_choose_the_copies_and_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "SMALL", 20)
    pictures = [tissue(seed, (200, 280)) for seed in range(32)]
    pictures[20] = pictures[3][20:180, 40:250].copy()
    pictures[30] = np.ascontiguousarray(pictures[5][10:180, 20:250][:, ::-1])
    features = [describe(picture) for picture in pictures]
    bits, mirror_bits = (np.stack(one) for one in zip(*(phash_bits(picture) for picture in pictures)))
    chosen = candidates(features, bits, mirror_bits)
    assert len(chosen) < 32 * 31 * 0.4
    assert {(one.a, one.b) for one in chosen} >= {(3, 20), (5, 30)}
    seen = []
    found = verify(features, chosen, 1, seen.append)
    assert sum(seen) == len(found) == len(chosen)
    near = {(one.a, one.b, one.mirror) for one, result in found if result.similarity >= LIMIT}
    assert near == {(3, 20, False), (5, 30, True)}
    assert candidates(features[:5], bits[:5], mirror_bits[:5]) == [
        Candidate(a, b, mirror, True) for a in range(5) for b in range(a + 1, 5) for mirror in (False, True)
    ]


def test_word_similarity_ignores_what_stands_in_every_picture() -> None:
    pictures = [furniture(tissue(seed)) for seed in range(20)]
    pictures.append(furniture(tissue(3)[20:200, 40:280].copy()))
    upright, mirror = word_similarity([describe(picture) for picture in pictures])
    assert np.allclose(upright.diagonal(), 1, atol=1e-4)
    assert upright[20].argsort()[-2] == 3
    assert np.median(upright[:20, :20][np.triu_indices(20, 1)]) < 0.05
    assert np.array_equal(mirror, mirror.T)
    blank = describe(np.zeros((64, 64), np.uint8))
    assert word_similarity([blank, blank])[0].tolist() == [[0, 0], [0, 0]]
