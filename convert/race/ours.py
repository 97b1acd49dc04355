"""A frame to a verdict the device's way: the functions that the daemon and its source call, in one process.

What lies between the two processes (shared memory, a message) is left out, and so is what is written; `busi-kd device
bench --pipeline` measures both.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.bundle import load_bundle
from device.capture import Frame
from device.capture.pace import DEFAULT_FPS
from device.capture.pixels import Layout, picture
from device.daemon import ASSESS_S
from device.judge import Judge
from device.over_time import OverTime
from device.region.region import Region, crop
from device.region.screen import LEAST
from device.runtime import open_bundle


def open_way(
    bundle: str,
    threads: int,
    region: list[int],
    frame: list[int],
    whole: bool = False,
    each: bool = False,
    ahead: bool = False,
) -> Callable[[bytes], dict[str, Any]]:
    """region: x, y, width, height of a frame of (height, width). whole: decoded as where the region is looked for, else
    as small as covers the model's input. each: quality is looked at in every frame, else as often as the daemon does.
    ahead: while a frame is decoded, the one before it is judged, as in the daemon's two processes; the second of the
    `threads` decodes, and what is told is of the frame before, but for the first.
    """
    threads = 1 if ahead else threads
    cv2.setNumThreads(threads)  # as the daemon does
    loaded = load_bundle(Path(bundle))
    meta = loaded.meta
    judge = Judge(open_bundle(loaded, threads), meta, OverTime(), 0.0 if each else ASSESS_S)
    place, layout = Region(*region, frame[1], frame[0]), Layout("MJPG", *frame)
    least = LEAST if whole else (meta.preprocess.height, meta.preprocess.width)
    number = 0
    decoder = ThreadPoolExecutor(1)
    coming: Future | None = None

    def decode(jpeg: bytes) -> tuple[np.ndarray, np.ndarray]:
        found = picture(jpeg, layout, least)
        return crop(place, found.luma), found.coloured

    def verdict(jpeg: bytes) -> dict[str, Any]:
        nonlocal number, coming
        before, coming = coming, decoder.submit(decode, jpeg) if ahead else None
        pixels, coloured = decode(jpeg) if before is None else before.result()
        at = number / DEFAULT_FPS
        shown = judge.judge(Frame(pixels, number, at, "", coloured), at, at)
        number += 1
        likely = meta.classes[int(shown.logits.argmax())]
        return {"class": likely, "verdict": shown.verdict.label}

    return verdict
