"""Frames that no training holds and a grabber shows all the same: what int8 does to them must be known, too."""

import numpy as np

from device.phantom import make_phantom
from device.preprocess import Preprocess, prepare
from train.data.busi import CLASSES

_SCREEN = (480, 640)  # (height, width) of a frame before it is prepared


def hard_frames(preprocess: Preprocess, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """(names, (N, H, W) uint8 luma): phantoms, single colours, noise, screens, prepared as the device prepares them."""
    frames = _frames(seed)
    return list(frames), np.stack([prepare(frame, preprocess) for frame in frames.values()])


def _frames(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    phantoms = {f"phantom {label}": make_phantom(label, seed, _SCREEN).image for label in CLASSES}
    grey = phantoms["phantom malignant"]
    wide = np.zeros(_SCREEN, np.uint8)  # the picture between two black bars
    wide[:, 80:-80] = grey[:, 80:-80]
    flat = np.zeros(_SCREEN, np.uint8)  # the picture between two black bars above and below
    flat[120:-120] = grey[120:-120]
    ramp = np.broadcast_to(np.linspace(0, 255, _SCREEN[1]).astype(np.uint8), _SCREEN)
    checks = (np.indices(_SCREEN).sum(axis=0) // 4 % 2 * 255).astype(np.uint8)
    noise = rng.integers(0, 256, (*_SCREEN, 3), dtype=np.uint8)
    coloured = np.repeat(grey[:, :, None], 3, axis=2)  # a colour Doppler box: red and blue over the grey picture
    coloured[160:320, 200:320, 2] = 255
    coloured[160:320, 320:440, 0] = 255
    return phantoms | {
        "black": np.zeros(_SCREEN, np.uint8),
        "white": np.full(_SCREEN, 255, np.uint8),
        "grey": np.full(_SCREEN, 128, np.uint8),
        "blue": _single(_SCREEN, (255, 0, 0)),
        "green": _single(_SCREEN, (0, 255, 0)),
        "red": _single(_SCREEN, (0, 0, 255)),
        "colour noise": noise,
        "grey noise": np.ascontiguousarray(noise[:, :, 0]),
        "ramp": np.ascontiguousarray(ramp),
        "checkerboard": checks,
        "bars at the sides": wide,
        "bars above and below": flat,
        "inverted": 255 - grey,
        "dark": grey // 8,
        "colour Doppler": coloured,
    }


def _single(size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """(H, W, 3) BGR of one colour."""
    return np.full((*size, 3), colour, np.uint8)
