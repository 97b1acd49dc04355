"""Seeded synthetic B-mode breast pictures (phantoms); device/phantom_clip.py makes a moving clip of them.

The pictures stand in for patient data in tests, benchmarks and demonstrations. They follow the textbook
model: echogenicity map -> complex circular Gaussian scatterers -> point-spread function -> envelope -> log
compression. They do not simulate anatomy, and a figure measured on them says nothing about patients.

Sources
    Speckle: R. F. Wagner, S. W. Smith, J. M. Sandrik, H. Lopez, "Statistics of Speckle in Ultrasound
    B-Scans", IEEE Trans. Sonics Ultrason. 30(3), 1983: fully developed speckle has a Rayleigh envelope.
    Lesion signs: ACR BI-RADS Atlas, 5th ed. (2013), ultrasound lexicon: shape, orientation, margin, echo
    pattern, posterior features. Layer order and thickness, and the decibel figures, are our own choice.
"""

import math
import operator
from dataclasses import dataclass

import numpy as np

from device.errors import UserError

CLASSES = ("benign", "malignant", "normal")
SYNTHETIC_NOTE = "synthetic phantom, not a patient"
MIN_SIDE_PX = 64
RAYLEIGH_SNR = math.sqrt(math.pi / (4.0 - math.pi))  # 1.91, Wagner et al. 1983

# Echogenicity in dB, fibroglandular tissue being 0 (BI-RADS describes lesions relative to fat).
FAT_DB, MUSCLE_DB, CHEST_DB = -13.0, -11.0, -20.0

_ANGLES = np.linspace(-math.pi, math.pi, 721)  # round a lesion's outline

# The burned-in word in letters of 5 x 7 pixels, given row by row.
_FONT = {
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "Y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
    "N": "#...# ##..# ##..# #.#.# #..## #..## #...#",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "C": ".#### #.... #.... #.... #.... #.... .####",
}
_WORD = np.hstack([[[c == "#" for c in row + "."] for row in _FONT[letter].split()] for letter in "SYNTHETIC"])


@dataclass(frozen=True)
class Phantom:
    """One synthetic picture. See SYNTHETIC_NOTE: it shows nobody."""

    image: np.ndarray  # (H, W) uint8 luma 0..255
    mask: np.ndarray  # (H, W) bool, True on the lesion; all False for normal
    label: str  # one of CLASSES


def make_phantom(label: str, seed: int, size: tuple[int, int] = (384, 512)) -> Phantom:
    """Draw one picture of class `label`.

    label: one of CLASSES. seed: integer >= 0; each (label, seed) has tissue of its own.
    size: (height, width) in pixels, each at least MIN_SIDE_PX. The same arguments give the same bytes on one
    machine; another CPU or numpy may round a few pixels one grey level apart.
    Raises UserError when an argument is out of these ranges.
    """
    if label not in CLASSES:
        raise UserError(f"Unknown phantom label {label!r}: use one of {', '.join(CLASSES)}.")
    size = checked_size(size)
    seed = checked_count("seed", seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(CLASSES.index(label),)))
    px_per_mm = size[0] / rng.uniform(34.0, 44.0)  # the depth setting, 34 to 44 mm
    echo_db = tissue_echogenicity(rng, size, px_per_mm)
    mask = np.zeros(size, bool)
    if label != "normal":
        centre_x = size[1] * rng.uniform(0.3, 0.7)
        add_lesion(rng, echo_db, mask, label, centre_x, px_per_mm, 0.17 * size[1])
    echo_db += machine_gain(rng, size)
    image = log_compress(speckle_envelope(rng, echo_db, px_per_mm), rng.uniform(50.0, 60.0))
    burn_in(image)
    return Phantom(image, mask, label)


def speckle_envelope(rng: np.random.Generator, echo_db: np.ndarray, px_per_mm: float) -> np.ndarray:
    """Envelope of fully developed speckle, before log compression.

    echo_db: (H, W) float32 echogenicity in dB. px_per_mm: scale; it fixes the point-spread function in
    pixels: axial sigma 0.11 mm, lateral sigma 0.16 mm at the skin growing to 0.30 mm at the bottom.
    Returns (H, W) float32 >= 0, of mean power 1 where echo_db is 0. On homogeneous tissue it is Rayleigh
    distributed, mean/std = RAYLEIGH_SNR (Wagner et al. 1983): many scatterers of random phase share a cell.
    """
    height, width = echo_db.shape
    axial = _gaussian_taps(np.array([max(0.11 * px_per_mm, 0.6)]))
    lateral = _gaussian_taps(np.maximum(np.linspace(0.16, 0.30, height) * px_per_mm, 0.6))
    pad_y, pad_x = axial.shape[1] // 2, lateral.shape[1] // 2
    parts = rng.standard_normal((height + 2 * pad_y, width + 2 * pad_x, 2), np.float32)
    scatterers = parts.view(np.complex64)[:, :, 0]
    amplitude = np.exp(echo_db * np.float32(math.log(10.0) / 20.0) - np.float32(math.log(2.0) / 2.0))
    scatterers *= np.pad(amplitude, ((pad_y, pad_y), (pad_x, pad_x)), "edge")
    envelope = np.empty((height, width), np.float32)
    block = max(1, 16384 // width)  # rows worked on at once: the block stays in the cache of a small CPU
    for top in range(0, height, block):
        rows = min(block, height - top)
        lines = sum(axial[0, k] * scatterers[top + k : top + k + rows] for k in range(axial.shape[1]))
        taps = lateral[top : top + rows]
        field = taps[:, pad_x, None] * lines[:, pad_x : pad_x + width]
        for k in range(pad_x):  # the taps are symmetric: one product serves both sides
            if taps[-1, k] > 1e-3:  # near the skin the outer taps are nothing
                pair = lines[:, k : k + width] + lines[:, 2 * pad_x - k : 2 * pad_x - k + width]
                pair *= taps[:, k, None]
                field += pair
        envelope[top : top + rows] = np.abs(field)
    return envelope


def log_compress(envelope: np.ndarray, dynamic_range_db: float, headroom_db: float = 20.0) -> np.ndarray:
    """Envelope (H, W) -> luma (H, W) uint8: `headroom_db` above unit amplitude is 255, and `dynamic_range_db`
    below that is 0; what lies outside is clipped."""
    decibel = np.log(np.maximum(envelope, np.float32(1e-6)))
    decibel *= np.float32(20.0 / math.log(10.0))
    # Scanners smooth what they show; without it the nulls of speckle are black cracks no machine displays.
    decibel[1:-1] = 0.5 * decibel[1:-1] + 0.25 * (decibel[:-2] + decibel[2:])
    decibel[:, 1:-1] = 0.5 * decibel[:, 1:-1] + 0.25 * (decibel[:, :-2] + decibel[:, 2:])
    luma = (decibel - np.float32(headroom_db)) * np.float32(255.0 / dynamic_range_db) + np.float32(255.5)
    return np.clip(luma, 0.0, 255.0).astype(np.uint8)


def tissue_echogenicity(rng: np.random.Generator, size: tuple[int, int], px_per_mm: float) -> np.ndarray:
    """Layered breast without a lesion: (H, W) float32 echogenicity in dB, fibroglandular tissue near 0.

    From the top: skin (two bright lines), subcutaneous fat (dark lobules between bright septa, Cooper's
    ligaments), fibroglandular tissue (bright, streaky, with some fat lobules), pectoral muscle between bright
    fasciae (dark, fibres along it), ribs and pleura (bright line, shadow below). Every boundary waves.
    """
    height, width = size
    depth = (np.arange(height, dtype=np.float32) / np.float32(px_per_mm))[:, None]  # mm

    def noise(cell_y_mm: float, cell_x_mm: float, rows: int = height) -> np.ndarray:
        return _smooth_noise(rng, (rows, width), (cell_y_mm * px_per_mm, cell_x_mm * px_per_mm))

    def boundary(mean_mm: float, sway_mm: float, cell_mm: float) -> np.ndarray:
        return np.float32(mean_mm) + np.float32(sway_mm) * noise(1.0, cell_mm, 1)

    def line(at_mm: np.ndarray, sigma_mm: float) -> np.ndarray:
        return np.exp(-(((depth - at_mm) / np.float32(sigma_mm)) ** 2))

    def follow(texture: np.ndarray, at_mm: np.ndarray) -> np.ndarray:
        """Shift each column of a texture so that its layers run along a boundary instead of straight."""
        rows = np.arange(height)[:, None] - np.rint((at_mm - at_mm.mean()) * px_per_mm).astype(np.intp)
        return np.take_along_axis(texture, rows % height, axis=0)

    skin = boundary(rng.uniform(1.3, 2.2), 0.15, 12.0)
    gland_top = skin + np.maximum(boundary(rng.uniform(2.5, 7.5), 1.5, 9.0), 0.8)
    gland_bottom = np.maximum(boundary(rng.uniform(19.0, 26.0), 1.3, 16.0), gland_top + 3.0)
    muscle_bottom = gland_bottom + np.maximum(boundary(rng.uniform(4.5, 8.0), 0.8, 20.0), 2.0)
    ribs = 1.0 / (1.0 + np.exp(-4.0 * noise(1.0, 9.0, 1) + 1.5))  # 1 where a rib faces the probe
    chest = muscle_bottom + 3.5 * (1.0 - ribs) + 0.5

    septa = np.exp(-((noise(3.0, 6.0) / 0.10) ** 2))  # the zero lines of smooth noise close round lobules
    fat = FAT_DB + 1.5 * noise(1.5, 3.0) + rng.uniform(6.0, 10.0) * septa
    streaks = follow(noise(0.7, 5.0), gland_top)
    fatty = 2.0 * np.clip(noise(2.8, 8.0) - rng.uniform(0.3, 1.1), 0.0, 0.5)  # 1 in a fat lobule of the gland
    gland = rng.uniform(-3.0, 1.0) + 3.5 * streaks + fatty * (FAT_DB + 3.0)
    muscle = MUSCLE_DB + follow(4.0 * noise(0.5, 14.0), gland_bottom)
    muscle += 9.0 * line(gland_bottom, 0.35)
    behind = CHEST_DB - (4.0 + 14.0 * ribs) * np.minimum((depth - chest) / 4.0, 2.0)

    echo = np.where(depth < gland_top, fat, gland)
    echo = np.where(depth < gland_bottom, echo, muscle)
    echo = np.where(depth < chest, echo, behind)
    echo += (12.0 + 6.0 * ribs) * line(chest, 0.4)
    echo = np.where(depth < skin, np.float32(-1.0), echo)
    echo += 10.0 * line(skin, 0.25) + 12.0 * line(np.float32(0.3), 0.3)
    # Ligaments across the beam and poor contact leave faint vertical bands in every class.
    echo -= np.clip(noise(1.0, 3.0, 1) - 0.4, 0.0, 1.0) * np.minimum(depth / 4.0, 5.0)
    return echo.astype(np.float32, copy=False)


def add_lesion(
    rng: np.random.Generator,
    echo_db: np.ndarray,
    mask: np.ndarray,
    label: str,
    centre_x: float,
    px_per_mm: float,
    largest_radius: float,
) -> None:
    """Draw one lesion into `echo_db` (H, W, dB) and set `mask` (H, W, bool) on it; both change in place.

    Signs after BI-RADS. benign: oval, parallel (wider than tall), smooth, with a thin capsule and posterior
    enhancement. malignant: irregular with spicules, not parallel (taller than wide), heterogeneous, with a
    posterior shadow, sometimes an echogenic halo and calcifications. Size and echogenicity come from the
    same ranges for both, so that neither decides the class.
    label: "benign" or "malignant". centre_x: column of the centre.
    largest_radius: bound in pixels on the mean radius, so that a narrow picture can hold the lesion.
    """
    height, width = echo_db.shape
    malignant = label == "malignant"
    radius = _malignant_outline(rng) if malignant else _benign_outline(rng)
    wide_over_tall = 1.0 / rng.uniform(1.2, 1.6) if malignant else rng.uniform(1.4, 2.1)
    mean_radius = min(rng.uniform(4.0, 7.5) * px_per_mm, largest_radius)
    half_x, half_y = _half_axes(radius, wide_over_tall, mean_radius)
    tilt = rng.uniform(-0.3, 0.3)
    tall = half_y * (radius * np.abs(np.sin(_ANGLES) + tilt * np.cos(_ANGLES))).max()
    wide = half_x * (radius * np.abs(np.cos(_ANGLES))).max()
    lowest, highest = 4.0 * px_per_mm + tall, max(25.0 * px_per_mm - tall, 4.5 * px_per_mm + tall)
    centre_y = rng.uniform(lowest, highest)

    margin = 3.0 * px_per_mm  # room for halo and capsule
    top, bottom = max(0, int(centre_y - tall - margin)), min(height, int(centre_y + tall + margin) + 2)
    left, right = max(0, int(centre_x - wide - margin)), min(width, int(centre_x + wide + margin) + 2)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre_y)) / np.float32(half_y)
    x = (np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre_x)) / np.float32(half_x)
    y = y - np.float32(tilt) * x
    angle = np.arctan2(y, x)
    distance = np.hypot(x, y) - np.interp(angle, _ANGLES, radius).astype(np.float32)
    distance *= np.float32(math.sqrt(half_x * half_y) / px_per_mm)  # about mm from the outline, < 0 inside
    inside = distance < 0.0

    box = echo_db[top:bottom, left:right]
    behind_db = -rng.uniform(8.0, 18.0) if malignant else rng.uniform(5.0, 11.0)
    pattern = _smooth_noise(rng, box.shape, (1.2 * px_per_mm, 1.8 * px_per_mm))
    lesion_db = FAT_DB - rng.uniform(3.0, 12.0) - behind_db / 2.0 + rng.uniform(1.0, 3.0) * pattern
    # The mask ends at distance 0; a malignant margin is indistinct, its echo changes over up to 2 mm.
    margin_mm = rng.uniform(0.6, 2.2) if malignant else 0.15
    box += np.clip(0.5 - distance / np.float32(margin_mm), 0.0, 1.0) * (lesion_db - box)
    if malignant:
        if rng.random() < 0.6:
            box += np.where(inside, 0.0, rng.uniform(5.0, 9.0) * np.exp(-np.abs(distance - 0.6) / 0.8))
        if rng.random() < 0.4:
            box[inside & (rng.random(box.shape) < 0.15 / px_per_mm**2)] += 22.0
    else:
        # A capsule reflects most where the beam meets it squarely, at the top and the bottom.
        box += rng.uniform(9.0, 15.0) * np.abs(np.sin(angle)) * np.exp(-(((distance - 0.15) / 0.3) ** 2))
    # What a beam gains or loses grows with its path through the lesion and stays with it below.
    path = np.cumsum(inside, axis=0, dtype=np.float32) * np.float32(behind_db / (2.0 * tall))
    box += path
    echo_db[bottom:, left:right] += path[-1]
    mask[top:bottom, left:right] |= inside


def _benign_outline(rng: np.random.Generator) -> np.ndarray:
    """Radius (721,) over _ANGLES of a smooth outline: a circle with at most gentle lobulation."""
    return 1.0 + sum(rng.uniform(0.0, 0.04) * np.cos(k * _ANGLES + rng.uniform(0.0, 6.28)) for k in (2, 3, 4))


def _malignant_outline(rng: np.random.Generator) -> np.ndarray:
    """Radius (721,) over _ANGLES of an irregular outline with pointed spicules."""
    radius = np.ones_like(_ANGLES)
    for k in range(2, 10):
        radius += rng.uniform(0.05, 0.25) / math.sqrt(k) * np.cos(k * _ANGLES + rng.uniform(0.0, 6.28))
    count = int(rng.integers(6, 12))
    for n in range(count):
        tip = 2.0 * math.pi * (n + rng.uniform(-0.3, 0.3)) / count
        away = np.abs((_ANGLES - tip + math.pi) % (2.0 * math.pi) - math.pi)
        radius += rng.uniform(0.15, 0.6) * np.maximum(0.0, 1.0 - away / rng.uniform(0.12, 0.35)) ** 1.5
    return radius


def _half_axes(radius: np.ndarray, wide_over_tall: float, mean_radius: float) -> tuple[float, float]:
    """Stretch factors (x, y) that give an outline this width over height and a circle's area.

    The circle is the one of radius `mean_radius`; the factors are in its unit (pixels).
    """
    x, y = radius * np.cos(_ANGLES), radius * np.sin(_ANGLES)
    stretch = wide_over_tall * np.ptp(y) / np.ptp(x)  # of x over y
    scale = mean_radius / math.sqrt(np.mean(radius[:-1] ** 2) * stretch)
    return scale * stretch, scale


def machine_gain(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 dB: overall gain, and what depth compensation (TGC) and uneven contact leave behind."""
    depth = np.linspace(0.0, 1.0, size[0], dtype=np.float32)[:, None]
    tgc = rng.uniform(-7.0, 1.0) * depth + rng.uniform(-2.0, 2.0) * np.sin(rng.uniform(3.0, 7.0) * depth)
    contact = _smooth_noise(rng, (1, size[1]), (1.0, size[0] * 0.4))
    return (rng.uniform(-6.0, 3.0) + tgc + contact).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """(H, W) float32 noise: normal at the nodes of a grid of cells (rows, columns in px), smooth between."""

    def nodes(length: int, step: float) -> tuple[np.ndarray, np.ndarray]:
        at = np.arange(length) / max(step, 1.0)
        node = at.astype(np.intp)
        part = (at - node).astype(np.float32)
        return node, part * part * (3.0 - 2.0 * part)

    row, down = nodes(size[0], cell[0])
    column, across = nodes(size[1], cell[1])
    grid = rng.standard_normal((row[-1] + 2, column[-1] + 2), np.float32)
    steps = grid[row] + (grid[row + 1] - grid[row]) * down[:, None]
    slope = np.diff(steps, axis=1)
    return np.take(steps, column, axis=1) + np.take(slope, column, axis=1) * across


def _gaussian_taps(sigma: np.ndarray) -> np.ndarray:
    """Gaussian taps, one row per sigma (pixels), of unit energy: white noise keeps its power through them."""
    reach = math.ceil(2.5 * float(sigma.max()))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma[:, None]) ** 2)
    return (taps / np.sqrt((taps**2).sum(axis=1, keepdims=True))).astype(np.float32)


def burn_in(image: np.ndarray) -> None:
    """Write SYNTHETIC into the lower left corner; place and size depend on the picture's size alone."""
    height, width = image.shape
    scale = max(1, min(height // 192, width // 120))
    word = _WORD.repeat(scale, axis=0).repeat(scale, axis=1)
    top, left = height - word.shape[0] - 2 * scale, 2 * scale
    image[top - scale : top + word.shape[0] + scale, scale : left + word.shape[1]] = 0
    image[top : top + word.shape[0], left : left + word.shape[1]][word] = 200


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as ints, or UserError when they are not whole numbers of at least MIN_SIDE_PX."""
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        raise UserError(f"The phantom size {size!r} is not two integers: give (height, width).") from None
    if min(height, width) < MIN_SIDE_PX:
        raise UserError(f"The phantom size {height}x{width} is too small: give {MIN_SIDE_PX} px or more a side.")
    return height, width


def checked_count(name: str, value: int) -> int:
    """`value` as an int, or UserError naming `name` when it is not a whole number >= 0."""
    try:
        value = operator.index(value)
    except TypeError:
        raise UserError(f"The phantom's {name} {value!r} is not a whole number: give 0 or above.") from None
    if value < 0:
        raise UserError(f"The phantom's {name} is {value}: give 0 or above.")
    return value
