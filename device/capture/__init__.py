"""Where frames come from: one small interface, one file per source, and a name for each way of failing.

A source is opened, grabbed from and closed by one and the same thread, and holds nothing of the daemon's: it lives in a
process of its own that may be killed (process.py). On any failure but a single bad frame the caller opens the
source again, which lets go of it first, because that is the one reaction that is right for every driver.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class CaptureError(Exception):
    """There is no frame now. `state` is the failure's name as people read it, str() says what is known of the cause."""

    state = "failed"


class NoDevice(CaptureError):
    """What frames come from is not there: unplugged, unmounted, deleted."""

    state = "no device"


class NoSignal(CaptureError):
    """The device is there and says that it receives no picture: scanner off, or no cable where it cannot tell."""

    state = "no signal"


class NoCable(CaptureError):
    """The device is there and sees nothing at the other end of its cable, not even power."""

    state = "no cable"


class NoSync(CaptureError):
    """A signal is there, but the device cannot lock to it: a bad cable, or a source that is just changing."""

    state = "no sync"


class Busy(CaptureError):
    """Somebody else holds the device."""

    state = "busy"


class Changed(CaptureError):
    """The picture's size or form is another one from here on; opening the source again takes it up."""

    state = "changed"


class NoData(CaptureError):
    """Nothing came within the timeout, and the device does not say why."""

    state = "no data"


class NoRegion(NoData):
    """Frames come, but where on them the ultrasound picture is is not known, so none goes on (device.region.screen)."""

    state = "no region"


class NoAnswer(NoData):
    """Nothing was heard, not even that there is nothing: no knowledge of any kind."""


class Unsupported(CaptureError):
    """Frames come, but in a form that cannot be read."""

    state = "unsupported"


class EndOfStream(CaptureError):
    """The source has given its last frame; opening it again would start over."""

    state = "ended"


class Undecodable(CaptureError):
    """One frame is broken; the source is well and the next grab goes on behind it."""

    state = "undecodable"


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One picture as it came in.

    pixels: uint8 0..255, (H, W) grey or (H, W, 3) BGR, into which nobody writes any more. sequence: counts up from 0,
    without gaps, over the source's whole life. captured: time.monotonic() in seconds when the picture was there, before
    it was decoded. name: what to call it in a log, such as a file name. coloured: the share 0..1 of its places that are
    in colour, or an (h, w) bool map of them, where the source knows it although the pixels are grey
    (device.quality.coloured_places); None: the pixels say it. full: (height, width) as the source sends it, None: as
    the pixels are. region: what was cut from it (device.region.region), as text; None: nothing was. region_by_hand: a
    person has set or confirmed that.
    """

    pixels: np.ndarray
    sequence: int
    captured: float
    name: str
    coloured: float | np.ndarray | None = None
    full: tuple[int, int] | None = None
    region: str | None = None
    region_by_hand: bool = False


class Source(Protocol):
    """What every source offers.

    description: kind and origin for the log. synthetic: the pictures show nobody; None when that is unknown, as with
    a file. live: frames come at their own pace, so the newest one counts; otherwise the source waits and every frame
    is to be judged. skipped: frames that came and gave way to newer ones before they were grabbed.
    """

    description: str
    synthetic: bool | None
    live: bool
    skipped: int

    def open(self) -> None:
        """Take hold of the source, anew when it is held already.

        Raises UserError when the request itself is wrong, else a CaptureError.
        """

    def grab(self, timeout: float) -> Frame:
        """The next frame, waiting at most `timeout` seconds for it. Raises a CaptureError."""

    def close(self) -> None:
        """Let go of everything; harmless when closed already."""
