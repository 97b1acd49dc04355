"""Pictures for the tests of the audit: speckled tissue with layers, no two alike, and ways to alter them."""

import cv2
import numpy as np


def tissue(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A (H, W) uint8 picture of layers and speckle, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = cv2.resize(rng.normal(size=(height // 12, width // 24)).astype(np.float32), (width, height))
    fine = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 1.6)
    shade = 90 + 28 * coarse + 60 * fine
    x, y, r = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height, rng.uniform(0.08, 0.15) * width
    rows, columns = np.mgrid[:height, :width]
    shade[(rows - y) ** 2 * 2 + (columns - x) ** 2 < r * r] *= 0.3
    return np.clip(shade, 1, 200).astype(np.uint8)


def furniture(luma: np.ndarray) -> np.ndarray:
    """The same screen around another picture: a scale, a logo, a label, a grey bar."""
    shown = luma.copy()
    height, width = shown.shape
    for y in range(0, height, 12):
        shown[y : y + 2, width - 14 : width - 4] = 230
    cv2.rectangle(shown, (4, 4), (60, 22), 230, 2)
    cv2.putText(shown, "MACHINE", (6, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 230, 1)
    cv2.putText(shown, "RT BREAST 3", (20, height - 16), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 230, 2)
    shown[:, width - 30 : width - 20] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return shown
