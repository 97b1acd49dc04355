"""What an open V4L2 device offers: formats, sizes, frame rates and, behind an HDMI input, the source's own timings."""

import errno
from collections.abc import Iterator
from typing import Any

from device.capture.choice import COSTS, Offer

# Of a device that scales to any size, these are asked for.
COMMON_SIZES = ((1920, 1080), (1280, 720), (1024, 768), (800, 600), (640, 480))
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE and V4L2_FRMIVAL_TYPE_DISCRETE


def pixel_formats(descriptor: int) -> list[str]:
    """The capture formats in V4L2's four characters; linuxpy's own list leaves out those that it has no name for."""
    from linuxpy.video import device as v4l

    told = v4l.raw.v4l2_fmtdesc(type=v4l.BufferType.VIDEO_CAPTURE)
    found = v4l.iter_read(descriptor, v4l.IOC.ENUM_FMT, told)
    return [form.pixelformat.to_bytes(4, "little").decode("latin-1").rstrip(" \0") for form in found]


def offers(descriptor: int, timings: Any | None) -> list[Offer]:
    """All that can be chosen from. timings: v4l2_bt_timings of an HDMI input, whose size and rate are the only ones.

    Raises OSError when the device is gone.
    """
    known = [name for name in dict.fromkeys(pixel_formats(descriptor)) if name in COSTS]
    if timings is not None:
        return [Offer(name, timings.width, timings.height, frame_rate(timings)) for name in known]
    return [
        Offer(name, width, height, _fastest(descriptor, name, width, height))
        for name in known
        for width, height in _sizes(descriptor, name)
    ]


def frame_rate(timings: Any) -> float:
    """Frames per second of v4l2_bt_timings: pixel clock over all pixels with their blanking; 0 when it says none."""
    across = timings.width + timings.hfrontporch + timings.hsync + timings.hbackporch
    down = timings.height + timings.vfrontporch + timings.vsync + timings.vbackporch
    down += timings.il_vfrontporch + timings.il_vsync + timings.il_vbackporch if timings.interlaced else 0
    return timings.pixelclock / (across * down) if across * down else 0.0


def _sizes(descriptor: int, name: str) -> Iterator[tuple[int, int]]:
    from linuxpy.video import device as v4l

    asked = v4l.raw.v4l2_frmsizeenum(pixel_format=v4l.raw.v4l2_fourcc(*name))
    for told in v4l.iter_read(descriptor, v4l.IOC.ENUM_FRAMESIZES, asked):
        if told.type == _DISCRETE:
            yield told.discrete.width, told.discrete.height
            continue
        s = told.stepwise
        for width, height in COMMON_SIZES:
            fits = s.min_width <= width <= s.max_width and s.min_height <= height <= s.max_height
            if (
                fits
                and not (width - s.min_width) % max(1, s.step_width)
                and not ((height - s.min_height) % max(1, s.step_height))
            ):
                yield width, height
        return
    if not asked.index:  # nothing is told: what is set now is the one thing known
        try:
            now = v4l.get_raw_format(descriptor, v4l.BufferType.VIDEO_CAPTURE).fmt.pix
        except OSError as error:
            if error.errno == errno.EINVAL:
                return
            raise
        yield now.width, now.height


def _fastest(descriptor: int, name: str, width: int, height: int) -> float:
    """Frames per second at best; 0 when the driver does not say."""
    from linuxpy.video import device as v4l

    asked = v4l.raw.v4l2_frmivalenum(pixel_format=v4l.raw.v4l2_fourcc(*name), width=width, height=height)
    rates = [0.0]
    for told in v4l.iter_read(descriptor, v4l.IOC.ENUM_FRAMEINTERVALS, asked):
        shortest = told.discrete if told.type == _DISCRETE else told.stepwise.min
        if shortest.numerator:
            rates.append(shortest.denominator / shortest.numerator)
        if told.type != _DISCRETE:
            break
    return max(rates)
