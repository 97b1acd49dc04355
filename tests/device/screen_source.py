"""Drawn screens of ultrasound machines as a source, for a process of its own or for this one."""

import time

import cv2
import numpy as np
from screens import FPS, Screen, draw_layout

from device.capture import EndOfStream, Frame
from device.phantom import make_phantom


class Drawn:
    """Plays `scenes`, each "layout:motion:frames", one behind the other; a layout "blank" is one colour all over.

    reduced: frames are handed over at a half of their sides, as MJPEG is decoded. paced: in real time.
    """

    synthetic, skipped = None, 0
    description = identity = "drawn"

    def __init__(self, scenes: list[str], reduced: bool = False, paced: bool = False) -> None:
        self.live, self._scenes, self._reduced, self._paced = paced, scenes, reduced, paced
        self.sequence = 0

    def open(self) -> None:
        self._frames = self._play()

    def _play(self):
        picture = make_phantom("benign", 3, (384, 480)).image
        for scene in self._scenes:
            layout, motion, count = scene.split(":")
            screen = None if layout == "blank" else Screen(draw_layout(int(layout)), picture, motion, jpeg=False)
            for number in range(int(count)):
                yield np.full((1080, 1920), 16, np.uint8) if screen is None else screen.frame(number)

    def grab(self, timeout: float) -> Frame:
        whole = next(self._frames, None)
        if whole is None:
            raise EndOfStream("all scenes are over")
        pixels = whole
        if self._reduced:
            pixels = cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        places = np.zeros((whole.shape[0] // 4, whole.shape[1] // 4), bool)
        places[:10] = True  # a menu in colour
        self.sequence += 1
        if self._paced:
            time.sleep(1 / FPS)  # the source's own pace, not a wait for anything
        number = self.sequence - 1
        captured = time.monotonic() if self._paced else 100 + number / FPS
        return Frame(pixels, number, captured, str(number), places, whole.shape)

    def close(self) -> None:
        pass
