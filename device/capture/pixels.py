"""Buffers as V4L2 drivers fill them -> grey pixels, and how much of the picture is in colour.

Judging needs luma only. Raw YCbCr formats hold it ready, RGB is converted, and of MJPEG no more is decoded than the
model needs: libjpeg can stop its inverse DCT at a half, a quarter or an eighth of the size. Colour is looked at all the
same, since a Doppler picture must not be judged: in the chroma samples of raw formats, and for MJPEG in a second
decoding at an eighth of the size, which device.capture.decoder asks for a few times a second only (docs/capture.md).
"""

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from device.capture import Undecodable
from device.quality import COLOUR_DIFFERENCE, STEP, coloured_places

RAW = ("GREY", "NV12", "NV21", "YUYV", "UYVY", "RGB3", "BGR3")  # V4L2's four characters
JPEGS = ("MJPG", "JPEG")
REDUCTIONS = (8, 4, 2, 1)
ROOM = 1.5  # raw luma is made no smaller than the model's input by this: 480 lines stay, 720 are halved
MAX_PIXELS = 1 << 26  # a broken header may claim 2^32; 8K has 2^25
GREY = {  # reduction -> how cv2.imdecode is asked for it; | cv2.IMREAD_COLOR: in colour
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}
_BYTES = {"RGB3": 3, "BGR3": 3, "YUYV": 2, "UYVY": 2}  # per pixel; the others have planes, luma first
_LUMA_AT = {"YUYV": 0, "UYVY": 1}
# Behind the last line, where many cheap cameras leave something: the picture is whole.
_HARMLESS = re.compile(r"extraneous bytes before marker 0xd9")


@dataclass(frozen=True)
class Layout:
    """What a buffer holds. pixel_format: of RAW or JPEGS. height, width: pixels. stride: bytes from one line to the
    next (`bytesperline`, 0: no padding; no meaning for JPEGS). limited: black is 16 and white 235, not 0 and 255.

    Raises ValueError when a line does not fit into its stride.
    """

    pixel_format: str
    height: int
    width: int
    stride: int = 0
    limited: bool = False

    def __post_init__(self) -> None:
        least = self.width * _BYTES.get(self.pixel_format, 1)
        if self.pixel_format in RAW and self.stride == 0:
            object.__setattr__(self, "stride", least)
        if min(self.height, self.width) < 1 or (self.pixel_format in RAW and self.stride < least):
            raise ValueError(f"{self.width} x {self.height} {self.pixel_format} with {self.stride} bytes per line")


@dataclass(frozen=True, eq=False)
class Picture:
    """luma: (H, W) uint8, 0..255. places: (h, w) bool, which of the places of a coarser grid are in colour; None: not
    looked at. size: (height, width) as it came in."""

    luma: np.ndarray
    places: np.ndarray | None
    size: tuple[int, int]

    @property
    def coloured(self) -> float | None:
        """Share 0..1 of the places that are in colour."""
        return None if self.places is None else np.count_nonzero(self.places) / self.places.size


def picture(data: bytes, layout: Layout, least: tuple[int, int], full: bool = False, colour: bool = True) -> Picture:
    """Decode one buffer: MJPEG at the size of `reduction`, large raw luma reduced too, whole with `full`; RGB whole.

    least: (height, width) in pixels that the result must have at least. colour: look for colour in MJPEG, too, which
    takes a decoding of its own; elsewhere it lies at hand. Raises Undecodable for anything that is not a whole picture
    of that layout.
    """
    if layout.pixel_format in JPEGS:
        found = _from_jpeg(data, layout, least, full)
        return replace(found, places=coloured_in_jpeg(data, layout)) if colour else found
    lines = layout.height * 3 // 2 if layout.pixel_format in ("NV12", "NV21") else layout.height
    if len(data) < layout.stride * lines:
        raise Undecodable(f"the frame has {len(data)} bytes, fewer than the {layout.stride * lines} of a whole one")
    if layout.pixel_format in ("RGB3", "BGR3"):
        return _from_rgb(data, layout)
    if layout.pixel_format in _LUMA_AT:
        shape, strides = (layout.height, layout.width, 2), (layout.stride, 2, 1)
        luma = cv2.extractChannel(np.ndarray(shape, np.uint8, data, 0, strides), _LUMA_AT[layout.pixel_format])
    else:
        luma = np.ndarray((layout.height, layout.width), np.uint8, data, 0, (layout.stride, 1)).copy()
    if not full:
        luma = _reduced(luma, least)
    if layout.limited:
        luma = cv2.LUT(luma, expansion())
    return Picture(luma, _coloured_chroma(data, layout), (layout.height, layout.width))


@lru_cache(1)
def expansion() -> np.ndarray:
    """(256,) uint8: limited-range luma or RGB, 16..235, to 0..255; the rest is clipped (ITU-R BT.601-7, 2.5.3)."""
    return np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


@lru_cache(2)
def coloured_chroma(limited: bool) -> np.ndarray:
    """(65536,) bool: whether the chroma (Cb | Cr << 8) counts as coloured.

    The difference between the largest and the least of R, G and B does not depend on luma (BT.601: R = Y + 1.402 Cr,
    G = Y - 0.344 Cb - 0.714 Cr, B = Y + 1.772 Cb around 128), short of clipping; device.quality asks for it.
    """
    blue = (np.arange(256) - 128.0) * (255 / 224 if limited else 1.0)
    red = blue[:, None]
    channels = np.broadcast_arrays(1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue)
    return (np.ptp(np.stack(channels), axis=0) > COLOUR_DIFFERENCE).reshape(-1)


def _coloured_chroma(data: bytes, layout: Layout) -> np.ndarray:
    """(h, w) bool of every fourth row and column; none for grey."""
    height, pairs, stride = layout.height, layout.width // 2, layout.stride
    if layout.pixel_format == "GREY" or height < 2 or not pairs:
        return np.zeros((1, 1), bool)
    if layout.pixel_format in _LUMA_AT:
        words = np.ndarray((height, pairs), "<u4", data, 0, (stride, 4))[::STEP, :: STEP // 2]
        words = words >> 8 if layout.pixel_format == "YUYV" else words
        chroma = (words & 0xFF) | (words >> 8 & 0xFF00)
    else:
        order = "<u2" if layout.pixel_format == "NV12" else ">u2"
        planes = np.ndarray((height // 2, pairs), order, data, stride * height, (stride, 2))
        chroma = planes[:: STEP // 2, :: STEP // 2]
    return coloured_chroma(layout.limited)[chroma]


def _from_rgb(data: bytes, layout: Layout) -> Picture:
    pixels = np.ndarray((layout.height, layout.width, 3), np.uint8, data, 0, (layout.stride, 3, 1))
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY if layout.pixel_format == "RGB3" else cv2.COLOR_BGR2GRAY)
    few = pixels[::STEP, ::STEP]
    if layout.limited:
        luma, few = cv2.LUT(luma, expansion()), expansion()[few]
    return Picture(luma, coloured_places(few), (layout.height, layout.width))


def reduction(height: int, width: int, least: tuple[int, int]) -> int:
    """The largest of 8, 4, 2 and 1 by which a picture can be reduced without falling below `least` (height, width)."""
    fitting = (by for by in REDUCTIONS if -(-height // by) >= least[0] and -(-width // by) >= least[1])
    return next(fitting, 1)


def _reduced(luma: np.ndarray, least: tuple[int, int]) -> np.ndarray:
    """The means of squares of luma, as MJPEG is decoded smaller: less to hand over, to crop and to resize.

    `least` and room around it for what a region leaves out must remain, and the squares must divide both sides.
    """
    height, width = luma.shape
    by = reduction(height, width, (round(ROOM * least[0]), round(ROOM * least[1])))
    while height % by or width % by:
        by //= 2
    return luma if by == 1 else cv2.resize(luma, (width // by, height // by), interpolation=cv2.INTER_AREA)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a whole JPEG picture, from its frame header (ITU-T T.81, B.2.2).

    Whole: it begins with SOI and ends with EOI, behind which only padding may follow. What is cut off would decode to a
    picture that is grey in its lower part. Raises Undecodable otherwise.
    """
    if not data[:2] == b"\xff\xd8":
        raise Undecodable("the frame is no JPEG picture" if data else "the frame is empty")
    # Cheap grabbers hand out the whole transfer buffer; entropy-coded data never ends in 0 behind a marker.
    if not data.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
        raise Undecodable("the frame's JPEG data are cut off")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding between segments
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            if 0 < height * width <= MAX_PIXELS:
                return height, width
            raise Undecodable(f"the frame's JPEG header claims {width} x {height} pixels")
        elif marker == 0xDA or length < 2:
            break
        else:
            at += 2 + length
    raise Undecodable("the frame's JPEG header is broken")


@lru_cache(1)
def _ear() -> int:
    return os.memfd_create("libjpeg")


def _decoded(data: bytes, how: int) -> np.ndarray:
    """cv2.imdecode, which calls a damaged picture well and has libjpeg print what is wrong with it: that is heard here.

    Raises Undecodable. Not for several threads at a time: standard error is another one's meanwhile.
    """
    kept = os.dup(2)
    os.dup2(_ear(), 2)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        pixels = None
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    length = os.lseek(_ear(), 0, os.SEEK_END)
    said = ""
    if length:
        said = " ".join(os.pread(_ear(), 200, 0).decode(errors="replace").split())
        os.ftruncate(_ear(), 0)
        os.lseek(_ear(), 0, os.SEEK_SET)
    if pixels is None:
        raise Undecodable("the frame's JPEG data do not decode")
    if said and not _HARMLESS.search(said):
        raise Undecodable(f"the frame's JPEG data are damaged ({said})")
    return pixels


def _from_jpeg(data: bytes, layout: Layout, least: tuple[int, int], full: bool) -> Picture:
    size = jpeg_size(data)
    by = 1 if full else reduction(*size, least)
    luma = _decoded(data, GREY[by] | cv2.IMREAD_IGNORE_ORIENTATION)
    return Picture(cv2.LUT(luma, expansion()) if layout.limited else luma, None, size)


def coloured_in_jpeg(data: bytes, layout: Layout) -> np.ndarray:
    """(h, w) bool: which of the places of a JPEG picture, one of eight rows and columns each, are in colour.

    Raises Undecodable.
    """
    pixels = _decoded(data, cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION)
    return coloured_places(cv2.LUT(pixels, expansion()) if layout.limited else pixels)
