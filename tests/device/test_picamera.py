"""The Pi's own camera, before a stand-in of picamera2 that keeps to its documented calls."""

import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from device import capture
from device.capture.picamera import PicameraSource
from device.errors import UserError
from device.quality import COLOUR_DIFFERENCE

SIZE = (64, 48)


class Request:
    def __init__(self, planes: np.ndarray, stamp: int | None) -> None:
        self.planes, self.stamp, self.released = planes, stamp, False

    def make_array(self, name: str) -> np.ndarray:
        assert (name, self.released) == ("main", False)
        return self.planes

    def get_metadata(self) -> dict:
        return {} if self.stamp is None else {"SensorTimestamp": self.stamp}

    def release(self) -> None:
        self.released = True


class Camera:
    """Picamera2 as far as it is used: requests come from `coming`, None: not in time."""

    cameras = 1
    coming: ClassVar[list] = []
    failure: Exception | None = None
    format = "YUV420"
    made: ClassVar[list] = []

    @classmethod
    def global_camera_info(cls) -> list[dict]:
        return [{"Num": n, "Model": "imx708"} for n in range(cls.cameras)]

    def __init__(self, number: int) -> None:
        if self.failure:
            raise self.failure
        self.number, self.closed, self.started, self.jobs = number, False, False, 0
        Camera.made.append(self)

    def create_video_configuration(self, main: dict, colour_space: object, controls: dict) -> dict:
        return {"main": main, "colour_space": colour_space, "controls": controls}

    def configure(self, wanted: dict) -> None:
        self.wanted = wanted

    def camera_configuration(self) -> dict:
        return {"main": {**self.wanted["main"], "format": self.format}}

    def start(self) -> None:
        self.started = True

    def capture_request(self, wait: bool) -> "Camera":
        assert wait is False
        self.jobs += 1
        return self

    def get_result(self, timeout: float) -> Request:
        found = Camera.coming.pop(0)
        if found is None:
            raise TimeoutError
        return found

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def picamera2(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Camera))
    colours = SimpleNamespace(ColorSpace=SimpleNamespace(Sycc=lambda: "sYCC"))
    monkeypatch.setitem(sys.modules, "libcamera", colours)
    for name, value in (("cameras", 1), ("coming", []), ("failure", None), ("format", "YUV420"), ("made", [])):
        monkeypatch.setattr(Camera, name, value)
    return Camera


def planes_of(bgr: np.ndarray, stride: int) -> np.ndarray:
    """YUV420 as libcamera lays it out: lines of `stride` bytes, chroma lines of half of it. By OpenCV's own I420."""
    height, width = bgr.shape[:2]
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    found = np.zeros((height * 3 // 2, stride), np.uint8)
    found[:height, :width] = i420[:height]
    chroma = found[height:].reshape(height, stride // 2)
    chroma[:, : width // 2] = i420[height:].reshape(height, width // 2)
    return found


def opened(**wanted: object) -> PicameraSource:
    source = PicameraSource(size=SIZE, **wanted)
    source.open()
    return source


@pytest.mark.parametrize("stride", [64, 128])
def test_luma_and_colour_are_those_of_the_picture(stride: int) -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    picture[:, 32:] = (40, 40, 200)  # red
    request = Request(planes_of(picture, stride), time.monotonic_ns())
    Camera.coming.append(request)
    source = opened(fps=25)
    frame = source.grab(1.0)
    np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)[:48])
    assert frame.pixels.shape == (48, 64)
    assert frame.coloured.shape == (12, 16)
    assert np.ptp([40, 40, 200]) > COLOUR_DIFFERENCE
    assert frame.coloured[:, :8].mean() == 0
    assert frame.coloured[:, 8:].mean() == 1
    assert abs(frame.captured - request.stamp / 1e9) < 1e-6
    assert request.released
    (camera,) = Camera.made
    assert camera.wanted["controls"] == {"FrameRate": 25}
    assert (camera.wanted["colour_space"], camera.started) == ("sYCC", True)
    source.close()
    assert camera.closed


def test_a_frame_that_is_late_is_not_asked_for_twice() -> None:
    grey = planes_of(np.full((48, 64, 3), 90, np.uint8), 64)
    Camera.coming += [None, None, Request(grey, None), Request(grey, 5)]
    source = opened()
    for _ in range(2):
        with pytest.raises(capture.NoData):
            source.grab(0.1)
    before = time.monotonic()
    assert source.grab(0.1).captured >= before, "without a time stamp it is now"
    assert source.grab(0.1).captured >= before, "nor is one from long ago believed"
    assert Camera.made[0].jobs == 2


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (RuntimeError("Failed to acquire camera: Device or resource busy"), capture.Busy),
        (RuntimeError("Camera __init__ sequence did not complete."), capture.CaptureError),
    ],
)
def test_a_camera_that_does_not_start_has_a_named_failure(failure: Exception, kind: type) -> None:
    Camera.failure = failure
    with pytest.raises(capture.CaptureError) as caught:
        opened()
    assert type(caught.value) is kind


def test_no_camera_and_another_format_have_names() -> None:
    with pytest.raises(capture.NoDevice, match="no camera 1: 1 are connected"):
        PicameraSource(number=1).open()
    Camera.format = "XRGB8888"
    with pytest.raises(capture.Unsupported, match="gives XRGB8888"):
        opened()
    assert Camera.made[0].closed
    with pytest.raises(capture.NoDevice, match="not open"):
        PicameraSource().grab(0.1)


def test_without_the_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(UserError, match="apt install python3-picamera2"):
        PicameraSource().open()
    with pytest.raises(UserError, match="pace of its own"):
        PicameraSource(fps=0)
