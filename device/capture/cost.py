"""What it costs to make luma of one frame, form by form: `python -m device.capture.cost`, on a Pi or elsewhere.

Medians of interleaved rounds on one thread, in milliseconds and relative to MJPEG decoded whole in colour. The picture
is a phantom, as a scanner shows it: half of the screen, with noise.
"""

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from device.capture.pixels import GREY, RAW, Layout, picture, reduction
from device.phantom_clip import PhantomClip

ROUNDS = 25
LEAST = (224, 224)
SIZES = ((1080, 1920), (720, 1280))
QUALITY = 80  # of the JPEG; grabbers send some 150 to 350 kB
_ALSO = {"colour": cv2.IMREAD_COLOR, "grey": cv2.IMREAD_GRAYSCALE}


def screen(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: a phantom on a scanner's dark screen."""
    clean = np.full((height, width), 12, np.uint8)
    inner = cv2.resize(PhantomClip(3).frame(0).image, (width * 7 // 10, height * 9 // 10))
    clean[height // 20 :, width // 8 :][: inner.shape[0], : inner.shape[1]] = inner
    noise = np.random.default_rng(0).normal(0, 4, clean.shape)
    return cv2.cvtColor(np.clip(clean + noise, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def jobs(height: int, width: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    data = cv2.imencode(".jpg", screen(height, width), [*options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422])[1]
    by = reduction(height, width, LEAST)
    found = {
        f"MJPEG {name} 1/{scale}": lambda flag=GREY[scale] | also: cv2.imdecode(data, flag)
        for name, also in _ALSO.items()
        for scale in (1, by)
    }
    whole = data.tobytes()
    mjpeg = Layout("MJPG", height, width)
    found["source MJPG"] = lambda: picture(whole, mjpeg, LEAST, colour=False)
    found["source MJPG, colour"] = lambda: picture(whole, mjpeg, LEAST)  # five times a second, and in a new scene
    raw = np.random.default_rng(0).integers(0, 256, 3 * height * width, np.uint8).tobytes()
    for name in RAW:
        for limited in (False, True):
            layout = Layout(name, height, width, limited=limited)
            found[f"source {name}{' limited' * limited}"] = lambda layout=layout: picture(raw, layout, LEAST)
    return found


def main() -> int:
    """Print the table. Returns 0."""
    cv2.setNumThreads(1)
    for height, width in SIZES:
        timed = jobs(height, width)
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(ROUNDS):
            for name, job in timed.items():
                began = time.perf_counter()
                job()
                seconds[name].append(time.perf_counter() - began)
        whole = np.median(seconds["MJPEG colour 1/1"])
        for name, values in seconds.items():
            print(f"{width}x{height} {name:20} {1e3 * np.median(values):6.2f} ms {np.median(values) / whole:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
