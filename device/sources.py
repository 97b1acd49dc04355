"""Which source the settings name: each kind with its own keys, in a process of its own."""

import argparse
from pathlib import Path
from typing import Any

from device.capture import Source
from device.capture.find import AUTO
from device.capture.folder import FolderSource
from device.capture.pace import DEFAULT_FPS
from device.capture.phantom import PhantomSource
from device.capture.picamera import PicameraSource
from device.capture.process import ProcessSource
from device.capture.session import SessionSource
from device.capture.v4l2 import LEAST, V4L2Source
from device.capture.video import VideoSource
from device.config.settings import KEYS, RegionSettings, SourceSettings
from device.region import screen, stored

KINDS = KEYS["source.kind"].spec.choices
MODES = KEYS["region.mode"].spec.choices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that overrule the section `source` of the configuration file."""
    add = parser.add_argument
    add("--source", choices=KINDS, help="where frames come from (default: phantom, the self-test)")
    add("--path", type=Path, metavar="P", help="the folder of pictures, the video file or the recorded session")
    add(
        "--device",
        type=Path,
        metavar="NODE",
        help="v4l2: the device, such as /dev/video0 (default: auto, the first that captures)",
    )
    add("--fps", type=float, metavar="N", help="frames per second (default: the source's own, else 30); 0: every frame")
    add("--loop", action="store_true", help="begin again after the last picture or frame; the phantom never ends")
    add(
        "--region",
        choices=MODES,
        help="what of the frames is judged: whole, or auto: the picture on a machine's screen",
    )
    add("--regions", type=Path, metavar="FILE", help=f"where regions are kept (default: {stored.FILE})")


def make(of: SourceSettings, region: RegionSettings) -> Source:
    """The source that the settings name, in a process of its own and not opened yet; where its frames are a machine's
    whole screen, cut to their region there. Raises UserError for what the source itself refuses."""
    whole_screen = region.looked_for(of)
    kind, arguments = _kind(of, screen.LEAST if whole_screen else LEAST)
    if not whole_screen:
        return ProcessSource(kind, **arguments)
    spec = {"source": f"{kind.__module__}:{kind.__qualname__}", "arguments": arguments}
    return ProcessSource(screen.Screen, source=spec, fixed=region.fixed, regions=region.regions)


def _kind(of: SourceSettings, least: tuple[int, int]) -> tuple[type, dict[str, Any]]:
    """Which class of source, and its arguments, which JSON can say. least: (height, width) in pixels that a frame must
    keep when it is decoded smaller."""
    path = None if of.path is None else str(of.path)
    fps = DEFAULT_FPS if of.fps is None else of.fps
    if of.kind == "v4l2":
        device = AUTO if of.device is None else str(of.device)
        pixel_format = None if of.pixel_format == "auto" else of.pixel_format
        chosen = {"size": of.size, "fps": of.fps, "pixel_format": pixel_format, "range": of.range}
        return V4L2Source, {"device": device, "least": least, **chosen}
    if of.kind == "picamera2":
        return PicameraSource, {"number": of.camera, "size": of.size, "fps": of.fps}
    if of.kind == "video":
        return VideoSource, {"path": path, "fps": of.fps, "loop": of.loop}
    if of.kind == "session":
        return SessionSource, {"folder": path, "fps": of.fps, "loop": of.loop}
    if of.kind == "folder":
        return FolderSource, {"folder": path, "fps": fps, "loop": of.loop}
    return PhantomSource, {"fps": fps}
