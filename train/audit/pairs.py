"""From features to pairs: cheap wide nets choose pairs, alignment verifies them, in parallel processes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from train.audit.align import Alignment, align
from train.audit.features import Features, thumbnail_similarity, word_similarity
from train.audit.hashes import hamming

WIDE_HAMMING = 10  # of the net; the pairs it brings in are verified
SMALL = 60  # pictures up to which every pair is aligned
CHUNK = 64


@dataclass(frozen=True, order=True)
class Candidate:
    """Pictures a < b to align; mirror: a's mirror image; frames: also try to start without feature matches."""

    a: int
    b: int
    mirror: bool
    frames: bool


def candidates(
    features: list[Features], bits: np.ndarray, mirror_bits: np.ndarray, hamming_limit: int = 4
) -> list[Candidate]:
    """The union of three nets, each upright and mirrored; sorted.

    bits, mirror_bits: (N, 64) bool, pHash of the pictures and of their mirror images. Nets: pHash up to WIDE_HAMMING
    (or `hamming_limit`, when that is more); the N (mirrored: N / 2) pairs whose thumbnails correlate most at any
    shift; the 4 N (mirrored: 2 N) pairs that share most rare local features, which is what finds crops. A data set of
    up to SMALL pictures has every pair looked at.
    """
    count = len(features)
    upper = np.triu_indices(count, 1)
    if count <= SMALL:
        return [Candidate(int(a), int(b), mirror, True) for a, b in zip(*upper) for mirror in (False, True)]
    thumbnails = np.stack([one.thumbnail for one in features])
    words = word_similarity(features)
    chosen: dict[tuple[int, int, bool], bool] = {}
    for mirror in (False, True):
        share = 0.5 if mirror else 1.0
        near = hamming(mirror_bits if mirror else bits, bits)[upper] <= max(WIDE_HAMMING, hamming_limit)
        turned = thumbnails[:, :, ::-1] if mirror else thumbnails
        alike = _top(thumbnail_similarity(turned, thumbnails), upper, int(share * count))
        shared = _top(words[mirror], upper, int(4 * share * count))
        for net, frames in ((shared, False), (near | alike, True)):
            for a, b in zip(upper[0][net], upper[1][net]):
                chosen[int(a), int(b), mirror] = frames
    return sorted(Candidate(*key, frames) for key, frames in chosen.items())


def _top(scores: np.ndarray, upper: tuple[np.ndarray, np.ndarray], count: int) -> np.ndarray:
    values = scores[upper]
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-values, kind="stable")[:count]] = True
    return chosen


def verify(
    features: list[Features], chosen: Iterable[Candidate], jobs: int, progress: Callable[[int], object]
) -> list[tuple[Candidate, Alignment]]:
    """Align every candidate; `progress` is called with the number of pairs done since the last call."""
    from joblib import Parallel, delayed

    chosen = list(chosen)
    work = []
    for start in range(0, len(chosen), CHUNK):
        part = chosen[start : start + CHUNK]
        needed = {index: features[index] for one in part for index in (one.a, one.b)}
        work.append(delayed(_align_all)(needed, part))
    found = []
    for part in Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2*n_jobs")(work):
        found += part
        progress(len(part))
    return found


def _align_all(features: dict[int, Features], part: list[Candidate]) -> list[tuple[Candidate, Alignment]]:
    import cv2

    cv2.setNumThreads(1)
    return [(one, align(features[one.a], features[one.b], one.mirror, one.frames)) for one in part]
