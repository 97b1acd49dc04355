"""Which device node is the grabber: looked for anew at every opening, since a re-plugged one gets another number."""

import errno
import os
import re
import stat
import time
from pathlib import Path

from device.capture import Busy, CaptureError, NoDevice
from device.capture.offers import pixel_formats
from device.capture.pixels import JPEGS, RAW
from device.errors import UserError

AUTO = "auto"
DEV = Path("/dev")
# Drivers whose nodes capture, but from memory: the image processors and codecs of the Pi itself.
NO_SOURCES = ("bcm2835-isp", "bcm2835-codec", "pispbe", "rpivid", "rpi-hevc-dec")
_CAPTURE, _STREAMING = 0x1, 0x04000000  # <linux/videodev2.h>: V4L2_CAP_*
_MEMORY_TO_MEMORY = 0x4000 | 0x8000  # single- and multi-planar
_NODES = Path("/sys/class/video4linux")
_LET_GO_S = 0.5  # some milliseconds are enough; a source in its own process must answer within process.HANG_S
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO)


def open_device(device: str) -> tuple[int, str]:
    """The descriptor and the path of `device`: a path such as /dev/video0 or one of /dev/v4l/by-id, or AUTO.

    AUTO: the first node, by number, that captures pictures of a known format from outside. Raises NoDevice, Busy, and
    UserError when there is a device that may not be opened, or a path that is no capture device.
    """
    if device != AUTO:
        descriptor = _opened(device)
        why = unfit(descriptor)
        if why is not None:
            os.close(descriptor)
            raise UserError(f"{device}: {why}; give a capture device, or --device auto.")
        return descriptor, device
    refused: UserError | CaptureError | None = None
    for path in nodes():
        try:
            descriptor = _opened(path)
        except (UserError, Busy) as error:
            refused = refused or error
            continue
        except CaptureError:  # gone since it was listed
            continue
        if unfit(descriptor) is None:
            return descriptor, path
        os.close(descriptor)
    raise refused or NoDevice("no grabber is plugged in: no /dev/video* captures pictures")


def nodes() -> list[str]:
    """The paths /dev/video*, by number."""
    found = (re.fullmatch(r"video(\d+)", name) for name in os.listdir(DEV))
    return [str(DEV / match[0]) for match in sorted(filter(None, found), key=lambda match: int(match[1]))]


def card(descriptor: int) -> str:
    """The open device's own name, such as `USB Video: USB Video`; printable, on one line."""
    from linuxpy.video import device as v4l

    name = v4l.read_capabilities(descriptor).card.decode(errors="replace").strip("\0 ")
    return "".join(letter for letter in name if letter.isprintable()) or "without a name"


def controller(path: str) -> Path | None:
    """Where the kernel keeps the media controller of a device node; None when it has none."""
    owner = (_NODES / os.path.basename(os.path.realpath(path)) / "device").resolve()
    return next(owner.glob("media[0-9]*"), None)


def await_end(held: Path | None) -> None:
    """Wait, half a second at most, until the driver of a pulled device has given up `held`, its controller.

    Who closes such a node a moment earlier races with the driver, and Linux 6.1 takes that amiss: its
    media_device_unregister_entity follows a pointer that the driver has just cleared, and kills who has closed it.
    """
    until = time.monotonic() + _LET_GO_S
    while held is not None and held.exists() and time.monotonic() < until:
        time.sleep(0.005)


def unfit(descriptor: int) -> str | None:
    """Why the open node is no grabber, or None when it is one."""
    from linuxpy.video import device as v4l

    try:
        told = v4l.read_capabilities(descriptor)
    except OSError as error:
        return f"it is no V4L2 device ({error.strerror})"
    capabilities = told.device_caps or told.capabilities
    if not capabilities & _CAPTURE or capabilities & _MEMORY_TO_MEMORY:
        return "it does not capture pictures"
    if told.driver.decode(errors="replace") in NO_SOURCES:
        return "it is the Pi's own image processor, which has no cable"
    if not capabilities & _STREAMING:
        return "it cannot stream"
    formats = set(pixel_formats(descriptor))
    return None if formats.intersection((*RAW, *JPEGS)) else f"it offers only {', '.join(sorted(formats)) or 'nothing'}"


def _opened(path: str) -> int:
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            raise UserError(f"{path}: it is no device; give a capture device such as /dev/video0, or --device auto.")
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            raise NoDevice(f"{path} is not there") from error
        if error.errno == errno.EBUSY:
            raise Busy(f"{path} is held by another program") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"{path}: may not be opened; add the user to the group 'video' (sudo usermod -aG video USER), or let "
                "the service have it (DeviceAllow=char-video4linux rw)."
            ) from error
        raise UserError(f"{path}: cannot be opened ({error.strerror}); give another device.") from error
