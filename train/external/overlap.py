"""Pictures of an external set that come from the training's data set: they say nothing about other hospitals.

Perceptual hashes miss them, because compiled sets pad pictures to a square and zoom into them. So key points are
matched (D. Lowe, Distinctive image features from scale-invariant keypoints, IJCV 60, 2004: ratio test), a similarity
transform is fitted (RANSAC), and the two pictures have to correlate where they then overlap. Smooth small pictures have
few key points: they are also compared as thumbnails.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from device.errors import UserError
from device.preprocess import read_picture, to_luma
from train.data.busi import DataSet
from train.external.adapters import ExternalPicture, ExternalSet

SIDE = 400  # pixels of the longer side while comparing
POINTS = 200  # strongest key points of a picture
RATIO = 0.75  # nearest to second nearest descriptor
MIN_MATCHED = 12  # key points that agree on one transform
MIN_CORRELATION = 0.9  # true copies reach 0.98; phantoms, which all share one layout, 0.85
THUMBNAIL = 64  # pixels, height and width
MIN_ALIKE = 0.98  # correlation of two thumbnails
_MIN_OVERLAP = 32 * 32  # pixels; less proves nothing


@dataclass(frozen=True)
class Copy:
    """An external picture found in the data set.

    matched: key points that agree, 0 where the thumbnails alone are alike. correlation: where the pictures overlap.
    """

    set: str
    name: str
    label: str | None
    of: str
    label_of: str
    matched: int
    correlation: float


@dataclass(frozen=True)
class Looks:
    """A picture prepared for comparison: (H, W) float32 smoothed luma, key points (K, 2) x, y, descriptors (K, 128).

    thumbnail: (THUMBNAIL ** 2,) of mean 0 and length 1, so that a product of two is their correlation.
    """

    smooth: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray | None
    thumbnail: np.ndarray


def look(luma: np.ndarray) -> Looks:
    """(H, W) uint8 -> what `match` compares: without black bars, at most SIDE pixels long."""
    luma = without_bars(luma)
    scale = SIDE / max(luma.shape)
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    found, descriptors = cv2.SIFT_create(POINTS).detectAndCompute(luma, None)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    small = cv2.resize(luma, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    small -= small.mean()
    small /= max(1e-9, np.linalg.norm(small))  # a blank picture is like no other
    return Looks(cv2.GaussianBlur(luma.astype(np.float32), (0, 0), 2), points, descriptors, small)


def without_bars(luma: np.ndarray, dark: int = 12) -> np.ndarray:
    """Cut away outer rows and columns in which less than a twentieth of the pixels is brighter than `dark`."""
    bright = luma > dark
    rows, columns = np.flatnonzero(bright.mean(axis=1) > 0.05), np.flatnonzero(bright.mean(axis=0) > 0.05)
    if len(rows) < 8 or len(columns) < 8:
        return luma
    return luma[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def match(a: Looks, b: Looks) -> tuple[int, float]:
    """How many key points of `a` agree on one place in `b`, and the correlation there (0, 0.0 where nothing fits)."""
    if min(len(a.points), len(b.points)) < MIN_MATCHED:
        return 0, 0.0
    pairs = cv2.BFMatcher().knnMatch(a.descriptors, b.descriptors, k=2)
    good = [first for first, second in pairs if first.distance < RATIO * second.distance]
    if len({m.trainIdx for m in good}) < MIN_MATCHED:
        return 0, 0.0
    here = a.points[[m.queryIdx for m in good]]
    there = b.points[[m.trainIdx for m in good]]
    transform, inside = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=4)
    if transform is None:
        return 0, 0.0
    # Many points of one may fall on one point of the other: only different ones count.
    matched = len(np.unique(there[inside.ravel() == 1], axis=0))
    return matched, _correlation(a.smooth, b.smooth, transform) if matched >= MIN_MATCHED else 0.0


def _correlation(a: np.ndarray, b: np.ndarray, transform: np.ndarray) -> float:
    size = (b.shape[1], b.shape[0])
    moved = cv2.warpAffine(a, transform, size)
    covered = cv2.warpAffine(np.ones_like(a), transform, size) > 0.999
    if covered.sum() < _MIN_OVERLAP or moved[covered].std() == 0 or b[covered].std() == 0:
        return 0.0
    return float(np.corrcoef(moved[covered], b[covered])[0, 1])


class Trained(Protocol):
    """A model as far as the search for copies needs it."""

    path: Path
    data_fingerprint: str


def check_training(models: Iterable[Trained], data: DataSet) -> None:
    """Raise UserError unless `data` is what the models were trained on: copies of anything else would go unnoticed."""
    for model in models:
        if model.data_fingerprint != data.fingerprint:
            raise UserError(
                f"{model.path}: was trained on other pictures than {data.root} holds, so copies of them would go "
                "unnoticed; give the training's data set as --data."
            )


def copies_in(sets: Sequence[ExternalSet], data: DataSet) -> tuple[Copy, ...]:
    """The external pictures that show the same scan as a picture of `data`, whole or zoomed; mirrored ones are missed.

    Takes minutes for the real sets. Raises UserError: `data` holds crops, which show too little to be found again, or a
    picture does not decode.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    if data.view != "whole":
        raise UserError(f"{data.root}: holds lesion crops; give the whole pictures they were cut from.")
    known = [look(to_luma(read_picture(picture.path))) for picture in data.pictures]
    thumbnails = np.stack([other.thumbnail for other in known])

    def best(one: ExternalSet, picture: ExternalPicture) -> Copy | None:
        mine = look(to_luma(read_picture(picture.path)))
        found = [(points, value, i) for i, other in enumerate(known) for points, value in [match(mine, other)]]
        points, correlation, at = max((f for f in found if f[1] >= MIN_CORRELATION), default=(0, 0.0, 0))
        if not points:
            alike = thumbnails @ mine.thumbnail
            at = int(alike.argmax())
            correlation = float(alike[at])
            if correlation < MIN_ALIKE:
                return None
        of = data.pictures[at]
        return Copy(one.name, picture.name, picture.label, of.name, of.label, points, correlation)

    todo = [(one, picture) for one in sets for picture in one.pictures]
    # Threads: OpenCV lets go of the interpreter's lock, and the descriptors need not be copied to processes.
    jobs = Parallel(-1, prefer="threads", return_as="generator")(delayed(best)(*item) for item in todo)
    found = tqdm(jobs, total=len(todo), desc=f"external pictures in {data.name}", unit="picture")
    return tuple(copy for copy in found if copy)
