"""What another machine, setting or breast would do to the echoes. Luma is taken as what it is, log-compressed.

On such a picture a level is a step in decibels: with a dynamic range of 60 dB, 255 levels, 4.25 levels are one dB. An
attenuation therefore subtracts. Black means "at or below the floor" and stays black: nothing here lights a cyst.
"""

import math
from collections.abc import Mapping

import cv2
import numpy as np

from train.recipe import Augment

# The logarithm of a Rayleigh variable whose two Gaussian parts have variance 1.
_LOG_MEAN, _LOG_STD = (math.log(2) - np.euler_gamma) / 2, math.pi / math.sqrt(24)
_DEEPEST = -2.0  # standard deviations: a scanner's own smoothing fills the black cracks where speckle cancels out


def changed(
    luma: np.ndarray, recipe: Augment, own: Mapping[str, np.random.Generator], gain: float, offset: float
) -> np.ndarray:
    """Echoes of a picture (H, W) uint8 changed, (H, W) uint8: rounded once, at the end.

    own: draws of each effect that happens to this picture. gain: relative change of contrast. offset: levels.
    """
    if not (gain or offset or own.keys() & {"gamma", "shadow", "tgc", "speckle"}):
        return luma
    if "gamma" in own:
        levels = cv2.LUT(luma, _gamma(recipe.gamma, own["gamma"]))
    else:
        levels = luma.astype(np.float32)
    if "shadow" in own:
        levels = np.maximum(levels - shadow(luma.shape, own["shadow"]), np.float32(0))
    if "tgc" in own:
        levels *= 1 + recipe.tgc * tgc_curve(luma.shape[0], own["tgc"])[:, None]
    if "speckle" in own:
        strength = recipe.speckle * own["speckle"].random()
        factor = 1 + np.float32(strength) * speckle(luma.shape, own["speckle"])
        levels *= np.maximum(factor, np.float32(0), out=factor)
    if gain or offset:
        levels = levels * (1 + gain) + offset
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _gamma(strength: float, rng: np.random.Generator) -> np.ndarray:
    """Table (256,) float32 of another compression curve; black and white stay."""
    exponent = (1 + strength) ** rng.uniform(-1, 1)
    return (255 * np.linspace(0, 1, 256) ** exponent).astype(np.float32)


def tgc_curve(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Time gain compensation out of balance: (rows,) float32 in -1..1, smooth over depth, of mean 0.

    Three half waves over the depth, each weaker than the one before: a slope, a bulge, and what two wrong sliders do.
    """
    depth = (np.arange(rows) + 0.5) / rows
    waves = sum(rng.uniform(-1, 1) / k * np.cos(math.pi * k * depth) for k in (1, 2, 3))
    return (waves / (1 + 1 / 2 + 1 / 3)).astype(np.float32)


def shadow(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Levels that one acoustic shadow takes away: (H, W) float32, 0..80 (19 dB).

    A soft-edged band from some depth, or from the skin where contact is poor, to the bottom; it leans with the beam and
    may widen as a wedge. Over a random image column, as in E. Smistad et al., "Highlighting nerves and blood vessels
    for ultrasound-guided axillary nerve block procedures using neural networks", J. Med. Imaging 5(4), 2018, who
    multiply by a Gaussian. Its place does not depend on the lesion: a shadow behind a lesion is a sign of malignancy,
    enhancement one of a cyst (BI-RADS: posterior features), and neither may be invented.
    """
    height, width = shape
    grid = (min(height, 64), min(width, 64))  # soft as it is, it needs no more
    y, x = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n) for n in grid)
    top, centre, lean = rng.uniform(-0.3, 0.6), rng.uniform(0, 1), rng.uniform(-0.2, 0.2)
    half, widening, edge = rng.uniform(0.03, 0.12), rng.uniform(0, 1), rng.uniform(0.4, 1.2)
    onset, most = rng.uniform(0.1, 0.5), rng.uniform(25, 80)
    depth = (y - np.float32(top))[:, None]
    away = np.abs(x[None] - np.float32(centre) - np.float32(lean) * depth)
    away /= np.float32(half) * (1 + np.float32(widening) * np.maximum(depth, 0))
    across = 1 / (1 + np.exp(np.minimum((away - 1) / np.float32(edge / 2), 30)))
    levels = np.float32(most) * across * np.clip(depth / np.float32(onset), 0, 1)
    return cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)


def speckle(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of fully developed speckle after log compression: (H, W) float32, mean about 0, standard deviation about 1.

    Many scatterers of random phase share a resolution cell: the field is complex circular Gaussian, correlated over the
    point-spread function, its envelope is Rayleigh distributed, and the spread of the envelope's logarithm is the same
    on any tissue (R. F. Wagner et al., "Statistics of Speckle in Ultrasound B-Scans", IEEE Trans. Sonics Ultrason.
    30(3), 1983; logarithm: the Fisher-Tippett law). Skewed: nulls go deeper than peaks rise, and are cut at -2. The
    point-spread function is about that of device/phantom.py at 38 mm depth, wider across the beam than along it.
    """
    height, width = shape
    grain = height / 224
    along, across = max(0.7, rng.uniform(0.7, 1.0) * grain), max(0.7, rng.uniform(0.9, 1.6) * grain)
    # Weighted sums of a dozen uniform bytes are Gaussian enough, and drawn several times as fast.
    count = 4 * height * width
    raw = rng.integers(2**64 - 1, size=-(-count // 8), dtype=np.uint64, endpoint=True).view(np.uint8)
    parts = raw[:count].reshape(2, 2, height, width)
    taps = [cv2.getGaussianKernel(2 * math.ceil(2.5 * sigma) + 1, sigma, cv2.CV_32F) for sigma in (across, along)]
    unit = math.sqrt(2 * (256**2 - 1) / 12 * float((taps[0] ** 2).sum()) * float((taps[1] ** 2).sum()))
    sums = [cv2.add(one, other, dtype=cv2.CV_32F) for one, other in parts]
    fields = [cv2.sepFilter2D(part, cv2.CV_32F, taps[0], taps[1], delta=-255) for part in sums]
    noise = cv2.log(cv2.magnitude(*fields))
    noise -= np.float32(math.log(unit) + _LOG_MEAN)
    noise *= np.float32(1 / _LOG_STD)
    return np.maximum(noise, np.float32(_DEEPEST), out=noise)
