"""Where things lie in the picture: turned, scaled, shifted, and another depth setting. Masks go along."""

import cv2
import numpy as np


def turn(shape: tuple[int, int], degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Matrix (2, 3) that turns about the middle, enlarges by 1 + scale, and shifts by fractions of the size."""
    height, width = shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1 + scale)
    matrix[:, 2] += (shift[0] * width, shift[1] * height)
    return matrix


def depth_crop(shape: tuple[int, int], most: float, rng: np.random.Generator) -> np.ndarray:
    """Matrix (3, 3) of another depth setting: what is left of the picture is enlarged to its full size.

    Below, up to the fraction `most` is cut away, never above: the skin stays on top. Some machines then enlarge the
    whole picture, and its sides leave the screen; others show the probe's whole width at any depth. So the two sides
    together lose between nothing and the fraction that was cut below (R. Singla et al., "Speckle and Shadows", MIDL
    2022, call it zoom). The crop does not ask where the lesion is. Among the 647 lesions of BUSI a cut of a quarter
    hides part of every twelfth, and of none the larger half.
    """
    width = shape[1]
    below, sides, left = rng.random(3)
    below *= most
    sides *= below
    y, x = 1 / (1 - below), 1 / (1 - sides)
    # Pixel centres: the picture's upper edge lies at -0.5.
    return np.array([[x, 0, (0.5 - left * sides * width) * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])


def warped(luma: np.ndarray, mask: np.ndarray | None, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W) uint8 and (H, W) mask moved alike; beyond the border both go on as their mirror image. A place belongs to
    the moved mask, bool, when half of it did.
    """
    size, border = luma.shape[::-1], cv2.BORDER_REFLECT_101
    luma = cv2.warpAffine(luma, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    if mask is not None:
        mask = np.asarray(mask, np.uint8) * np.uint8(255)
        mask = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border) > 127
    return luma, mask
