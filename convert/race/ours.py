"""A frame to a verdict the device's way: the functions that the daemon and its source call, in one process.

What lies between the two processes (shared memory, a message) is left out, and so is what is written; `busi-kd device
bench --pipeline` measures both.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.bundle import load_bundle
from device.capture import Frame
from device.capture.decoder import Decoder
from device.capture.pace import DEFAULT_FPS
from device.capture.pixels import Layout
from device.daemon import ASSESS_S
from device.judge import Judge
from device.over_time import OverTime
from device.region.region import Region, crop
from device.region.screen import LEAST
from device.runtime import open_bundle

AHEAD = 2  # frames


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
    ahead: while a frame is judged, one lies decoded in the slot and the next is decoded, as in the daemon's two
    processes; the second of the `threads` decodes, and what is told is of the frame AHEAD before, or of the first.
    """
    threads = 1 if ahead else threads
    cv2.setNumThreads(threads)  # as the daemon does
    loaded = load_bundle(Path(bundle))
    meta = loaded.meta
    judge = Judge(open_bundle(loaded, threads), meta, OverTime(), 0.0 if each else ASSESS_S)
    place = Region(*region, frame[1], frame[0])
    decoder = Decoder(Layout("MJPG", *frame), LEAST if whole else (meta.preprocess.height, meta.preprocess.width))
    number = decoded = 0
    second = ThreadPoolExecutor(1)
    coming: deque[Future] = deque()

    def decode(jpeg: bytes) -> tuple[np.ndarray, float]:
        nonlocal decoded
        found = decoder.picture(jpeg, decoded / DEFAULT_FPS)
        decoded += 1
        return crop(place, found.luma), found.coloured

    def decoded_ahead(jpeg: bytes) -> tuple[np.ndarray, float]:
        coming.append(second.submit(decode, jpeg))
        return (coming.popleft() if len(coming) > AHEAD else coming[0]).result()

    def verdict(jpeg: bytes) -> dict[str, Any]:
        nonlocal number
        pixels, coloured = decoded_ahead(jpeg) if ahead else decode(jpeg)
        at = number / DEFAULT_FPS
        shown = judge.judge(Frame(pixels, number, at, "", coloured), at, at)
        number += 1
        likely = meta.classes[int(shown.logits.argmax())]
        return {"class": likely, "verdict": shown.verdict.label}

    return verdict
