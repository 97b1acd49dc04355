"""`busi-kd device run`: read frames, judge the newest, log what is seen once a second, for as long as power lasts.

Two threads: one captures, this one judges; between them lies a slot for one frame. The watchdog is fed when a frame
was judged or when the source says for certain that it has none, and never by a clock.
"""

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from device import (
    RESEARCH_NOTICE,
    __version__,
    files,
    installed,
    log,
    metrics,
    power_cli,
    record,
    report,
    sources,
    trust,
)
from device.bundle import Bundle
from device.capture import Frame, Source
from device.capture.pump import Grabbed, Pump, Signal
from device.choice import choose
from device.config import options
from device.errors import UserError
from device.judge import UNCHANGED_S, BadFrame, Judge, Snapshot
from device.latest import Latest
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
    ) -> None:
        self.bundle, self.model, self.source, self.notifier, self.rows = bundle, model, source, notifier, rows
        self.origin, self.notes = origin, notes
        self.asked_to_stop: str | None = None  # why; set by a signal handler, hence a plain attribute
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
        try:
            why = self._loop(math.inf if duration is None else self._began + duration)
        finally:
            self.notifier.stopping()
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
            if now >= until:
                return "the duration asked for is over"
            if now - self._ticked >= TICK_S:
                self._tick()
            if self._slot.finished:
                return self._pump.signal.detail or "the source ended"
            grabbed = self._next(max(0.0, min(POLL_S, self._ticked + TICK_S - now, until - now)))
            if grabbed is not None:
                self._judge(grabbed)
            self._tell_absence()
            self._pump.watch(STALL_S)

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
        self.sweep.add(snapshot.belief)
        self.machine.judged(snapshot)
        for tally in (self._tally, self.tally):
            tally.add(snapshot.verdict.label, snapshot.stages_ms)
        if self.rows is not None:
            self.rows.add(record.row(snapshot, self.bundle.meta.classes))
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
        line |= self.machine.pairs()
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device run`. Those that overrule a key of the configuration file have no default here."""
    add = parser.add_argument
    options.add_argument(parser)
    add("--bundle", type=Path, metavar="DIR", help="a model bundle (default: the installed one, else the shipped one)")
    installed.add_folder_argument(parser)
    trust.add_arguments(parser)
    sources.add_arguments(parser)
    add("--threads", type=int, metavar="N", help="CPU threads (default: 1)")
    add("--duration", type=float, metavar="S", help="end after so many seconds")
    add("--verdicts", type=Path, metavar="FILE.csv", help="add one row per judged frame")
    add("--summary", type=Path, metavar="FILE.json", help="write the run's totals at its end")
    power_cli.add_arguments(parser)
    options.leave_unset(parser)


def main(args: argparse.Namespace) -> int:
    """Run until the source ends, SIGTERM or SIGINT. Returns 0; raises UserError for what a person can mend."""
    if args.duration is not None and not args.duration > 0:
        raise UserError(f"--duration is {args.duration:g}: give a number of seconds above 0.")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    now = options.effective(args)
    options.refuse_not_yet(now)
    settings = now.settings
    source = sources.make(settings.source)
    chosen = choose(settings.model.bundle, settings.model.models, settings.model.whom(), settings.model.threads)
    bundle = chosen.bundle
    cv2.setNumThreads(settings.model.threads)
    for path in (settings.log.verdicts, settings.log.summary):
        if path is not None and not path.absolute().parent.is_dir():  # now, not after hours of running
            raise UserError(f"{path}: its folder does not exist; make it or give another file.")
    synthetic = True if bundle.meta.synthetic else source.synthetic
    power = power_cli.from_options(args)
    how, verdicts = settings.judgement.over_time(), settings.log.verdicts
    rows = None if verdicts is None else record.open_record(verdicts, bundle, synthetic, how)
    notifier = Notifier()
    daemon = Daemon(
        *(bundle, chosen.model, source, notifier, rows),
        origin=chosen.origin,
        notes=chosen.notes,
        how=how,
        assess_s=settings.quality.assess_every_s,
        **power,
    )

    def stop(number: int, _: object) -> None:
        daemon.asked_to_stop = signal.Signals(number).name

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        ended = daemon.run(args.duration)
        if args.power_report:
            daemon.machine.tell_costs()
        if settings.log.summary is not None:
            write_summary(settings.log.summary, daemon.summary(ended))
    finally:
        if rows is not None:
            rows.close()
        if power["exported"] is not None:
            power["exported"].close()
        notifier.close()
    return 0


def write_summary(path: Path, data: dict) -> None:
    """Write the totals as JSON, whole or not at all. Raises UserError when that fails."""
    try:
        files.write_json(path, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another file.") from error
