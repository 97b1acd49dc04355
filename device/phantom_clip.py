"""A moving phantom for demonstrations and tests without a scanner: the probe slides over wide tissue.

The pictures are those of device/phantom.py: synthetic, not a patient.
"""

import math

import numpy as np

from device.errors import UserError
from device.phantom import (
    CLASSES,
    Phantom,
    add_lesion,
    burn_in,
    checked_count,
    checked_size,
    log_compress,
    machine_gain,
    speckle_envelope,
    tissue_echogenicity,
)

CLIP_VIEWS = 7.5  # width of a clip's tissue, in views
CLIP_PERIOD_S = 48.0  # the probe goes there and back once in this time
CLIP_NOISE = 4  # electronic noise of a clip's frames: 0..3 grey levels
CLIP_NOISE_SHIFTS = 61  # prime, so that any step below it visits every shift of the noise tile


class PhantomClip:
    """A moving clip: the probe slides there and back along wide tissue, and lesions drift in and out.

    seed: integer >= 0. size: (height, width) of a frame in pixels, each at least MIN_SIDE_PX. fps: frames
    per second, > 0. Raises UserError when one is out of range. The tissue is drawn once, here; a frame is a
    window cut from it plus a shifted tile of electronic noise, cheap enough for 30 FPS on a Raspberry Pi.
    """

    def __init__(self, seed: int = 0, size: tuple[int, int] = (480, 640), fps: float = 30.0) -> None:
        self._height, self._width = size = checked_size(size)
        if not isinstance(fps, int | float) or not 0.0 < fps < math.inf:
            raise UserError(f"The clip's fps is {fps!r}: give a number of frames per second above 0.")
        self._fps = fps
        seed = checked_count("seed", seed)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(CLASSES),)))
        px_per_mm = self._height / 40.0
        wide = (self._height, round(CLIP_VIEWS * self._width))
        self._span = wide[1] - self._width
        echo_db = tissue_echogenicity(rng, wide, px_per_mm)
        # Lesions stand 1.6 views apart and away from both ends: between two of them, and where the probe
        # turns round, the view holds normal tissue only.
        self._labels = [CLASSES[k] for k in rng.permutation([0, 1, 0, 1])]  # benign and malignant, twice
        self._lesions = np.zeros(wide, np.uint8)  # 0 tissue, k the k-th lesion
        for k, label in enumerate(self._labels, 1):
            mask = np.zeros(wide, bool)
            centre_x = (1.35 + 1.6 * (k - 1) + rng.uniform(-0.1, 0.1)) * self._width
            add_lesion(rng, echo_db, mask, label, centre_x, px_per_mm, 0.25 * self._width)
            self._lesions[mask] = k
        echo_db += machine_gain(rng, wide)
        self._panorama = log_compress(speckle_envelope(rng, echo_db, px_per_mm), 55.0)
        np.minimum(self._panorama, 255 - CLIP_NOISE, out=self._panorama)  # room for the noise to be added
        tile = (self._height, self._width + CLIP_NOISE_SHIFTS)
        self._noise = rng.integers(0, CLIP_NOISE, tile, np.uint8)
        areas = [np.cumsum((self._lesions == k).sum(axis=0)) for k in range(1, len(self._labels) + 1)]
        self._area_before = np.pad(np.array(areas), ((0, 0), (1, 0)))  # (lesions, columns + 1), pixels

    def frame(self, index: int) -> Phantom:
        """Frame `index` (>= 0, without end: the movement repeats, the noise of neighbours differs).

        The label and the mask are those of the lesion that has at least half of its area in view; less than
        half counts as "normal", with an empty mask. Deterministic for (seed, size, fps, index).
        Raises UserError for a negative index.
        """
        index = checked_count("frame index", index)
        phase = 2.0 * math.pi * (index / self._fps / CLIP_PERIOD_S)
        left = round(self._span * 0.5 * (1.0 - math.cos(phase)))
        window = slice(left, left + self._width)
        shift = index * 23 % CLIP_NOISE_SHIFTS  # never the same for two neighbours
        image = self._panorama[:, window] + self._noise[:, shift : shift + self._width]
        burn_in(image)
        area = self._area_before[:, left + self._width] - self._area_before[:, left]
        share = area / self._area_before[:, -1]
        k = int(np.argmax(share))
        if share[k] < 0.5:
            return Phantom(image, np.zeros(image.shape, bool), "normal")
        return Phantom(image, self._lesions[:, window] == k + 1, self._labels[k])
