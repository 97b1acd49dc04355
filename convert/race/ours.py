"""A frame to a verdict the device's way: the functions that the daemon and its source call, in one process.

What lies between the two processes (shared memory, a message) is left out, and so is what is written; `busi-kd device
bench --pipeline` measures both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

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
    bundle: str, threads: int, region: list[int], frame: list[int], whole: bool = False, each: bool = False
) -> Callable[[bytes], dict[str, Any]]:
    """region: x, y, width, height of a frame of (height, width). whole: decoded as where the region is looked for, else
    as small as covers the model's input. each: quality is looked at in every frame, else as often as the daemon does.
    """
    cv2.setNumThreads(threads)  # as the daemon does
    loaded = load_bundle(Path(bundle))
    meta = loaded.meta
    judge = Judge(open_bundle(loaded, threads), meta, OverTime(), 0.0 if each else ASSESS_S)
    place, layout = Region(*region, frame[1], frame[0]), Layout("MJPG", *frame)
    least = LEAST if whole else (meta.preprocess.height, meta.preprocess.width)
    number = 0

    def verdict(jpeg: bytes) -> dict[str, Any]:
        nonlocal number
        found = picture(jpeg, layout, least)
        at = number / DEFAULT_FPS
        shown = judge.judge(Frame(crop(place, found.luma), number, at, "", found.coloured), at, at)
        number += 1
        likely = meta.classes[int(shown.logits.argmax())]
        return {"class": likely, "verdict": shown.verdict.label}

    return verdict
