"""Burned-in calipers and colour: what a network could learn instead of the tissue."""

import cv2
import numpy as np

ARMS = (5, 7, 9)  # pixels from the centre of a caliper mark to its end
STRONG, WEAK = 55, 30  # grey levels by which a mark's darkest point outshines what lies between its arms
TINT = 8  # levels between the channels from which a pixel has a colour; less is a tinted grey scale
BOX_SIDE = 0.12  # of the picture's side: the shortest side of a colour box


def caliper_marks(pixels: np.ndarray) -> np.ndarray:
    """Centres of the crosses (+ and x) that end a measured distance: (n, 2) int x, y, strongest first.

    pixels: uint8, (H, W) or (H, W, 3) BGR, at the original resolution. A mark is brighter along all four arms than
    anywhere between them. A distance has two ends: (0, 2) unless one mark is STRONG and a second at least WEAK, which
    a letter or a crossing of two bright layers of tissue is not.
    """
    picture = pixels if pixels.ndim == 2 else pixels.max(axis=2)  # yellow marks are as bright there as white ones
    found = [point for arm in ARMS for slanted in (False, True) for point in _crosses(picture, arm, slanted)]
    kept: list[tuple[int, int, int]] = []
    for strength, x, y in sorted(found, reverse=True):
        if all(abs(x - u) + abs(y - v) > 2 * ARMS[0] for _, u, v in kept):
            kept.append((strength, x, y))
    if len(kept) < 2 or kept[0][0] < STRONG:
        kept = []
    return np.array([(x, y) for _, x, y in kept], int).reshape(-1, 2)


def _crosses(picture: np.ndarray, arm: int, slanted: bool) -> list[tuple[int, int, int]]:
    """(strength, x, y) of every pixel that is the centre of a cross; a hit-or-miss transform on grey levels."""
    reach = round(arm * 0.8) if slanted else arm
    steps = range(-reach, reach + 1)
    on_arms = {(s, s) for s in steps} | {(s, -s) for s in steps}
    upright = {(s, 0) for s in steps} | {(0, s) for s in steps}
    near, far = max(3, round(arm * 0.55)), max(4, round(arm * 0.75))
    diagonal = {(a * s, b * s) for s in (near, far) for a in (-1, 1) for b in (-1, 1)}
    straight = {(a * s, b * s) for s in (near, far) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))}
    hit, miss = (on_arms, straight) if slanted else (upright, diagonal)
    darkest = cv2.erode(picture, _kernel(hit, arm), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    background = cv2.dilate(picture, _kernel(miss, arm), borderType=cv2.BORDER_REFLECT)
    strength = darkest.astype(np.int16) - background
    return [(int(strength[y, x]), int(x), int(y)) for y, x in np.argwhere(strength >= WEAK)]


def _kernel(points: set[tuple[int, int]], arm: int) -> np.ndarray:
    kernel = np.zeros((2 * arm + 1, 2 * arm + 1), np.uint8)
    for x, y in points:
        kernel[arm + y, arm + x] = 1
    return kernel


def tint(pixels: np.ndarray) -> np.ndarray:
    """Difference between the brightest and the darkest channel of each pixel: (H, W) uint8; zero for a grey picture."""
    if pixels.ndim == 2:
        return np.zeros(pixels.shape, np.uint8)
    return pixels.max(axis=2) - pixels.min(axis=2)


def has_colour_box(pixels: np.ndarray) -> bool:
    """Whether a thin coloured rectangle is drawn, as around a Doppler or elastography window.

    Needs a straight coloured line of at least BOX_SIDE of the picture's width and another of its height that meet.
    """
    coloured = (tint(pixels) >= TINT).astype(np.uint8)
    if not coloured.any():
        return False
    height, width = coloured.shape
    # Lines of JPEG pictures have gaps of a pixel or two.
    joined = cv2.morphologyEx(coloured, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8), borderValue=0)
    across = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, max(8, round(BOX_SIDE * width))), np.uint8))
    down = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((max(8, round(BOX_SIDE * height)), 1), np.uint8))
    return bool((cv2.dilate(across, np.ones((5, 5), np.uint8)) & cv2.dilate(down, np.ones((5, 5), np.uint8))).any())
