"""Which pairs of pictures are copies, by hash, by measure and by review, and the groups they make."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from train.audit import groups, hashes, pairs
from train.audit.align import Alignment, turn
from train.audit.look import Look
from train.audit.reviewed import Review, decided
from train.audit.settings import Settings
from train.data.busi import Picture

RELATIONS = ("exact", "phash", "verified", "reviewed")
DOUBTFUL = 0.5  # of the similarity limit: pairs from there up to the limit are listed to be looked at


@dataclass(frozen=True)
class Pair:
    """Two pictures a < b (indices). relation: how they were found, the strongest of RELATIONS. alignment: None where
    the pair was not aligned. zoom: original pixels of b for one of a where both small pictures have the same scale.
    why: of a review."""

    a: int
    b: int
    relation: str
    hamming: int
    alignment: Alignment | None
    zoom: float = 1.0
    why: str = ""

    @property
    def similarity(self) -> float | None:
        """Of the alignment; None where there is none."""
        return None if self.alignment is None else self.alignment.similarity

    @property
    def mirrored(self) -> bool | None:
        """Whether one is the mirror image of the other; None for frames that no map lays on each other."""
        return None if self.alignment is None or self.relation == "reviewed" else self.alignment.mirror

    def transform(self) -> str:
        """In words, how b differs from a: `mirrored, scaled 0.80 x 0.80, overlap 61 %`, or `in place`."""
        found = self.alignment
        if found is None or self.relation == "reviewed":  # no map lays one frame of a lesion on another
            return "another frame"
        words = ["mirrored"] if found.mirror else []
        x, y = (self.zoom / max(float(np.linalg.norm(found.matrix[:, column])), 1e-6) for column in (0, 1))
        if max(abs(x - 1), abs(y - 1)) > 0.03:
            words.append(f"scaled {x:.2f} x {y:.2f}")
        if abs(turn(found.matrix)) > 2:
            words.append(f"turned {turn(found.matrix):.0f} degrees")
        if found.overlap < 0.9:
            words.append(f"overlap {100 * found.overlap:.0f} %")
        return ", ".join(words) or "in place"


@dataclass(frozen=True)
class Relations:
    """pairs: accepted ones. doubtful: measured below the limit but not far, best first. refused: pairs that a review
    called different. phash_groups, groups: (N,) group numbers, by hash alone and by all accepted pairs."""

    pairs: tuple[Pair, ...]
    doubtful: tuple[Pair, ...]
    refused: tuple[Pair, ...]
    phash_groups: np.ndarray
    groups: np.ndarray
    aligned: int


def relate(
    pictures: tuple[Picture, ...],
    looks: list[Look],
    reviews: list[Review],
    settings: Settings,
    jobs: int,
    progress: Callable[[int, int], object],
) -> Relations:
    """Find all pairs. progress(done, total) is called while pairs are aligned."""
    count = len(looks)
    bits = np.stack([one.phash for one in looks])
    distance = hashes.hamming(bits, bits)
    names = [picture.name for picture in pictures]
    index = {name: number for number, name in enumerate(names)}
    reviewed = {
        (min(index[a], index[b]), max(index[a], index[b])): review
        for (a, b), review in decided(reviews, dict(zip(names, (one.pixels for one in looks)))).items()
    }
    found = [one.features for one in looks]
    wanted = pairs.candidates(found, bits, np.stack([one.mirror_phash for one in looks]), settings.hamming)
    known = {(one.a, one.b) for one in wanted if not one.mirror}
    wanted += [pairs.Candidate(a, b, False, True) for a, b in sorted(set(reviewed) - known)]
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, len(wanted))

    best: dict[tuple[int, int], Alignment] = {}
    for one, alignment in pairs.verify(found, wanted, jobs, report):
        key = (one.a, one.b)
        if key not in best or alignment.similarity > best[key].similarity:
            best[key] = alignment
    accepted, doubtful, refused = [], [], []
    by_hash = []
    near = set(zip(*(side.tolist() for side in np.nonzero(np.triu(distance <= settings.hamming, 1)))))
    same_pixels = _equal([one.pixels for one in looks])
    for a, b in sorted(set(best) | near | same_pixels | set(reviewed)):
        alignment, review = best.get((a, b)), reviewed.get((a, b))
        similarity = alignment.similarity if alignment else 0.0
        relation = (
            "exact"
            if (a, b) in same_pixels
            else "phash"
            if (a, b) in near
            else "verified"
            if similarity >= settings.similarity
            else "reviewed"
            if review and review.decision == "same"
            else ""
        )
        zoom = _scale(looks[a]) / _scale(looks[b])
        pair = Pair(a, b, relation, int(distance[a, b]), alignment, zoom, review.why if review else "")
        if relation in ("exact", "phash"):
            by_hash.append((a, b))
        if review and review.decision == "different":
            refused.append(pair)
        elif relation:
            accepted.append(pair)
        elif similarity >= DOUBTFUL * settings.similarity:
            doubtful.append(pair)
    numbers = groups.merge(count, [(one.a, one.b) for one in accepted])
    doubtful = [one for one in doubtful if numbers[one.a] != numbers[one.b]]
    doubtful.sort(key=lambda one: -one.alignment.similarity)
    return Relations(
        tuple(accepted), tuple(doubtful), tuple(refused), groups.merge(count, by_hash), numbers, len(wanted)
    )


def _scale(one: Look) -> float:
    return one.features.grey.shape[1] / one.width


def _equal(values: list[str]) -> set[tuple[int, int]]:
    places: dict[str, list[int]] = {}
    for number, value in enumerate(values):
        places.setdefault(value, []).append(number)
    return {(a, b) for inside in places.values() for n, a in enumerate(inside) for b in inside[n + 1 :]}
