"""What the benchmark of the pipeline looks at: frames of a scanner's screen, and a live source that plays them."""

import time
from pathlib import Path

import cv2
import numpy as np

from device.capture import Frame, NoData, Unsupported
from device.capture.decoder import Decoder
from device.capture.pace import DEFAULT_FPS, Pace, checked_fps
from device.capture.pixels import JPEGS, Layout
from device.errors import UserError
from device.region.region import Region

FORMATS = ("MJPG", "YUYV", "NV12")  # what grabbers give, by V4L2's four characters
QUALITY = 80  # of the JPEG: what grabbers send
SHOTS = 16  # frames of one picture, half a second of a moving probe: no two are the same, few are a new scene
STEP = 3  # pixels from one to the next
MARGIN = 0.05  # of the screen's height, above and below the picture
BACKGROUND, WRITING = 12, (200, 200, 200)  # grey level of the screen, BGR of what is written on it
SUFFIX = ".frame"


def region_on(size: tuple[int, int], picture_size: tuple[int, int]) -> Region:
    """Where a picture lies on a screen, both (height, width): in the middle, as large as fits with its aspect kept.

    Raises UserError when that is too small for a region.
    """
    height, width = size
    scale = min(height * (1 - 2 * MARGIN) / picture_size[0], 0.8 * width / picture_size[1])
    inner_h, inner_w = (max(1, round(side * scale)) for side in picture_size)
    try:
        return Region((width - inner_w) // 2, (height - inner_h) // 2, inner_w, inner_h, width, height)
    except ValueError as error:
        raise UserError(f"--size {width}x{height}: {error} Give another size.") from None


def screen(pixels: np.ndarray, size: tuple[int, int], shot: int) -> tuple[np.ndarray, Region]:
    """A picture (uint8, grey or BGR) on a scanner's dark screen -> ((height, width, 3) BGR, where it lies).

    As a digital grabber sees it: writing, a scale of grey and a small coloured mark around it, no noise. shot: from 0,
    how many times STEP pixels it has moved. Raises UserError as `region_on` does.
    """
    region = region_on(size, pixels.shape[:2])
    shown = np.full((*size, 3), BACKGROUND, np.uint8)
    inner = pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    inner = cv2.resize(inner, (region.width + SHOTS * STEP, region.height), interpolation=cv2.INTER_CUBIC)
    shown[region.y : region.bottom, region.x : region.right] = inner[:, shot * STEP :][:, : region.width]
    for line, name in enumerate(("FR", "DR", "GN", "Z", "TIS", "MI")):
        at = (8, region.y + 24 + 28 * line)
        cv2.putText(shown, f"{name} {line}.{shot}", at, 0, 0.5, WRITING, 1, cv2.LINE_AA)
    shown[region.y : region.bottom, -24:-12] = np.linspace(255, 0, region.height).astype(np.uint8)[:, None, None]
    cv2.circle(shown, (region.x - 12, region.y + 12), 6, (0, 200, 220), -1, cv2.LINE_AA)
    return shown, region


def encode(shown: np.ndarray, pixel_format: str) -> bytes:
    """(H, W, 3) BGR, both sides even -> one frame as a grabber sends it: one of FORMATS, MJPEG in 4:2:2."""
    if pixel_format == "MJPG":
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
        return cv2.imencode(".jpg", shown, options)[1].tobytes()
    luma, red, blue = cv2.split(cv2.cvtColor(shown, cv2.COLOR_BGR2YCrCb))
    if pixel_format == "NV12":
        chroma = np.stack([blue[::2, ::2], red[::2, ::2]], axis=2)
        return luma.tobytes() + chroma.tobytes()
    return np.stack([luma[:, ::2], blue[:, ::2], luma[:, 1::2], red[:, ::2]], axis=2).tobytes()


def write_stream(
    folder: Path, pictures: list[np.ndarray], size: tuple[int, int], pixel_format: str
) -> list[tuple[bytes, Region]]:
    """SHOTS frames of each picture, which are returned with their regions and written into `folder` for the source."""
    made = []
    for pixels in pictures:
        for shot in range(SHOTS):
            shown, region = screen(pixels, size, shot)
            made.append((encode(shown, pixel_format), region))
            (folder / f"{len(made):04}{SUFFIX}").write_bytes(made[-1][0])
    return made


class StreamSource:
    """A grabber's stand-in: the frames of a folder over and over, decoded as device.capture.v4l2 decodes them.

    Whether the pictures show anybody is not said (`synthetic` None), so that the daemon looks at their quality as it
    does at a scanner's: it is the time that counts, and no verdict leaves the benchmark. folder: of `write_stream`,
    read into memory when opened. size: (height, width) of its frames. least: what a decoded frame must keep of that.
    """

    synthetic = None
    live = True
    skipped = 0

    def __init__(
        self,
        folder: Path | str,
        size: tuple[int, int],
        least: tuple[int, int],
        pixel_format: str = JPEGS[0],
        fps: float = DEFAULT_FPS,
    ) -> None:
        self._folder = Path(folder)
        self._decoder = Decoder(Layout(pixel_format, *size), tuple(least))
        self.description = f"{pixel_format} of {folder}"
        self._pace = Pace(checked_fps(fps))
        self._frames: list[bytes] = []
        self._sequence = 0

    def open(self) -> None:
        """Read the frames. Raises UserError when there are none."""
        self._frames = [file.read_bytes() for file in sorted(self._folder.glob(f"*{SUFFIX}"))]
        if not self._frames:
            raise UserError(f"{self._folder}: no {SUFFIX} file there; give a folder of frames.")

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises NoData when it is not due yet, Undecodable when it does not decode."""
        if not self._frames:
            raise Unsupported(f"{self.description} is not open")
        if not self._pace.wait(timeout):
            raise NoData("the next frame is not due yet")
        captured, sequence = time.monotonic(), self._sequence
        self._sequence += 1
        found = self._decoder.picture(self._frames[sequence % len(self._frames)], captured)
        return Frame(found.luma, sequence, captured, f"frame {sequence}", found.coloured)

    def close(self) -> None:
        """Let go of the frames."""
        self._frames = []
