"""The verified measure: align two pictures, then ask how much of the fine structure agrees in the overlap."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.fft import irfft2, rfft2

from train.audit.features import Features, Structure, mirrored, rooted

MIN_INLIERS = 8  # feature matches that one affine map explains; unrelated pairs reach 8 in one case of a hundred
MIN_OVERLAP = 0.2  # of the smaller picture's structured area
TILE = 32  # pixels of the small picture
MIN_TILES = 12  # that do not overlap each other: fewer cannot tell likeness from chance
_NOWHERE = np.float32([[1, 0, 0], [0, 1, 0]])


@dataclass(frozen=True)
class Alignment:
    """How well a picture a fits on a picture b.

    similarity: lower limit of the median over tiles of the zero-normalised cross-correlation, 0..1; 0 when nothing
    agrees or no overlap was found.
    overlap: share of the smaller picture's structured area that both show. matrix: (2, 3), maps x, y of b's small
    picture to a's (of the mirrored a, when `mirror`). inliers: feature matches behind it, 0 when it started from the
    frames.
    """

    similarity: float
    overlap: float
    matrix: np.ndarray
    mirror: bool
    inliers: int


def flip(features: Features) -> Features:
    """The features of the mirror image."""
    points = features.points.copy()
    points[:, 0] = features.grey.shape[1] - 1 - points[:, 0]
    grey, thumbnail = (np.ascontiguousarray(one[:, ::-1]) for one in (features.grey, features.thumbnail))
    return Features(grey, points, mirrored(features.descriptors), thumbnail, features.scale)


def _flipped(one: Structure) -> Structure:
    return Structure(np.ascontiguousarray(one.values[:, ::-1]), np.ascontiguousarray(one.shown[:, ::-1]))


def align(first: Features, second: Features, mirror: bool = False, frames: bool = True) -> Alignment:
    """Try to lay `first` (its mirror image, with `mirror`) on `second`; returns the best of several ways.

    One way starts from feature matches (RANSAC, affine); with `frames`, another from stretching one frame onto the
    other and a third from the shift at which the two correlate most. All are refined by maximising the enhanced
    correlation coefficient (G. Evangelidis and E. Psarakis, IEEE PAMI 30, 2008), first on half-size pictures.
    """
    one = flip(first) if mirror else first
    start, inliers = match(one, second)
    best = Alignment(0.0, 0.0, _NOWHERE, mirror, inliers)
    matched = start is not None and inliers >= MIN_INLIERS
    if not (matched or frames):
        return best
    a, b = _flipped(first.structure) if mirror else first.structure, second.structure
    if matched:
        best = max(best, _refined(a, b, start, mirror, inliers), key=lambda found: found.similarity)
    if frames and best.similarity < 0.5:
        (ha, wa), (hb, wb) = one.grey.shape, second.grey.shape
        stretch = np.float32([[wa / wb, 0, 0], [0, ha / hb, 0]])
        starts = [stretch, *_shifts(a, b, first.scale / second.scale)]
        best = max([best, *(_refined(a, b, start, mirror, 0) for start in starts)], key=lambda found: found.similarity)
    return best


def _shifts(a: Structure, b: Structure, zoom: float, count: int = 1) -> list[np.ndarray]:
    """The `count` shifts at which a and b correlate most, both at the scale of their original pixels."""
    zooms = (0.5 / zoom, 0.5) if zoom > 1 else (0.5, 0.5 * zoom)  # half-size pictures of one scale
    small = [
        cv2.resize(one.values * one.shown, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        for one, factor in zip((a, b), zooms)
    ]
    height, width = (cv2.getOptimalDFTSize(small[0].shape[axis] + small[1].shape[axis]) for axis in (0, 1))
    spectra = [rfft2(one, (height, width)) for one in small]
    scores = irfft2(spectra[0] * np.conj(spectra[1]), (height, width))
    found = []
    for _ in range(count):
        y, x = np.unravel_index(scores.argmax(), scores.shape)
        scores[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7] = -np.inf
        y, x = y - height * (y > height // 2), x - width * (x > width // 2)
        found.append(np.float32([[zoom, 0, x / zooms[0]], [0, zoom, y / zooms[0]]]))
    return found


def match(first: Features, second: Features) -> tuple[np.ndarray | None, int]:
    """An affine map from `second` to `first` by mutual nearest features, and how many of them agree with it."""
    if min(len(first.points), len(second.points)) < 4:
        return None, 0
    scores = rooted(second.descriptors) @ rooted(first.descriptors).T
    nearest = scores.argmax(1)
    rows = np.arange(len(nearest))
    strength = np.where(scores.argmax(0)[nearest] == rows, scores[rows, nearest], 0)
    chosen = np.argsort(-strength, kind="stable")[: min(120, int((strength > 0.8).sum()))]
    if len(chosen) < 4:
        return None, 0
    cv2.setRNGSeed(0)  # RANSAC draws from a global generator: the same pair must give the same answer
    matrix, agree = cv2.estimateAffine2D(
        second.points[chosen], first.points[nearest[chosen]], method=cv2.RANSAC, ransacReprojThreshold=4, maxIters=1000
    )
    return (None, 0) if matrix is None or not plausible(matrix) else (matrix.astype(np.float32), int(agree.sum()))


def plausible(matrix: np.ndarray) -> bool:
    """Whether a (2, 3) affine map is one by which pictures are copied: scale 1/4..4, little shear or turn."""
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) <= 0:
        return False
    large, little = np.linalg.svd(matrix[:, :2])[1]
    return large < 4 and little > 0.25 and large / little < 1.6 and abs(turn(matrix)) < 25


def turn(matrix: np.ndarray) -> float:
    """Rotation of a (2, 3) affine map in degrees."""
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def _refined(a: Structure, b: Structure, start: np.ndarray, mirror: bool, inliers: int) -> Alignment:
    """Refine on half-size pictures, stop there when nothing agrees, else refine on the small pictures themselves."""
    lost = Alignment(0.0, 0.0, _NOWHERE, mirror, inliers)
    half = [cv2.resize(one.values, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in (a, b)]
    coarse = _ecc(half[0], half[1], _shift(start, 0.5), 40, 5)
    if coarse is None:
        return lost
    coarse = _shift(coarse, 2.0)
    rough, overlap = agreement(a, b, coarse)
    if rough < 0.1:
        return Alignment(rough, overlap, coarse, mirror, inliers)
    fine = _ecc(a.values, b.values, coarse, 40, 3)
    if fine is None:
        return Alignment(rough, overlap, coarse, mirror, inliers)
    better, seen = agreement(a, b, fine)
    kept = (better, seen, fine) if better > rough else (rough, overlap, coarse)
    return Alignment(*kept, mirror, inliers)


def _shift(matrix: np.ndarray, scale: float) -> np.ndarray:
    """The same map for pictures of `scale` times the size."""
    other = matrix.astype(np.float32)
    other[:, 2] *= scale
    return other


def _ecc(a: np.ndarray, b: np.ndarray, start: np.ndarray, rounds: int, blur: int) -> np.ndarray | None:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, rounds, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(b, a, start.copy(), cv2.MOTION_AFFINE, criteria, None, blur)
    except cv2.error:  # it does not converge: the pictures do not overlap, or show nothing alike
        return None
    return matrix if plausible(matrix) else None


def agreement(a: Structure, b: Structure, matrix: np.ndarray) -> tuple[float, float]:
    """Similarity and overlap of a laid on b by `matrix`; (0, 0) when they overlap too little.

    Similarity is the median over tiles less three of its standard errors (1.2533 sigma / sqrt(n), n tiles that do not
    overlap): where little is seen in common, an alignment can always be found that agrees by chance.

    The median over tiles is blind to what stands in less than half of them: calipers, text, logos and scales, present
    in one picture only or burned into both.
    """
    size = b.values.shape[::-1]
    laid = cv2.warpAffine(a.values, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    shown = cv2.warpAffine(a.shown, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) & b.shown
    area = min(a.shown.sum() / max(abs(np.linalg.det(matrix[:, :2])), 1e-6), float(b.shown.sum()))
    overlap = float(shown.sum()) / max(area, 1.0)
    weight = shown.astype(np.float32)
    x, y = laid * weight, b.values * weight
    count, sx, sy, sxx, syy, sxy = (_tiles(one) for one in (weight, x, y, x * x, y * y, x * y))
    used = count > 0.4 * TILE * TILE
    independent = float(shown.sum()) / (TILE * TILE)
    if independent < MIN_TILES or overlap < MIN_OVERLAP or not used.any():
        return 0.0, 0.0
    n = count[used]
    vx, vy = sxx[used] - sx[used] ** 2 / n, syy[used] - sy[used] ** 2 / n
    both = (sxy[used] - sx[used] * sy[used] / n) / np.sqrt(np.maximum(vx * vy, 1e-6))
    middle = float(np.median(both))
    spread = 1.4826 * float(np.median(np.abs(both - middle)))
    return max(0.0, middle - 3 * 1.2533 * spread / independent**0.5), min(overlap, 1.0)


def _tiles(values: np.ndarray) -> np.ndarray:
    """Sums over TILE x TILE tiles that overlap by half."""
    sums = cv2.boxFilter(values, -1, (TILE, TILE), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return sums[TILE // 2 :: TILE // 2, TILE // 2 :: TILE // 2]
