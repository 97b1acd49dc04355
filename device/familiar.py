"""Is this the kind of picture that the model was trained on? Twenty statistics of the luma, and how unusual they are.

A network gives a verdict on anything, also on a desktop or a test card. What separates those from ultrasound is plain:
brightness and its place, the fineness and direction of the grain, how the grain goes with the brightness. The distance
to the training pictures in these statistics (Mahalanobis) says how unusual a frame is; its limit is in the bundle.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

FEATURES = (
    *("mean", "spread", "black", "white", "entropy"),
    *("upper_to_lower", "rows", "columns"),
    *(f"{what}_{level}" for level in range(4) for what in ("grain", "direction")),
    *("fine_energy", "fine_in_the_middle", "fine_extremes", "grain_with_brightness"),
)
_SMALL = 1e-9


@dataclass(frozen=True)
class Familiar:
    """What the training pictures are like. mean, scale: (F,) of each statistic. precision: (F, F) inverse covariance of
    the statistics minus mean, divided by scale. limit: of the score; derived_on says on what it was fixed."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float
    derived_on: str

    def __post_init__(self) -> None:
        if self.features != FEATURES:
            raise ValueError("the key 'features' names other statistics than this version computes; convert again.")
        count = len(FEATURES)
        if not len(self.mean) == len(self.scale) == len(self.precision) == count:
            raise ValueError(f"mean, scale and precision must have {count} entries each.")
        if any(len(row) != count for row in self.precision) or min(self.scale) <= 0 or not self.limit > 0:
            raise ValueError("precision must be square, scale and limit above 0.")


def statistics(luma: np.ndarray) -> np.ndarray:
    """(H, W) uint8 luma, 32 pixels a side or more -> (F,) float64 in the order of FEATURES."""
    shades = _histogram(luma)
    levels = np.arange(256)
    mean = float(shades @ levels)
    spread = math.sqrt(max(float(shades @ (levels - mean) ** 2), 0.0))
    known = shades[shades > 0]
    found = [mean, spread, math.sqrt(shades[:8].sum()), math.sqrt(shades[240:].sum()), -float(known @ np.log(known))]

    blocks = cv2.resize(luma, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64)
    rows, columns = blocks.mean(axis=1), blocks.mean(axis=0)
    found.append(math.log((rows[:4].mean() + 4) / (rows[4:].mean() + 4)))
    found += [rows.std() / (mean + 4), columns.std() / (mean + 4)]

    scaled = luma
    for _ in range(4):
        across = cv2.mean(cv2.absdiff(scaled[:, 1:], scaled[:, :-1]))[0]
        down = cv2.mean(cv2.absdiff(scaled[1:], scaled[:-1]))[0]
        found += [math.log(across + down + 0.5), math.log((across + 0.25) / (down + 0.25))]
        scaled = cv2.pyrDown(scaled)

    fine = cv2.absdiff(luma, cv2.blur(luma, (5, 5)))
    height = len(fine)
    strengths = _histogram(fine)
    usual = float(strengths @ levels)
    middle = cv2.mean(fine[height // 4 : 3 * height // 4])[0]
    strong = int(np.searchsorted(np.cumsum(strengths), 0.99))
    found.append(math.log(float(strengths @ levels**2) + 1))
    found += [math.log((middle + 0.2) / (usual + 0.2)), (strong + 1) / (usual + 1)]
    bright, grain = (cv2.resize(x, (28, 28), interpolation=cv2.INTER_AREA).astype(np.float64) for x in (luma, fine))
    bright -= bright.mean()
    grain -= grain.mean()
    product = math.sqrt(float((bright**2).sum() * (grain**2).sum()))
    found.append(float((bright * grain).sum()) / product if product > _SMALL else 0.0)
    return np.array(found)


def score(luma: np.ndarray, known: Familiar) -> float:
    """How unusual a frame is: the squared Mahalanobis distance of its statistics, 0 or more."""
    away = (statistics(luma) - np.asarray(known.mean)) / np.asarray(known.scale)
    return float(away @ np.asarray(known.precision) @ away)


def counts(values: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (256,) float64: how many pixels have each grey level."""
    return cv2.calcHist([values], [0], None, [256], [0, 256])[:, 0].astype(np.float64)


def _histogram(values: np.ndarray) -> np.ndarray:
    """(256,) shares of the grey levels."""
    return counts(values) / values.size
