"""Which of the forms that a grabber offers is taken: the one that costs the CPU least among those that are good enough.

Also the two small rules that a driver's word has to go through: whether its luma is 16..235, and what its input's
status means. All of it is plain arithmetic on what the driver said, so that it can be tested without one.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from device.capture import CaptureError, NoCable, NoSignal, NoSync, Unsupported
from device.capture.pixels import JPEGS, RAW

ENOUGH_FPS = 24.0  # 25 pictures a second, with the rounding of drivers; a verdict needs no more
# Nanoseconds per pixel on one x86-64 core (docs/capture.md): only their order counts. Formats whose luma lies in a
# plane of its own are copied, packed ones picked apart, RGB is computed, and MJPEG's entropy coding is undone whole.
COSTS = {"GREY": 0.1, "NV12": 0.3, "NV21": 0.3, "YUYV": 0.7, "UYVY": 0.7, "RGB3": 0.9, "BGR3": 0.9}
COSTS |= {"MJPG": 3.0, "JPEG": 3.0}
RANGES = ("auto", "full", "limited")

# Values of <linux/videodev2.h>.
_QUANTIZATION_FULL, _QUANTIZATION_LIMITED, _COLORSPACE_JPEG = 1, 2, 7
_NO_POWER_OR_SIGNAL = 0x1 | 0x2
_NO_LOCK = 0x100 | 0x400 | 0x800 | 0x10000 | 0x20000 | 0x40000  # H, V, standard, sync, equaliser, carrier


@dataclass(frozen=True)
class Offer:
    """A form of picture: pixel_format in V4L2's four characters, pixels, frames per second (0: not said)."""

    pixel_format: str
    width: int
    height: int
    fps: float = 0.0


def choose_offer(
    offers: Iterable[Offer],
    least: tuple[int, int],
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    pixel_format: str | None = None,
) -> Offer:
    """The best of what is offered, in this order.

    1. Large enough for `least` (height, width): nothing brings back what the grabber has scaled away.
    2. As fast as `fps` (default ENOUGH_FPS), else the fastest: over USB 2 uncompressed 1080p comes 5 times a second.
    3. 16:9, as HDMI mostly is: a grabber squeezes the picture into any other shape.
    4. The least work: COSTS times the pixels. 5. The more frames.

    size: (width, height) and pixel_format allow nothing else. Raises Unsupported, with what there is, when nothing is
    left.
    """
    offers = [offer for offer in offers if offer.pixel_format in COSTS]
    left = [
        offer
        for offer in offers
        if (pixel_format is None or offer.pixel_format == pixel_format)
        and (size is None or (offer.width, offer.height) == tuple(size))
    ]
    if not left:
        there = sorted({f"{o.width}x{o.height} {o.pixel_format}" for o in offers})
        more = f" and {len(there) - 12} more" if len(there) > 12 else ""
        wanted = " ".join(filter(None, (f"{size[0]}x{size[1]}" if size else "", pixel_format or "")))
        raise Unsupported(
            f"the device offers no {wanted or 'format that can be read'}, "
            f"only {', '.join(there[:12]) or 'others'}{more}"
        )
    enough = ENOUGH_FPS if fps is None else fps

    def worth(offer: Offer) -> tuple:
        large = min(offer.height / least[0], offer.width / least[1], 1.0)
        fast = min(offer.fps, enough) if offer.fps else enough
        wide = abs(offer.width / offer.height - 16 / 9) < 0.02
        return large, fast, wide, -COSTS[offer.pixel_format] * offer.width * offer.height, offer.fps

    return max(left, key=worth)


def is_limited(pixel_format: str, colorspace: int, quantization: int, wanted: str = "auto") -> bool:
    """Whether black is 16 and white 235 in this form.

    wanted: one of RANGES; `auto` believes the driver, and where it says DEFAULT takes the kernel's rule
    V4L2_MAP_QUANTIZATION_DEFAULT (userspace API, "Colorspaces"): RGB and JPEG are full, YCbCr is limited. A JPEG
    picture is full by JFIF whatever the driver says, but cheap grabbers put 16..235 into it, hence the option.
    """
    if wanted != "auto":
        return wanted == "limited"
    if pixel_format in JPEGS:
        return False
    if quantization in (_QUANTIZATION_FULL, _QUANTIZATION_LIMITED):
        return quantization == _QUANTIZATION_LIMITED
    return pixel_format in ("YUYV", "UYVY", "NV12", "NV21") and colorspace != _COLORSPACE_JPEG


def absence(status: int, timings: int | None, powered: bool | None) -> CaptureError | None:
    """Why an input gives no frames, as far as it says; None when it is well or says nothing.

    status: of VIDIOC_ENUMINPUT. timings: the errno of VIDIOC_QUERY_DV_TIMINGS, 0 for success, None: it was not asked.
    powered: whether there is voltage on the cable (V4L2_CID_DV_RX_POWER_PRESENT), None when the device does not tell.
    """
    if timings == errno.ERANGE:
        return Unsupported("the picture's size or rate is more than the device can take")
    if timings == errno.ENOLCK or (timings != errno.ENOLINK and status & _NO_LOCK and not status & _NO_POWER_OR_SIGNAL):
        return NoSync("there is a signal, but the device cannot lock to it")
    if timings == errno.ENOLINK or status & _NO_POWER_OR_SIGNAL:
        if powered is False:
            return NoCable("nothing is at the other end of the cable, or it is not plugged in")
        return NoSignal("the device receives no picture")
    return None


assert set(COSTS) == {*RAW, *JPEGS}
