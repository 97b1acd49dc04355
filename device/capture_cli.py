"""`busi-kd device capture`: record what a source gives, frame by frame and without a verdict, to replay it later."""

import argparse
import contextlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2

from device import RESEARCH_NOTICE, files, sources
from device.capture import CaptureError, EndOfStream, Frame, NoAnswer, NoData, NoRegion, Source, Undecodable
from device.capture.session import COLUMNS, TIMES
from device.config import options
from device.config.settings import RegionSettings, Settings
from device.errors import UserError

RESERVE_BYTES = 500_000_000  # left free: a full card takes the whole machine with it
DEFAULT_BYTES = 1_000_000_000
GRAB_S = 0.5
NO_DATA_S = 5.0


class SessionWriter:
    """Frames into a new folder, each as a PNG and a line with its time; a kill leaves whole lines of whole pictures."""

    def __init__(self, folder: Path, max_bytes: int, reserve: int = RESERVE_BYTES) -> None:
        """Raises UserError when the folder holds anything already or cannot be made."""
        self.folder, self._left, self._reserve = Path(folder), max_bytes, reserve
        self.frames = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise UserError(f"{folder}: is not empty; give a new folder.")
            self._times = open(self.folder / TIMES, "xb", buffering=0)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); give another folder.") from error
        self._line(f"# {RESEARCH_NOTICE}")
        self._line(",".join(COLUMNS))

    def _line(self, text: str) -> None:
        self._times.write(f"{text}\n".encode())

    def add(self, frame: Frame) -> str | None:
        """Keep a frame; why nothing more is kept, or None. Raises OSError when the disk refuses."""
        # Level 1: at 30 frames a second time is short, and the levels above save little on speckle.
        found, coded = cv2.imencode(".png", frame.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not found:
            return f"a frame of shape {frame.pixels.shape} cannot be written as PNG"
        if coded.size > self._left:
            return "the session has reached its largest size (--max-bytes)"
        if shutil.disk_usage(self.folder).free - coded.size < self._reserve:
            return f"less than {self._reserve / 1e6:.0f} MB are free on its disk"
        name = f"{self.frames:06d}.png"
        with open(self.folder / name, "xb") as stream:
            stream.write(coded)
        self._line(f"{frame.captured!r},{name}")
        self._left -= coded.size
        self.frames += 1
        return None

    def close(self) -> None:
        """Flush all of it to disk."""
        os.fsync(self._times.fileno())
        self._times.close()
        files.sync_folder(self.folder)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device capture`."""
    add = parser.add_argument
    options.add_argument(parser)
    sources.add_arguments(parser)
    add("--out", type=Path, required=True, metavar="DIR", help="a new folder for the session")
    add("--duration", type=float, metavar="S", help="end after so many seconds (default: with the source, or Ctrl-C)")
    add("--max-bytes", type=int, default=DEFAULT_BYTES, metavar="N", help="of all pictures (default: 1,000,000,000)")
    options.leave_unset(parser)
    parser.epilog = "Whole frames are kept, unless --region or region.mode of the configuration file asks for a region."


def main(args: argparse.Namespace) -> int:
    """Record until the source ends, the duration is over, Ctrl-C, or the bound. Returns 0."""
    if args.duration is not None and not args.duration > 0:
        raise UserError(f"--duration is {args.duration:g}: give a number of seconds above 0.")
    if args.max_bytes <= 0:
        raise UserError(f"--max-bytes is {args.max_bytes}: give a number of bytes above 0.")
    settings = options.effective(args).settings
    region, kept = what_is_kept(settings)
    source = sources.make(settings.source, region)
    print(f"{RESEARCH_NOTICE}\n{kept}")
    why, writer = "interrupted", None
    try:
        source.open()
        until = None if args.duration is None else time.monotonic() + args.duration
        writer = SessionWriter(args.out, args.max_bytes)
        with contextlib.suppress(KeyboardInterrupt):
            why = record(source, writer, until)
    except CaptureError as error:
        why = f"{error.state} ({error})"
    except OSError as error:
        why = f"the disk refuses ({error.strerror})"
    finally:
        source.close()
        if writer is not None:
            writer.close()
    print(f"{args.out}: {writer.frames if writer else 0} frames, {source.skipped} skipped; ended: {why}.")
    return 0 if writer is not None and writer.frames else UserError.exit_status


def what_is_kept(settings: Settings) -> tuple[RegionSettings, str]:
    """Which part of the frames is kept, and that in a sentence. Whole ones unless a region was asked for: a person who
    records looks for faults in what comes, and a recording in which the region is not found yet would be empty."""
    region = settings.region
    if region.mode == "usual":
        region = replace(region, mode="whole")
    if not region.looked_for(settings.source):
        return region, "Whole frames are kept, with all that is written in them: patients' names, too."
    cut = f"{region.fixed} of each frame is" if region.mode == "fixed" else "the ultrasound picture's region is"
    what = f"Only {cut} kept, with all that is written in it, and no frame while that is not known"
    return region, f"{what} (region.mode is {region.mode}; --region whole keeps all of each frame)."


def record(source: Source, writer: SessionWriter, until: float | None) -> str:
    """Move frames until something ends it; returns what. Raises CaptureError and OSError.

    until: time.monotonic() in seconds, or None. Frames whose region is not known are left out, with the reason each
    time it changes: they do come, and the next movement may show where the picture is.
    """
    last, missing = time.monotonic(), None
    while until is None or time.monotonic() < until:
        try:
            frame = source.grab(GRAB_S)
        except EndOfStream as error:
            return str(error)
        except NoRegion as error:
            last = time.monotonic()
            if str(error) != missing:
                missing = str(error)
                print(f"left out, no region: {missing}")
            continue
        except NoData as error:
            if isinstance(error, NoAnswer) or time.monotonic() - last < NO_DATA_S:
                continue
            raise
        except Undecodable as error:
            print(f"left out: {error}")
            continue
        last, missing = time.monotonic(), None
        why = writer.add(frame)
        if why is not None:
            return why
    return "the duration asked for is over"
