"""Runs in the virtual machine: the V4L2 source on the real driver `uvcvideo`, before an emulated USB grabber.

Writes what came out of each scene into /answers/uvc.json; tests/vm/test_uvc.py says what they should be.
"""

import json
import sys
import time
import traceback
from pathlib import Path

import cv2
import grabber
import guest
import numpy as np

from device.capture import CaptureError, NoData, Undecodable
from device.capture.v4l2 import V4L2Source

MEDIA = Path("/sys/bus/media/devices")
PATIENCE_S = 60.0


def picture(width: int = 1280, height: int = 720, colour: tuple[int, int, int] = (90, 90, 90)) -> bytes:
    """A JPEG picture: dark, with a box of that colour on a third of it."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[:, width // 3 : 2 * width // 3] = colour
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def plugged(frames: list[bytes]) -> grabber.Grabber:
    """A grabber, once it has a node."""
    found, until = grabber.Grabber(frames), time.monotonic() + PATIENCE_S
    while grabber.node() is None:
        if time.monotonic() > until:
            raise TimeoutError("the driver made no device node")
        time.sleep(0.05)
    return found


def grab_until(source: V4L2Source, wanted: str) -> dict:
    """Grab until a frame (`frame`, `colour`, `grey`) or a failure of that state comes; the first ones may be old, and
    so may what is told of colour."""
    until = time.monotonic() + PATIENCE_S
    last = ""
    while time.monotonic() < until:
        try:
            frame = source.grab(1.0)
        except CaptureError as error:
            last = f"{error.state}: {error}"
            if error.state == wanted:
                return {"state": error.state, "detail": str(error)}
            if not isinstance(error, NoData | Undecodable):
                break
            continue
        if wanted == "frame" or wanted == ("colour" if np.mean(frame.coloured) > 0 else "grey"):
            low, high = (int(frame.pixels[:, at].mean().round()) for at in (10, frame.pixels.shape[1] // 2))
            return {"shape": frame.pixels.shape, "coloured": float(np.mean(frame.coloured)), "low": low, "high": high}
    return {"state": f"never {wanted}", "last": last}


def scenes() -> dict:
    """Plug in, look, spoil, unplug, plug in again."""
    guest.load("uvcvideo")
    guest.load("vhci_hcd")
    device = plugged([picture()])
    source = V4L2Source()
    source.open()
    told = {"opened": [source.layout.pixel_format, source.layout.width, source.layout.height, source.layout.limited]}
    told["plain"] = grab_until(source, "frame")
    device.frames = [picture(colour=(20, 40, 200))]
    told["colour"] = grab_until(source, "colour")
    whole = picture()
    device.frames = [whole[: len(whole) // 2]]
    told["cut off"] = grab_until(source, "undecodable")
    device.frames = [grabber.without_tables(whole)]
    told["without tables"] = grab_until(source, "grey")
    device.frames = [picture(640, 480)]
    told["another size"] = grab_until(source, "changed")
    source.open()
    told["taken up"] = grab_until(source, "frame")
    device.frames = None
    told["silent"] = grab_until(source, "no data")
    device.unplug()
    told["unplugged"] = grab_until(source, "no device") | {"left": [path.name for path in MEDIA.iterdir()]}
    source.close()
    plugged([picture()])
    source.open()
    told["again"] = grab_until(source, "frame")
    source.close()
    return told


def main() -> int:
    """Play all of it; 0 whatever came out."""
    try:
        told = scenes()
    except Exception:  # noqa: BLE001 told to the host, which fails on it
        told = {"traceback": traceback.format_exc()}
    with open("/answers/uvc.json", "w") as answers:
        json.dump(told, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
