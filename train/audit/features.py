"""Local features of a picture, and candidates for copies from them: which pairs are worth an alignment."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse

LONG_SIDE = 320  # pixels that features and alignment see: speckle of neighbouring frames is blurred, tissue is not
FEATURES = 300
WORDS = 6000
PARTS = 48  # principal components of a descriptor
THUMBNAIL = 32
SHIFTS = (3, 16)  # of a thumbnail's pixels, down and across: the probe moves sideways


@dataclass(frozen=True)
class Structure:
    """A small picture with its local mean taken off and its local contrast set to one: (h, w) float32; `shown` is
    (h, w) uint8, 1 where there is contrast at all."""

    values: np.ndarray
    shown: np.ndarray


def structure(grey: np.ndarray) -> Structure:
    """What is left of an (h, w) uint8 picture when brightness, gain and gamma are taken away."""
    fine = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    mean = cv2.GaussianBlur(fine, (0, 0), 8)
    deviation = np.sqrt(np.maximum(cv2.GaussianBlur(fine * fine, (0, 0), 8) - mean * mean, 0))
    return Structure((fine - mean) / (deviation + 3), (deviation > 2).astype(np.uint8))


@dataclass(frozen=True)
class Features:
    """What the search for copies keeps of a picture.

    grey: (h, w) uint8, long side at most LONG_SIDE; scale: its pixels per pixel of the picture. points: (n, 2) float32
    x, y in it, strongest first, n at most FEATURES. descriptors: (n, 128) uint8 SIFT. thumbnail: (THUMBNAIL, THUMBNAIL)
    float32, without slow brightness changes, of length 1 (or zero for a blank picture).
    """

    grey: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray
    thumbnail: np.ndarray
    scale: float

    @cached_property
    def structure(self) -> Structure:
        """`structure` of the small picture, made when first asked for: most pictures are in many pairs."""
        return structure(self.grey)


def describe(luma: np.ndarray) -> Features:
    """Features of an (H, W) uint8 luma (SIFT: D. Lowe, IJCV 60, 2004)."""
    scale = min(1.0, LONG_SIDE / max(luma.shape))
    size = tuple(max(16, round(side * scale)) for side in luma.shape[::-1])
    grey = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    # A low contrast threshold: dark deep tissue must give features too. Which ones are kept is decided by strength.
    detector = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.01)
    found, descriptors = detector.detectAndCompute(grey, None)
    order = sorted(range(len(found)), key=lambda i: -found[i].response)[:FEATURES]
    points = np.array([found[i].pt for i in order], np.float32).reshape(-1, 2)
    kept = np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[order].astype(np.uint8)
    small = cv2.resize(luma, (2 * THUMBNAIL, 2 * THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), THUMBNAIL / 4)
    small = cv2.resize(small - small.mean(), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return Features(grey, points, kept, small / max(float(np.linalg.norm(small)), 1e-6), scale)


def mirrored(descriptors: np.ndarray) -> np.ndarray:
    """The SIFT descriptors that the mirror image would have: (n, 128) -> (n, 128).

    A descriptor is 4 rows x 4 columns x 8 orientations relative to the keypoint's own direction; mirroring reverses
    the rows across that direction and the sense of the orientations.
    """
    cells = descriptors.reshape(-1, 4, 4, 8)
    return cells[:, ::-1][..., -np.arange(8) % 8].reshape(-1, 128)


def rooted(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT (Arandjelovic and Zisserman, CVPR 2012): (n, 128) -> (n, 128) float32 of length 1."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1e-6))


def word_similarity(features: list[Features], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How many rare local features each two pictures share: two (N, N) float32 of 0..1, upright and mirrored.

    Cosine of tf-idf weighted bags of visual words (J. Sivic and A. Zisserman, "Video Google", ICCV 2003). The words
    are descriptors of the data set itself, drawn with `seed`; each descriptor counts for its two nearest words. What
    stands in most pictures (logos, scales) weighs next to nothing.
    """
    count = len(features)
    owner = np.repeat(np.arange(count), [len(one.points) for one in features])
    if not len(owner):
        return np.zeros((count, count), np.float32), np.zeros((count, count), np.float32)
    stacked = np.concatenate([one.descriptors for one in features])
    upright, flipped = rooted(stacked), rooted(mirrored(stacked))
    rng = np.random.default_rng(seed)
    mean = upright.mean(0)
    sample = upright[rng.choice(len(upright), min(len(upright), 10_000), replace=False)] - mean
    axes = np.linalg.eigh(sample.T @ sample)[1][:, -PARTS:]
    upright, flipped = ((values - mean) @ axes for values in (upright, flipped))
    words = upright[rng.choice(len(upright), min(len(upright), WORDS), replace=False)]
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-6)
    bags = [_bag(values, owner, words, count) for values in (upright, flipped)]
    seen = np.maximum((bags[0] > 0).sum(0), 1)
    weights = sparse.diags_array(np.log(count / np.asarray(seen).ravel()))
    one, two = (_unit_rows(bag @ weights) for bag in bags)
    same, mirror = (one @ one.T).toarray(), (one @ two.T).toarray()
    return same.astype(np.float32), np.maximum(mirror, mirror.T).astype(np.float32)


def thumbnail_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The best correlation of each two thumbnails over all SHIFTS: (N, s, s) and (M, s, s) -> (N, M) float32.

    Weighted by the root of the overlap, because little overlap correlates by chance.
    """
    side = first.shape[1]
    best = np.full((len(first), len(second)), -1, np.float32)
    for down in range(-SHIFTS[0], SHIFTS[0] + 1):
        for across in range(-SHIFTS[1], SHIFTS[1] + 1):
            parts = []
            for stack, y, x in ((first, down, across), (second, -down, -across)):
                part = stack[:, max(0, y) : side + min(0, y), max(0, x) : side + min(0, x)].reshape(len(stack), -1)
                parts.append(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6))
            weight = ((side - abs(down)) * (side - abs(across))) ** 0.5 / side
            np.maximum(best, weight * (parts[0] @ parts[1].T), out=best)
    return best


def _bag(values: np.ndarray, owner: np.ndarray, words: np.ndarray, count: int) -> sparse.csr_array:
    nearest = np.empty((len(values), 2), int)
    for start in range(0, len(values), 4096):
        scores = values[start : start + 4096] @ words.T
        rows = np.arange(len(scores))
        for rank in range(2):
            best = scores.argmax(1)
            nearest[start : start + 4096, rank] = best
            scores[rows, best] = -np.inf
    shape = (count, len(words))
    return sparse.coo_array((np.tile([1.0, 0.7], len(owner)), (np.repeat(owner, 2), nearest.ravel())), shape).tocsr()


def _unit_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return sparse.diags_array(1 / np.maximum(length, 1e-9)) @ matrix
