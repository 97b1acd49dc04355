"""`busi-kd device region`: show what is stored, find a region in a recording, set, confirm or forget one."""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from device import RESEARCH_NOTICE, files
from device.capture import EndOfStream, NoData, NoDevice, Undecodable, Unsupported
from device.capture.folder import FolderSource
from device.capture.video import VideoSource
from device.errors import Refused, UserError
from device.preprocess import read_picture, to_luma
from device.region import stored
from device.region.find import EVERY_S, Finder, Finding
from device.region.region import Region, parse
from device.region.still import propose

VIDEO_FPS = 30.0  # what is assumed of a recording when nothing is said
GREEN, AMBER = (80, 220, 80), (0, 190, 255)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device region`; without an action it shows."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="without one: show what is stored")
    made = {}
    for name, call, what in (
        ("show", _show, "list the stored regions"),
        ("find", _find, "find the region in a recording of the machine's screen"),
        ("set", _set, "set a region by hand"),
        ("confirm", _confirm, "say that the region that was found is right"),
        ("clear", _clear, "forget a source's region"),
    ):
        made[name] = action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        what = f"the file of regions (default: {stored.FILE})"
        action.add_argument("--regions", type=Path, default=stored.FILE, metavar="FILE", help=what)
        action.set_defaults(act=call)
    for name in ("set", "confirm", "clear"):
        made[name].add_argument("--source", required=True, metavar="NAME", help="the source, as `show` names it")
    made["set"].add_argument("region", help="WIDTHxHEIGHT+X+Y@FRAMEWIDTHxFRAMEHEIGHT, such as 640x480+320+90@1280x720")
    what = "a picture of the whole screen: a later change of its layout is noticed then"
    made["set"].add_argument("--frame", type=Path, metavar="PICTURE", help=what)
    find = made["find"]
    find.add_argument("--path", type=Path, required=True, help="a video file, or a folder of frames")
    find.add_argument("--fps", type=float, help=f"frames per second of the recording (default: video {VIDEO_FPS:g}; "
                      "of a folder each picture is looked at)")  # fmt: skip
    find.add_argument("--source", metavar="NAME", help="store what is found for this source")
    what = "write the last frame there with the region drawn in; it shows the whole screen, names included"
    find.add_argument("--picture", type=Path, metavar="FILE.png", help=what)
    parser.set_defaults(act=_show, regions=stored.FILE)


def main(args: argparse.Namespace) -> int:
    """Do what the action says. Raises UserError for a wrong file or value, Refused where nothing is found."""
    return args.act(args)


def find_in(path: Path, fps: float | None = None) -> tuple[Finding, np.ndarray]:
    """What is found in a video or a folder of frames, and its last frame, (H, W) or (H, W, 3) uint8.

    Where nothing moves it is a proposal of the last frame, if that looks like a screen with a picture. Raises UserError
    when nothing decodes, or the frames differ in size.
    """
    folder = path.is_dir()
    if fps is not None and not 0.1 <= fps <= 1000:
        raise UserError(f"--fps {fps:g}: give 0.1 to 1000 frames per second.")
    seconds = 1 / fps if fps else EVERY_S if folder else 1 / VIDEO_FPS
    source = FolderSource(path, 0) if folder else VideoSource(path, 0)
    finder = last = None
    source.open()
    try:
        while True:
            try:
                frame = source.grab(1.0)
            except Undecodable:
                continue
            except (NoData, NoDevice, Unsupported, EndOfStream):
                break
            luma = to_luma(frame.pixels)
            if finder is None:
                finder = Finder(luma.shape[1], luma.shape[0])
            elif luma.shape != (finder.frame_height, finder.frame_width):
                raise UserError(f"{path}: {frame.name} has another size than the frames before; give one recording.")
            # a hair later, so that looks that are due with this frame do not wait for the next
            finder.feed(luma, frame.sequence * seconds * 1.0001)
            last = frame.pixels
    finally:
        source.close()
    if finder is None:
        raise UserError(f"{path}: holds no frame that decodes; give another recording.")
    finding = finder.finding()
    if finding.region is None:
        proposal = propose(to_luma(last))
        if proposal.region is not None:
            return replace(proposal, reason=f"{finding.reason}; {proposal.reason}"), last
    return finding, last


def drawn(frame: np.ndarray, finding: Finding) -> np.ndarray:
    """A copy of the frame, (H, W, 3) BGR, with the region drawn in: green found, amber proposed."""
    picture = cv2.cvtColor(to_luma(frame), cv2.COLOR_GRAY2BGR)
    region = finding.region
    if region is not None:
        colour = GREEN if finding.kind == "found" else AMBER
        cv2.rectangle(picture, (region.x - 1, region.y - 1), (region.right, region.bottom), colour, 2)
    return picture


def _find(args: argparse.Namespace) -> int:
    finding, last = find_in(args.path, args.fps)
    print(RESEARCH_NOTICE)
    if args.picture is not None:
        written, data = cv2.imencode(".png", drawn(last, finding))
        if not written:
            raise UserError(f"{args.picture}: the picture cannot be made; give a smaller recording.")
        files.write_bytes(args.picture, data.tobytes())
        print(f"{args.picture}: shows the whole screen, names included; keep it accordingly.")
    if finding.region is None:
        raise Refused(f"{args.path}: no region: {finding.reason}.")
    print(f"{finding.kind}: {finding.region}, confidence {finding.confidence:.2f} ({finding.reason})")
    if finding.kind != "found":
        print(
            "A proposal is not stored. If it is right: busi-kd device region set --source NAME " + str(finding.region)
        )
    elif args.source is not None:
        new = _entry(args.source, finding.region, "found").signed(to_luma(last))
        kept = stored.store(new, args.regions)
        print(_line(kept) + ("" if kept == new else " (stays: it was given by hand; `clear` it first)"))
    return 0


def _set(args: argparse.Namespace) -> int:
    new = _entry(args.source, parse(args.region), "set by hand")
    if args.frame is not None:
        try:
            new = new.signed(to_luma(read_picture(args.frame)))
        except ValueError as error:
            raise UserError(f"{args.frame}: {error} Give a picture of the whole screen.") from error
    print(_line(stored.store(new, args.regions)))
    return 0


def _confirm(args: argparse.Namespace) -> int:
    for one in _of(args):
        new = stored.Stored(one.source, one.region, "confirmed by hand", one.signature) if not one.by_hand else one
        print(_line(stored.store(new, args.regions)))
    return 0


def _clear(args: argparse.Namespace) -> int:
    for one in _of(args):
        stored.clear(one.key, args.regions)
        print(f"forgotten: {_line(one)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    kept = stored.load(args.regions)
    for one in kept.values():
        print(_line(one))
    if not kept:
        print(f"{args.regions}: no region is stored.")
    return 0


def _of(args: argparse.Namespace) -> list[stored.Stored]:
    found = [one for one in stored.load(args.regions).values() if one.source == args.source]
    if not found:
        raise UserError(
            f"{args.regions}: no region of {args.source!r}; `busi-kd device region show` lists the sources."
        )
    return found


def _entry(source: str, region: Region, state: stored.State) -> stored.Stored:
    try:
        return stored.Stored(source, region, state)
    except ValueError as error:
        raise UserError(f"--source: {error} Correct it.") from error


def _line(one: stored.Stored) -> str:
    return f"{one.source}: {one.region}, {one.state}"
