"""What happens to the finished screen: the way through camera or grabber blurs it, something hides part of it."""

import math

import cv2
import numpy as np


def blurred(luma: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) uint8 seen out of focus: Gaussian of `sigma` pixels; below a seventh of a pixel nothing would change."""
    return luma if sigma < 0.15 else cv2.GaussianBlur(luma, (0, 0), sigma)


def erased(luma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8 with one rectangle blanked with the picture's median.

    Random erasing: Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, algorithm 1, with its least area of
    2 % and aspects of 0.3 to 1 / 0.3. Its largest area is 40 %; here it is 15 %, since a lesion may fill little more. A
    rectangle longer than the picture is cut to it and made wider.
    """
    height, width = luma.shape
    area = rng.uniform(0.02, 0.15) * height * width
    aspect = math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
    tall = min(height, max(1, round(math.sqrt(area * aspect)), math.ceil(area / width)))
    wide = min(width, max(1, round(area / tall)))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().cumsum()
    luma = luma.copy()
    luma[top : top + tall, left : left + wide] = int(np.searchsorted(counts, luma.size / 2))
    return luma
