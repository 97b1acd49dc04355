"""The daemon: read frames, judge the newest, log what is seen once a second, for as long as power lasts.

Two threads: one captures, this one judges; between them lies a slot for one frame. The watchdog is fed when a frame
was judged or when the source says for certain that it has none, and never by a clock.
"""

import math
import time
from collections.abc import Callable

from device import (
    RESEARCH_NOTICE,
    __version__,
    log,
    metrics,
    record,
    report,
)
from device.bundle import Bundle
from device.capture import Frame, NoRegion, Source
from device.capture.pump import Grabbed, Pump, Signal
from device.judge import UNCHANGED_S, BadFrame, Judge, Snapshot
from device.keep import Keeper
from device.latest import Latest
from device.live.server import Live
from device.live.snapshot import Seen
from device.machine import Machine
from device.notify import Notifier
from device.over_time import OverTime
from device.runtime import Model
from device.stages import Tally
from device.sweep import Sweep

POLL_S = 0.2  # how soon a signal or a change of the source is noticed while no frame comes
TICK_S = 1.0  # pause between two log lines
STALL_S = 3.0  # a source that answers nothing at all for so long is called stalled
STOP_S = 1.2  # time the capture thread is given to end; a stop as a whole takes 2 s at most
RESTART = "it starts again with the settings as they are now"
ASSESS_S = 0.2  # how often the quality of a live picture is looked at: it costs half an inference


class Daemon:
    """One run: the source's thread, the judging loop, its counts and its log.

    origin: how the model was chosen. notes: what must be said about that; each begins with its matter in capitals.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: Model,
        source: Source,
        notifier: Notifier,
        rows: log.RowFile | None = None,
        say: Callable[[str], None] = log.say,
        origin: str = "option",
        notes: tuple[str, ...] = (),
        how: OverTime | None = None,
        assess_s: float = ASSESS_S,
        machine: Machine | None = None,
        exported: metrics.MetricsFile | None = None,
        unchanged_s: float = UNCHANGED_S,
        keep: Keeper | None = None,
        live: Live | None = None,
    ) -> None:
        self.bundle, self.model, self.source, self.notifier, self.rows = bundle, model, source, notifier, rows
        self.origin, self.notes = origin, notes
        self.asked_to_stop: str | None = None  # why; set by a signal handler, hence a plain attribute
        self.asked_to_mark = False  # the beginning or the end of a sweep; likewise
        self.asked_to_restart = False  # in place, with the settings as they are then
        self.keep, self._live = keep, live
        self.seen: Seen | None = None  # the newest judged frame and what was said of it
        self.held: Seen | None = None  # the one that a person holds; judging goes on
        self.second: dict[str, float | None] = {"fps": None, "latency_ms": None}  # of the one that is over
        self.latest: Snapshot | None = None
        self.tally = Tally()
        self.sweep = Sweep()  # the whole run's
        self.health = report.HealthOfRun()
        self.machine = machine or Machine(say=say)
        self._exported = exported
        self._say = say
        # Of phantoms, and to a model that knows nothing else, quality says nothing.
        every_s = None if self.synthetic else assess_s if source.live else 0.0
        self._judged = Judge(model, bundle.meta, how or OverTime(), every_s, unchanged_s)
        self._slot: Latest[Grabbed] = Latest()
        self._pump = Pump(source, self._slot, say)
        self._tally = Tally()  # of the second that runs, as are the next two
        self._fresh: Snapshot | None = None
        self._changes = 0
        self._frames_told: dict[str, int] = {}
        self._bad_told = False
        self._absence_told = -math.inf
        self._began = self._ticked = time.monotonic()

    @property
    def synthetic(self) -> bool | None:
        """True when the pictures or the model's training data show nobody; None when the pictures do not say."""
        return True if self.bundle.meta.synthetic else self.source.synthetic

    def run(self, duration: float | None = None) -> str:
        """Judge until the source ends, a stop is asked for, or `duration` seconds are over; returns which.

        Raises UserError when the source cannot be opened at the start, when not one of its pictures decodes and when
        the first row of verdicts cannot be written; and whatever ended the capture thread.
        """
        self._say_hello()
        self.notifier.status("waiting for the first frame")
        self._began = self._ticked = time.monotonic()
        self._pump.start()
        if self._live is not None:
            self._live.start(self)
        try:
            why = self._loop(math.inf if duration is None else self._began + duration)
        finally:
            again = self.asked_to_restart and not self.asked_to_stop
            (self.notifier.starting_again if again else self.notifier.stopping)()
            self.machine.meter.finish()
            if not self._pump.stop(STOP_S):
                self._say("the source does not answer; it is left behind open.")
            if self._slot.take(0) is not None:
                self._slot.replaced += 1  # it came too late to be judged
        if self._pump.failure is not None:
            raise self._pump.failure
        self._tick(last=True)
        self._say(f"stopped: {why}.")
        return why

    def _loop(self, until: float) -> str:
        while True:
            now = time.monotonic()
            if self.asked_to_stop:
                return self.asked_to_stop
            if self.asked_to_restart:
                return RESTART
            if now >= until:
                return "the duration asked for is over"
            if now - self._ticked >= TICK_S:
                self._tick()
            if self.asked_to_mark:
                self.asked_to_mark = False
                self._mark()
            if self._live is not None:
                self._live.serve()
            if self._slot.finished:
                return self._pump.signal.detail or "the source ended"
            grabbed = self._next(max(0.0, min(POLL_S, self._ticked + TICK_S - now, until - now)))
            if grabbed is not None:
                self._judge(grabbed)
            if self._pump.signal.state == NoRegion.state:
                self.seen = None  # cut by a region that holds no more, perhaps with a name in it: not shown, not kept
            self._tell_absence()
            self._pump.watch(STALL_S)
            if self.keep is not None:
                self.keep.signal(self._pump.signal)

    def _mark(self) -> None:
        if self.keep is None:
            self._say("a sweep cannot be marked: the recorder is off (recorder.enabled in the configuration file).")
        else:
            self.keep.mark()

    def _next(self, timeout: float) -> Grabbed | None:
        """The next frame, unless none comes or the governor lets none be taken within `timeout` seconds."""
        began = time.monotonic()
        pause = self.machine.pause(began)
        if pause > 0:
            time.sleep(min(pause, timeout))
            grabbed = None
        else:
            grabbed = self._slot.take(timeout)
        now = time.monotonic()
        self.machine.meter.waited(now - began)
        if grabbed is not None:
            self.machine.took(now)
        return grabbed

    def _judge(self, grabbed: Grabbed) -> None:
        try:
            snapshot = self._judged.judge(grabbed.frame, grabbed.at, time.monotonic())
        except BadFrame as error:
            self._count_bad(grabbed.frame, error)
            return
        if self.latest is not None and snapshot.belief.verdict.label != self.latest.belief.verdict.label:
            self._changes += 1
        self.latest = self._fresh = snapshot
        self.seen = grabbed.frame, snapshot
        self.sweep.add(snapshot.belief)
        self.machine.judged(snapshot)
        for tally in (self._tally, self.tally):
            tally.add(snapshot.verdict.label, snapshot.stages_ms)
        if self.rows is not None:
            self.rows.add(record.row(snapshot, self.bundle.meta.classes))
        if self.keep is not None:
            self.keep.judged(grabbed.frame, snapshot)
        self.notifier.ready()
        self.notifier.progress()

    def _count_bad(self, frame: Frame, error: BadFrame) -> None:
        self.tally.bad += 1
        if not self._bad_told:
            self._say(f"left out as a bad frame, number {frame.sequence} ({frame.name}): {error}")
        self._bad_told = True

    def _tell_absence(self) -> None:
        """Certain knowledge that there is no frame is progress too; a source that says nothing is not."""
        absent = self._pump.absent
        if absent is not None and absent > self._absence_told:
            self._absence_told = absent
            self.notifier.ready()
            self.notifier.progress()

    def source_state(self) -> Signal:
        """The source's state as it is shown."""
        return self._pump.signal

    def whole(self) -> Frame | None:
        """The machine's whole screen, once, for whoever sets the region: never judged, never kept. None until the
        source has handed it over, which it is asked for; of a source that is not cut the newest frame."""
        ask = getattr(self.source, "ask_whole", None)
        uncut = self.seen is not None and self.seen[0].region is None
        return self.seen[0] if uncut else None if ask is None else ask()

    def frames(self) -> dict[str, int]:
        """Frames of the whole run so far. At its end captured = judged + skipped + bad; undecodable ones are extra."""
        return {
            "captured": self._pump.captured + self.source.skipped,
            "judged": self.tally.judged,
            "skipped": self._slot.replaced + self.source.skipped,
            "bad": self.tally.bad,
            "undecodable": self._pump.undecodable,
        }

    def _tick(self, last: bool = False) -> None:
        """The line of the second that is over, and systemd's status."""
        condition = self.machine.condition
        if not last or condition is None:  # asking the firmware may take a second, too long for an end
            condition = self.machine.sample()
            self.health.add(condition.health)
        now, frames, tally = time.monotonic(), self.frames(), self._tally
        fresh = {name: count - self._frames_told.get(name, 0) for name, count in frames.items()}
        line = report.second(tally, fresh, now - self._ticked, condition.health, self.bundle.meta.classes)
        self.second = {"fps": line["fps"], "latency_ms": line["total_p50_ms"]}
        line |= self.machine.pairs() | ({} if self.keep is None else self.keep.pairs())
        signal_now = self.source_state()
        line |= report.shown(self._fresh, self._changes) | {"signal": signal_now.state}
        line |= {"synthetic": self.synthetic, "use": "research-only"}
        self._say(log.pairs(line))
        if self._exported is not None:
            self._exported.write(self._families)
        self._ticked, self._frames_told, self._tally = now, frames, Tally()
        self._fresh, self._changes = None, 0
        self._bad_told = self._bad_told and not tally.judged  # a new case once it was well for a time
        detail = f" ({signal_now.detail})" if signal_now.detail else ""
        self.notifier.status(
            f"signal {signal_now.state}{detail}, {tally.judged} frames judged in the last second. "
            f"Model {self.bundle.meta.name} ({self.origin}). {self.machine.status()}{self._flags()}{RESEARCH_NOTICE}"
        )

    def _families(self) -> list[metrics.Family]:
        """What is exported of the run so far and of the second that is over."""
        return metrics.of_run(
            bundle=self.bundle,
            source=self.source.description,
            synthetic=self.synthetic,
            signal=self.source_state().state,
            frames=self.frames(),
            total=self.tally,
            second=self._tally,
            latest=self._fresh,
            machine=self.machine,
        )

    def _flags(self) -> str:
        flags = [note.partition(":")[0] for note in self.notes] + ["SYNTHETIC"] * bool(self.synthetic)
        return "".join(f"{flag}. " for flag in flags)

    def _say_hello(self) -> None:
        meta = self.bundle.meta
        self._say(f"busi-kd {__version__}. {RESEARCH_NOTICE}")
        what = {"bundle": meta.name, "id": self.bundle.id, "variant": meta.variant, "synthetic": meta.synthetic}
        what |= {"from": self.origin, "signed_by": self.bundle.signed_by}
        self._say(log.pairs(what | {"interpreter": self.model.backend, "threads": self.model.threads}))
        self._say(log.pairs({"source": self.source.description, "synthetic": self.source.synthetic}))
        if self.synthetic:
            both = (("the pictures", self.source.synthetic), ("the model's training data", meta.synthetic))
            named = " and ".join(name for name, synthetic in both if synthetic)
            self._say(f"SYNTHETIC: {named} show nobody; for demonstration only.")
        for sentence in (*self.notes, *meta.cautions):
            self._say(sentence)

    def summary(self, ended: str) -> dict:
        """The run as plain data; ended: why it is over, as `run` returned it."""
        return report.summary(
            bundle=self.bundle,
            backend=self.model.backend,
            threads=self.model.threads,
            source=self.source.description,
            source_synthetic=self.source.synthetic,
            tally=self.tally,
            frames=self.frames(),
            seconds=self._ticked - self._began,
            ended=ended,
            health=self.health,
            sweep=self.sweep.summary(),
            machine=self.machine.summary(),
        )
