"""One frame's way through everything around the interpreter, stage by stage in one process, each stage timed.

The stages are the daemon's and its source's own functions in their order. What two processes do is done here by one, so
that nothing waits for anything and the times can be added up; what waiting adds, device.bench_live measures.
"""

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import log, record, report
from device.bundle import Bundle, Meta
from device.capture import Frame
from device.capture import child as other_side
from device.capture.decoder import Decoder
from device.capture.pace import DEFAULT_FPS
from device.capture.pixels import Layout
from device.capture.process import copied
from device.daemon import ASSESS_S, TICK_S
from device.decide import Verdict, decide
from device.judge import Snapshot
from device.latest import Latest
from device.machine import Machine
from device.notify import Notifier
from device.outline import outline
from device.over_time import Belief, OverTime, step
from device.preprocess import prepare
from device.quality import OK, Quality, assess
from device.region.region import Region, crop
from device.runtime import Model
from device.scene import Change, Watch
from device.stages import STAGES as TIMED
from device.stages import Tally
from device.sweep import Sweep

STAGES = ("decode", "hand_over", "crop", "prepare", "infer", "change", "quality", "decide", "publish", "second")
EVERY = {"quality": round(ASSESS_S * DEFAULT_FPS), "second": round(TICK_S * DEFAULT_FPS)}  # in frames; others: each

_WELL = Quality(OK)


@dataclass
class Way:
    """What one frame has become so far; each stage fills in its part. data: as a grabber sends it. region: of it."""

    number: int
    data: bytes
    region: Region
    frame: Frame | None = None
    luma: np.ndarray | None = None
    logits: np.ndarray | None = None
    mask: np.ndarray | None = None
    change: Change | None = None
    quality: Quality = _WELL
    verdict: Verdict | None = None
    belief: Belief | None = None


def stages_of(meta: Meta) -> tuple[str, ...]:
    """The stages of a bundle: STAGES, and `outline` with a model that gives one."""
    if meta.mask is None:
        return STAGES
    at = STAGES.index("publish")
    return (*STAGES[:at], "outline", *STAGES[at:])


class Stages:
    """A method for each of `stages_of`, to be called in that order, and what it keeps from frame to frame.

    layout: of the frames. folder: where the record and the log are written.
    """

    def __init__(self, bundle: Bundle, model: Model, layout: Layout, folder: Path) -> None:
        self._meta, self._model = bundle.meta, model
        self._decoder = Decoder(layout, (bundle.meta.preprocess.height, bundle.meta.preprocess.width))
        self._how = OverTime()
        self._child, self._parent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory: other_side.Memory | None = None
        self._slot: Latest[Frame] = Latest()
        self._watch = Watch(self._how.scene)
        self._belief: Belief | None = None
        self._rows = record.open_record(folder / "verdicts.csv", bundle, None, self._how)
        self._lines = open(folder / "log.txt", "w", buffering=1)  # line by line, as to the journal
        self._notifier = Notifier()
        self._machine = Machine(say=self._say)
        self._tallies, self._sweep = [Tally(), Tally()], Sweep()

    def run(self, way: Way, spent: dict[str, list[tuple[float, float]]]) -> None:
        """Take one frame through the stages that are due, and add (wall, CPU) seconds of each to `spent`. Its keys are
        `stages_of` the bundle."""
        for stage in spent:
            if way.number % EVERY.get(stage, 1) == 0:
                job = getattr(self, stage)
                wall, cpu = time.perf_counter(), time.process_time()  # CPU of all threads, so of the interpreter's too
                job(way)
                spent[stage].append((time.perf_counter() - wall, time.process_time() - cpu))

    def close(self) -> None:
        """Let go of the files, the sockets and the shared memory."""
        for held in (self._rows, self._lines, self._child, self._parent, self._memory):
            if held is not None:
                held.close()

    def decode(self, way: Way) -> None:
        """A grabber's bytes -> grey pixels no larger than needed, and the share of colour, as often as live."""
        found = self._decoder.picture(way.data, way.number / DEFAULT_FPS)
        way.frame = Frame(found.luma, way.number, time.monotonic(), f"frame {way.number}", found.coloured)

    def hand_over(self, way: Way) -> None:
        """Into shared memory, the request and its answer, the copy out of it, the slot between the two threads."""
        pixels, slot = way.frame.pixels, way.number % other_side.SLOTS
        if self._memory is None:
            self._memory = other_side.Memory(pixels.nbytes)
        self._memory.write(slot, pixels)
        said = {"slot": slot, "shape": pixels.shape, "captured": way.frame.captured, "name": way.frame.name}
        said |= {"coloured": way.frame.coloured, "skipped": 0, "capacity": self._memory.capacity}
        self._parent.send(other_side.GRAB)
        self._child.recv(16)
        self._child.sendmsg([json.dumps({"frame": said}).encode()])
        found = json.loads(self._parent.recvmsg(other_side.MESSAGE)[0])["frame"]
        pixels = copied(self._memory.mapped, found)
        self._slot.put(Frame(pixels, way.number, found["captured"], found["name"], found["coloured"]))
        way.frame = self._slot.take(0)

    def crop(self, way: Way) -> None:
        """To the region that holds the ultrasound picture."""
        frame = way.frame
        pixels = crop(way.region, frame.pixels)
        way.frame = Frame(pixels, frame.sequence, frame.captured, frame.name, frame.coloured)

    def prepare(self, way: Way) -> None:
        """To the model's size."""
        way.luma = prepare(way.frame.pixels, self._meta.preprocess)

    def infer(self, way: Way) -> None:
        """The interpreter."""
        way.logits = self._model.logits(way.luma)
        if self._meta.mask is not None:
            way.mask = self._model.raw_mask()

    def change(self, way: Way) -> None:
        """How much the picture differs from the one before."""
        way.change = self._watch.see(way.luma)

    def quality(self, way: Way) -> None:
        """Is it a picture, and of the kind that the model knows?"""
        way.quality = assess(way.luma, way.frame.pixels, self._meta.familiar, way.frame.coloured)

    def decide(self, way: Way) -> None:
        """The verdict of the frame, and over time."""
        way.verdict = decide(way.logits, self._meta)
        self._belief = step(self._belief, way.frame.captured, way.logits, way.change, self._meta, self._how)
        way.belief = self._belief

    def outline(self, way: Way) -> None:
        """The mask as polygons: of each frame here, and in the daemon of those whose verdict names a lesion."""
        outline(way.mask, self._meta.mask, way.frame.pixels.shape[:2], self._meta.preprocess)

    def publish(self, way: Way) -> None:
        """The counts, the row of the record (a write of its own), the watchdog."""
        frame = way.frame
        took = dict.fromkeys(TIMED, 1.0)  # milliseconds; which they are takes no other time to count
        snapshot = Snapshot(
            *(frame.sequence, frame.name, frame.captured, way.logits, way.change, way.quality),
            *(way.verdict, way.belief, took),
        )
        self._sweep.add(snapshot.belief)
        self._machine.judged(snapshot)
        for tally in self._tallies:
            tally.add(snapshot.verdict.label, snapshot.stages_ms)
        self._rows.add(record.row(snapshot, self._meta.classes))
        self._notifier.ready()
        self._notifier.progress()

    def second(self, way: Way) -> None:
        """The sample of the machine and the line of the log, once a second."""
        condition = self._machine.sample()
        line = report.second(self._tallies[0], {"captured": 30}, TICK_S, condition.health, self._meta.classes)
        line |= self._machine.pairs() | {"shown": way.belief.verdict.label}
        self._say(log.pairs(line))
        self._tallies[0] = Tally()

    def _say(self, line: str) -> None:
        self._lines.write(f"{line}\n")
