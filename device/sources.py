"""Which source the settings name: each kind with its own keys, in a process of its own."""

import argparse
from pathlib import Path

from device.capture import Source
from device.capture.find import AUTO
from device.capture.folder import FolderSource
from device.capture.pace import DEFAULT_FPS
from device.capture.phantom import PhantomSource
from device.capture.process import ProcessSource
from device.capture.session import SessionSource
from device.capture.v4l2 import LEAST, V4L2Source
from device.capture.video import VideoSource
from device.config.settings import KEYS, SourceSettings

KINDS = KEYS["source.kind"].spec.choices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that overrule the section `source` of the configuration file."""
    add = parser.add_argument
    add("--source", choices=KINDS, help="where frames come from (default: phantom, the self-test)")
    add("--path", type=Path, metavar="P", help="the folder of pictures, the video file or the recorded session")
    add(
        "--device",
        metavar="NODE",
        help="v4l2: the device, such as /dev/video0 (default: auto, the first that captures)",
    )
    add("--fps", type=float, metavar="N", help="frames per second (default: the source's own, else 30); 0: every frame")
    add("--loop", action="store_true", help="begin again after the last picture or frame; the phantom never ends")


def make(of: SourceSettings, least: tuple[int, int] = LEAST) -> Source:
    """The source that the settings name, not opened yet.

    least: (height, width) in pixels that a frame must keep when it is decoded smaller. Raises UserError for what the
    source itself refuses.
    """
    if of.kind == "v4l2":
        return ProcessSource(
            V4L2Source,
            device=AUTO if of.device is None else str(of.device),
            least=least,
            size=of.size,
            fps=of.fps,
            pixel_format=None if of.pixel_format == "auto" else of.pixel_format,
            range=of.range,
        )
    if of.kind == "video":
        return ProcessSource(VideoSource, path=of.path, fps=of.fps, loop=of.loop)
    if of.kind == "session":
        return ProcessSource(SessionSource, folder=of.path, fps=of.fps, loop=of.loop)
    fps = DEFAULT_FPS if of.fps is None else of.fps
    if of.kind == "folder":
        return ProcessSource(FolderSource, folder=of.path, fps=fps, loop=of.loop)
    return ProcessSource(PhantomSource, fps=fps)
