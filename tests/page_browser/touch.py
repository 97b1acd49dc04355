"""A machine's whole screen round a phantom, and a finger that draws on it."""

import sys

import numpy as np
from playwright.sync_api import Page

from device.region.region import Region
from tests.page_browser.running import ROOT

sys.path[:0] = [str(ROOT / "tests" / "device")] * (str(ROOT / "tests" / "device") not in sys.path)  # as pytest has it


LAYOUT = 3  # the number of one whose picture is a rectangle


def _screens():
    import screens

    return screens


def screen_of(picture: np.ndarray) -> tuple[np.ndarray, Region]:
    """A machine's screen, (height, width, 3) uint8, with a still (H, W) picture in it, and where that is."""
    screen = _screens().Screen(_screens().draw_layout(LAYOUT), picture, motion="frozen")
    return screen.frame(0), screen.region


def swipe(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """One finger, from one place of the window to another; the browser's own touch events, not the mouse's."""
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, points: list[tuple[float, float]]) -> None:
        said = [{"x": x, "y": y, "id": 1} for x, y in points]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": said})

    touch("touchStart", [start])
    for step in range(1, 11):
        at = tuple(a + (b - a) * step / 10 for a, b in zip(start, end))
        touch("touchMove", [at])
    touch("touchEnd", [])
