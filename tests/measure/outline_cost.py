"""What drawing an outline costs of a frame: CPU time from the mask as the file stores it to polygons.

    python -m tests.measure.outline_cost

A mask of 56 x 56 int8 places under an input of 224 x 224, as of the network with two heads: empty, one lesion, and
noise, which is the worst that a model could say. The median CPU time of one thread.
"""

import time

import cv2
import numpy as np

from device import RESEARCH_NOTICE
from device.bundle_parts import Estimate, MaskOutput, Tensor
from device.outline import outline
from device.preprocess import Preprocess

GRID, SHAPE, RUNS = 56, (480, 640), 400
MASK = MaskOutput("m", 1, Tensor((1, GRID, GRID, 1), "NHWC", "int8", 0.1, -3), 0.5, "", Estimate(None), Estimate(None))


def masks() -> dict[str, np.ndarray]:
    """(GRID, GRID) int8 by what they show."""
    empty = np.full((GRID, GRID), -60, np.int8)
    lesion = empty.copy()
    cv2.ellipse(lesion.view(np.uint8), (25, 22), (9, 6), 20, 0, 360, 50, -1)
    noise = np.random.default_rng(0).integers(-128, 128, (GRID, GRID)).astype(np.int8)
    return {"empty": empty, "one lesion": lesion, "noise": noise}


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    print(RESEARCH_NOTICE)
    for name, stored in masks().items():
        times = []
        for _ in range(RUNS):
            begun = time.thread_time()
            found = outline(stored, MASK, SHAPE, Preprocess())
            times.append(time.thread_time() - begun)
        points = sum(len(polygon) for polygon in found)
        print(f"{name}: {1e3 * float(np.median(times)):.3f} ms, {len(found)} piece(s), {points} points")


if __name__ == "__main__":
    main()
