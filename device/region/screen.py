"""A source that shows a machine's whole screen: of each frame no more than the ultrasound picture goes on.

It stands in the source's own process, before the frame is handed over, so that a name on the screen never leaves it,
but when a person asks for the whole screen to set the region.
While it is not known where the picture is, no frame goes on either: NoRegion says why.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device import log
from device.capture import Frame, NoRegion, Source, child
from device.errors import UserError
from device.preprocess import to_luma
from device.quality import BLANK_SPREAD
from device.region import stored
from device.region.find import Finder, Finding, unknown
from device.region.region import Region, parse, scaled
from device.region.stored import Stored

CHECK_S = 1.0  # how often the stored region, the file of regions and the finder are asked
MISSES = 2  # so many checks running that do not fit: one may fall into a menu that opens
UNREAD = (-1, -1)  # the stamp of no file, so that the file of regions is read whatever it is
# (height, width) that a frame keeps when it is decoded smaller: of a region that takes 0.42 of the screen's height and
# width, 224 x 224 pixels are left. 1080p is decoded at a half of its sides, 720p whole.
LEAST = (536, 536)


@dataclass
class _Held:
    """What is known of the frames of one size. misses: checks running that the region did not fit. why: it does not.
    damaged: the file of regions is, so that nothing is known of what a hand has set. stamp: of that file as it was last
    read; of each size its own, or a change would reach but one. in_file: it had a region of this size then."""

    entry: Stored | None
    finder: Finder
    finding: Finding
    checked: float | None = None
    misses: int = 0
    why: str | None = None
    damaged: str | None = None
    stamp: tuple[int, int] | None = UNREAD
    in_file: bool = False


class Screen:
    """The frames of another source, cut to their region; a Source itself.

    source: as device.capture.child.make takes it. fixed: the region as text, which is then never looked for; None: it
    is taken from the file `regions`, or found by what moves and kept there. A region that was found gives way to
    another one when the screen round it has changed; one that a hand has set or confirmed does not, and as long as it
    does not fit no frame goes on.
    """

    def __init__(self, source: dict[str, Any], fixed: str | None = None, regions: str = str(stored.FILE)) -> None:
        """Raises UserError for a text that is no region, and what the source raises."""
        self._source: Source = child.make(source)
        self._fixed = None if fixed is None else parse(fixed)
        self._regions = Path(regions)
        self._held: dict[tuple[int, int], _Held] = {}  # by (width, height); one, but where a machine changes its size
        self.whole: Frame | None = None  # the last frame before it was cut; it leaves the process when a person asks
        self.description, self.synthetic = self._source.description, self._source.synthetic
        self.live = self._source.live

    @property
    def skipped(self) -> int:
        """Of the source."""
        return self._source.skipped

    @property
    def identity(self) -> str:
        """What the source's regions are kept under."""
        return getattr(self._source, "identity", self._source.description)

    def open(self) -> None:
        """Open the source. Raises what it raises."""
        self.whole = None
        self._source.open()
        for held in self._held.values():
            held.stamp = UNREAD

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def grab(self, timeout: float) -> Frame:
        """The next frame's region. Raises NoRegion, and what the source raises."""
        frame = self.whole = self._source.grab(timeout)
        height, width = frame.full or frame.pixels.shape[:2]
        region, by_hand = (self._fixed, True) if self._fixed else self._region(frame, width, height)
        try:
            part = scaled(region, frame.pixels.shape[1], frame.pixels.shape[0])
        except ValueError as error:
            raise NoRegion(f"{self.identity}: {error}") from error
        return replace(
            frame,
            pixels=frame.pixels[part.y : part.bottom, part.x : part.right],
            coloured=_cut(frame.coloured, part),
            region=str(region),
            region_by_hand=by_hand,
            full=None,
        )

    def _region(self, frame: Frame, width: int, height: int) -> tuple[Region, bool]:
        """The region, and whether a hand has set or confirmed it. Raises NoRegion while there is none that fits."""
        held = self._held.get((width, height))
        if held is None:
            if len(self._held) >= stored.MOST:
                self._held.clear()
            held = _Held(None, Finder(width, height), unknown("nothing was seen yet"))
            self._held[width, height] = held
        if held.checked is None or not 0 <= frame.captured - held.checked < CHECK_S:
            held.checked = frame.captured
            self._read(held, width, height)
            if held.damaged is None:
                self._check(held, to_luma(frame.pixels), width, height)
        if held.damaged is not None:
            raise NoRegion(held.damaged)
        if held.entry is None or held.why is not None:
            if held.finder.due(frame.captured):  # making luma of a frame in colour costs more than asking
                held.finder.feed(to_luma(frame.pixels), frame.captured)
            raise NoRegion(self._say_why(held, width, height))
        return held.entry.region, held.entry.by_hand

    def _read(self, held: _Held, width: int, height: int) -> None:
        """Take up what a hand has set meanwhile, and forget what one has cleared."""
        stamp = _stamp(self._regions)
        if stamp == held.stamp and held.entry is not None and held.damaged is None:
            return
        try:
            kept = stored.load(self._regions).get((self.identity, width, height))
        except UserError as error:
            held.damaged = str(error)
            return
        held.stamp, held.damaged = stamp, None
        # A found one that no file has ever taken, as of a card that is read-only, is none that was cleared.
        cleared, held.in_file = held.in_file and kept is None, kept is not None
        if cleared:
            log.say(f"region: {held.entry.region} was cleared for {self.identity}; it is looked for anew")
            held.entry, held.misses, held.why, held.finder = None, 0, None, Finder(width, height)
        elif kept is not None and kept != held.entry:
            log.say(f"region: {kept.region} ({kept.state}) for {self.identity}")
            held.entry, held.misses, held.why = kept, 0, None

    def _check(self, held: _Held, luma: np.ndarray, width: int, height: int) -> None:
        """Does it still fit, and if there is none or it does not: is there another one now?"""
        if held.entry is not None and luma.std() >= BLANK_SPREAD:  # grabbers paint one colour on loss: no other layout
            why = held.entry.no_longer_valid(_full(luma, width, height))
            held.misses = 0 if why is None else held.misses + 1
            if held.misses >= MISSES and held.why is None:
                log.say(f"region: {held.entry.region} does not fit: {why}")
                held.finder = Finder(width, height)
            if why is None or held.misses >= MISSES:
                held.why = why
        if held.entry is not None and (held.why is None or held.entry.by_hand):
            return
        held.finding = held.finder.finding()
        if held.finding.kind == "found":
            self._keep(held, luma, width, height)

    def _keep(self, held: _Held, luma: np.ndarray, width: int, height: int) -> None:
        region, sure = held.finding.region, held.finding.confidence
        held.entry = Stored(self.identity, region, "found").signed(_full(luma, width, height))
        held.misses, held.why, held.finder = 0, None, Finder(width, height)
        log.say(f"region: {region} found for {self.identity} (confidence {sure:.2f}); confirm it, or set another one")
        try:
            held.entry, held.in_file = stored.store(held.entry, self._regions), True
        except (OSError, UserError) as error:
            log.say(f"region: it is not kept over a restart ({getattr(error, 'strerror', None) or error})")

    def _say_why(self, held: _Held, width: int, height: int) -> str:
        where = f"{self.identity} at {width}x{height}"
        if held.entry is not None and held.entry.by_hand:
            return f"{where}: {held.why}; set the region again (busi-kd device region)"
        return f"{where}: {held.finding.reason}"


def _full(luma: np.ndarray, width: int, height: int) -> np.ndarray:
    """A frame that was decoded smaller, at its own size again; coarse questions can be asked of it."""
    if luma.shape == (height, width):
        return luma
    return cv2.resize(luma, (width, height), interpolation=cv2.INTER_NEAREST)


def _cut(places: float | np.ndarray | None, part: Region) -> float | np.ndarray | None:
    """The region's part of a map of places; of a share of the whole frame nothing is known."""
    if not isinstance(places, np.ndarray):
        return None
    rows, columns = places.shape
    top, bottom = part.y * rows // part.frame_height, -(-part.bottom * rows // part.frame_height)
    left, right = part.x * columns // part.frame_width, -(-part.right * columns // part.frame_width)
    return places[top:bottom, left:right]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
