"""A Pi's own camera, through picamera2, which comes with Raspberry Pi OS and not from pip.

For a camera that looks at the ultrasound machine's screen. It is imported when the camera is opened; the daemon's
environment has to see the system's packages for that (python3 -m venv --system-site-packages). picamera2 blocks for
ever when a camera is unplugged, which its process does not survive (device/capture/process.py).
"""

import time
from typing import Any

import numpy as np

from device.capture import Busy, CaptureError, Frame, NoData, NoDevice, Unsupported
from device.capture.pace import checked_fps
from device.capture.pixels import coloured_chroma
from device.errors import UserError

SIZE, FPS = (1280, 720), 30.0
FORMAT = "YUV420"  # luma lies ready, chroma behind it
INSTALL = (
    "the package picamera2 is not to be seen here: sudo apt install python3-picamera2, and make busi-kd's environment "
    "with --system-site-packages."
)
_STEP = 2  # every second sample of chroma: every fourth row and column, as in device.capture.pixels
_OLDEST_S = 1.0


class PicameraSource:
    """Frames of camera number `number`, as `rpicam-hello --list-cameras` counts; luma, (H, W) uint8, 0..255.

    size: (width, height). fps: frames per second.
    """

    synthetic = None
    live = True
    skipped = 0

    def __init__(self, number: int = 0, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        if fps is not None and checked_fps(fps) == 0:
            raise UserError("--fps is 0, but a camera has a pace of its own: give 1 or more, or leave it out.")
        self.description = self.identity = f"picamera2 {number}"
        self._number, self._size, self._fps = number, tuple(size or SIZE), fps or FPS
        self._camera: Any | None = None
        self._job: Any | None = None
        self._sequence = 0

    def open(self) -> None:
        """Start the camera. Raises UserError without the package, NoDevice, Busy, Unsupported, CaptureError."""
        self.close()
        try:
            from libcamera import ColorSpace
            from picamera2 import Picamera2
        except ImportError as error:
            raise UserError(INSTALL) from error
        there = Picamera2.global_camera_info()
        if self._number >= len(there):
            raise NoDevice(f"there is no camera {self._number}: {len(there)} are connected")
        try:
            self._camera = Picamera2(self._number)
            main = {"size": self._size, "format": FORMAT}
            # Sycc: luma from 0 to 255, which video would have at 16 to 235.
            wanted = self._camera.create_video_configuration(
                main=main, colour_space=ColorSpace.Sycc(), controls={"FrameRate": self._fps}
            )
            self._camera.configure(wanted)
            given = self._camera.camera_configuration()["main"]
            if given["format"] != FORMAT:
                raise Unsupported(f"{self.description}: asked for {FORMAT}, the camera gives {given['format']}")
            self._size = tuple(given["size"])
            self._camera.start()
        except (RuntimeError, OSError, ValueError) as error:
            self.close()
            held = "busy" in str(error).lower() or "acquire" in str(error).lower()
            kind = Busy if held else CaptureError
            raise kind(f"{self.description}: {error}") from error
        except CaptureError:
            self.close()
            raise

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises NoData when none came in time, NoDevice when the camera is not open."""
        if self._camera is None:
            raise NoDevice(f"{self.description} is not open")
        # A request that did not come in time stays asked for: cancelling it would restart the camera's queue.
        self._job = self._job or self._camera.capture_request(wait=False)
        try:
            request = self._job.get_result(timeout=timeout)
        except TimeoutError as error:
            raise NoData(f"{self.description}: no frame came") from error
        self._job = None
        try:
            planes = request.make_array("main")
            stamp = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        luma, places = _split(planes, self._size)
        now = time.monotonic()
        captured = now if stamp is None else stamp / 1e9
        if not now - _OLDEST_S <= captured <= now:
            captured = now
        self._sequence += 1
        return Frame(luma, self._sequence - 1, captured, f"picamera2#{self._sequence - 1}", places)

    def close(self) -> None:
        """Let go of the camera."""
        camera, self._camera, self._job = self._camera, None, None
        if camera is not None:
            camera.close()


def _split(planes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(3 H / 2, stride) uint8 of YUV420 -> luma (H, W), and (h, w) bool, which places are in colour.

    Behind the luma lie the rows of Cb and then of Cr, two to a line of the array.
    """
    width, height = size
    stride = planes.shape[1]
    luma = np.ascontiguousarray(planes[:height, :width])
    chroma = planes[height : height + height // 2].reshape(2, height // 2, stride // 2)
    chroma = chroma[:, ::_STEP, : width // 2 : _STEP]
    pairs = chroma[0].astype(np.uint16) | chroma[1].astype(np.uint16) << 8
    return luma, coloured_chroma(False)[pairs]
