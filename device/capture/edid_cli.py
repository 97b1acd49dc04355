"""`busi-kd device edid NODE`: give an HDMI bridge the EDID that it shows to the ultrasound machine.

The daemon gives one to the device that it captures from (device/capture/v4l2.py). A bridge whose EDID belongs to a node
of its own, as on the Pi 5, needs this command; udev and busi-kd-edid.service run it when the bridge is found.
"""

import argparse
import ctypes
import errno
import os
from pathlib import Path

from device import RESEARCH_NOTICE
from device.capture.edid import BLOCK, default_edid
from device.errors import UserError

_NOT_OFFERED = (errno.ENOTTY, errno.EINVAL)  # a camera's node, or a grabber that keeps its EDID to itself
_MOST_BLOCKS = 256  # V4L2 userspace API, VIDIOC_G_EDID


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device edid`."""
    parser.add_argument("node", type=Path, help="the bridge's node, such as /dev/v4l-subdev2 or /dev/video0")
    parser.add_argument("--replace", action="store_true", help="put busi-kd's own in the place of one that is there")


def main(args: argparse.Namespace) -> int:
    """Say what the bridge shows now. Returns 0, also where there is nothing to be given; raises UserError."""
    try:
        descriptor = os.open(args.node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"{args.node}: cannot be opened ({error.strerror}); give the bridge's node.") from error
    try:
        print(f"{args.node}: {give(descriptor, args.replace)}. {RESEARCH_NOTICE}")
    except OSError as error:
        raise UserError(
            f"{args.node}: its EDID cannot be set ({error.strerror}); unplug the cable and try again."
        ) from error
    finally:
        os.close(descriptor)
    return 0


def give(descriptor: int, replace: bool = False) -> str:
    """Give the default EDID to an open node that has none, or to any with `replace`; returns what was done, in words.

    A node that knows no EDID is left alone. Raises OSError when the driver refuses.
    """
    try:
        held = read(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        return "knows no EDID that could be set, and is left alone"
    ours = default_edid()
    if held == ours:
        return f"shows busi-kd's EDID of {len(ours)} bytes already"
    if held and not replace:
        return f"shows an EDID of its own of {len(held)} bytes, which stays"
    from linuxpy.video import device as v4l

    v4l.set_edid(descriptor, ours)
    return f"shows busi-kd's EDID of {len(ours)} bytes now"


def read(descriptor: int) -> bytes:
    """The EDID that an open node shows, empty when it has none. Raises OSError, ENOTTY where a node knows none."""
    from linuxpy.video import device as v4l

    asked = v4l.raw.v4l2_edid()  # of no blocks: the driver says how many there are
    try:
        v4l.ioctl(descriptor, v4l.IOC.G_EDID, asked)
        blocks = min(asked.blocks, _MOST_BLOCKS)
        if not blocks:
            return b""
        held = ctypes.create_string_buffer(blocks * BLOCK)
        asked.start_block, asked.blocks = 0, blocks
        asked.edid = ctypes.cast(held, type(asked.edid))
        v4l.ioctl(descriptor, v4l.IOC.G_EDID, asked)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        raise
    return held.raw[: asked.blocks * BLOCK]
