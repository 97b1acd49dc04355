"""What a run hands to the recorder: each picture that was frozen, a sweep that was marked, and what was shown."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from device import log
from device.bundle import Bundle
from device.capture import Frame
from device.capture.pump import Signal
from device.config.settings import Settings
from device.errors import UserError
from device.judge import Snapshot
from device.over_time import OverTime
from device.quality import OK
from device.schema import dump
from device.store import NotSaved, Stamp
from device.store.background import Background
from device.store.bounds import Limits
from device.store.database import Item
from device.store.facts import Origin
from device.store.recorder import Recorder
from device.sweep import Sweep, SweepSummary

DAY_S = 86400.0
END_S = 1.0  # given to a slow card at the end; a stop as a whole takes 2 s at most


@dataclass
class _Marked:
    """A sweep from its first mark until the card has it. best: P(malignant), frame and snapshot where it was highest.
    ended: what it came to; whatever is judged later is not of this sweep. saving: the card is at it."""

    begun: Stamp
    sweep: Sweep = field(default_factory=Sweep)
    best: tuple[float, Frame, Snapshot] | None = None
    ended: SweepSummary | None = None
    saving: bool = False

    def add(self, frame: Frame, snapshot: Snapshot) -> None:
        """Take in the next judged frame."""
        self.sweep.add(snapshot.belief)
        malignant = snapshot.belief.verdict.probabilities.get("malignant")
        if malignant is not None and (self.best is None or malignant > self.best[0]):
            self.best = malignant, frame, snapshot


class Keeper:
    """Between the judging loop and a recorder, which works in a thread of its own: nothing here waits for the card.

    A picture that was frozen is saved once, if there was something to judge, and whatever a person asks for. saved,
    refused: counts of what is on disk and of what could not be saved.
    """

    def __init__(self, kept: Background, say: Callable[[str], None] = log.say) -> None:
        self._kept, self._say = kept, say
        self._still = False
        self._sweep: _Marked | None = None  # nobody else knows of it, so nothing can drift apart
        self._signal: str | None = None
        self.saved = self.refused = 0
        self._last: Item | None = None  # of what was saved last

    def judged(self, frame: Frame, snapshot: Snapshot) -> None:
        """Take in the next judged frame. frame: what it was judged by, and so what is saved."""
        belief = snapshot.belief
        self._kept.shown(snapshot)
        sweep = self._sweep  # read once: the recorder's thread lets go of it
        if sweep is not None and sweep.ended is None:
            sweep.add(frame, snapshot)
        was, self._still = self._still, belief.scene == "still"
        if self._still and not was and snapshot.quality.state == OK:
            save = self._kept.recorder.save_frame
            self._done("frozen picture", self._kept.do(save, frame.pixels, snapshot, cut_by_hand(frame)))

    def save(self, frame: Frame, snapshot: Snapshot, label: str | None = None) -> Future:
        """Save a picture that a person asked for. label: of the study; another one than the open study's begins a new
        study. The Future holds the saved item, or NotSaved or UserError."""
        save, cut = self._kept.recorder.save_labelled, cut_by_hand(frame)
        return self._done("picture", self._kept.do(save, frame.pixels, snapshot, cut, label))

    def discard(self) -> Future:
        """Delete what was saved last of the open study. The Future holds it, or UserError where there is none."""

        def told(future: Future) -> None:
            if future.exception() is None:
                self._last, item = None, future.result()
                self._say(f"recorder: number {item.number} of study {item.study} discarded.")

        future = self._kept.do(self._kept.recorder.discard_last)
        future.add_done_callback(told)
        return future

    def end(self) -> Future:
        """End the open study, so that it can leave the machine."""
        return self._kept.do(self._kept.recorder.end_study)

    def mark(self) -> tuple[bool, Future]:
        """Begin a sweep, or end the one that was begun and save what it came to; one that was refused is tried again.

        Returns whether one has begun now, and a Future with the saved item, or with None of one that has begun, or
        NotSaved: then it is kept. While the sweep before is being saved none can begin, which is NotSaved, too.
        """
        sweep = self._sweep
        if sweep is None:
            self._sweep = _Marked(self._kept.recorder.now())
            self._kept.tell("sweep begun")
            self._say("recorder: a sweep has begun; mark again to end and save it.")
            begun: Future = Future()
            begun.set_result(None)
            return True, begun
        if sweep.saving:
            busy = "The sweep before is still being saved; mark again in a moment."
            self._say(f"recorder: no sweep has begun. {busy}")
            refused: Future = Future()
            refused.set_exception(NotSaved(busy))
            return False, refused
        return False, self._save_sweep(sweep)

    def _save_sweep(self, sweep: _Marked) -> Future:
        sweep.ended, sweep.saving = sweep.ended or sweep.sweep.summary(), True
        picture: tuple[np.ndarray | None, Snapshot | None, bool | None] = (None, None, None)
        if sweep.best is not None:
            picture = sweep.best[1].pixels, sweep.best[2], cut_by_hand(sweep.best[1])

        def told(future: Future) -> None:
            if isinstance(future.exception(), NotSaved):
                sweep.saving = False
            else:
                self._sweep = None

        future = self._kept.do(self._kept.recorder.save_sweep, sweep.begun, sweep.ended, *picture)
        future.add_done_callback(told)
        self._done("sweep", future, "It is kept while the daemon runs; mark again to save it.")
        return _after(future)

    def signal(self, signal: Signal) -> None:
        """Tell the audit log the source's state when it has changed."""
        if signal.state != self._signal:
            self._signal = signal.state
            self._kept.tell("signal", state=signal.state, detail=signal.detail)

    def _done(self, what: str, future: Future, kept: str = "") -> Future:
        """Say and count what comes of a save. kept: said of what was refused and can be tried again."""

        def told(future: Future) -> None:  # in the recorder's thread, one at a time
            error = future.exception()
            if error is None:
                item = future.result()
                self.saved, self._last = self.saved + 1, item
                self._say(f"recorder: {what} saved as number {item.number} of study {item.study}.")
                return
            self.refused += 1
            more = f" {kept}" if kept and isinstance(error, NotSaved) else ""
            self._say(f"recorder: {what} NOT SAVED. {error}{more}")
            if not isinstance(error, NotSaved | UserError):
                raise error

        future.add_done_callback(told)
        return future

    def sweep_state(self) -> dict[str, Any]:
        """For the page; may be called from another thread. running: one was begun that is not on the card yet."""
        sweep = self._sweep
        return {"running": sweep is not None, "frames": None if sweep is None else sweep.sweep.seen}

    def state(self) -> dict[str, Any]:
        """The same. last: what was saved last, None after it was discarded."""
        item, study = self._last, self._kept.recorder.study
        last = None
        if item is not None:
            last = {"number": item.number, "study": item.study, "kind": item.kind, "saved": item.saved}
            last["shown"] = item.shown
        said = {"on": True, "saved": self.saved, "not_saved": self.refused, "last": last}
        return said | {"study": None if study is None else study.id, "refusing": self._kept.recorder.refusing}

    def pairs(self) -> dict[str, Any]:
        """For the line of a second."""
        return {"saved": self.saved, "not_saved": self.refused}

    def close(self) -> None:
        """End the study and let go of the store."""
        if self._sweep is not None and not self._sweep.saving:
            self.mark()
        if not self._kept.close(END_S):
            self._say("recorder: the card is too slow to end in good order; what was reported as saved is safe.")


def _after(future: Future) -> Future:
    """The same result, but not before everybody was told who has asked so far."""
    after: Future = Future()

    def told(future: Future) -> None:
        error = future.exception()
        if error is None:
            after.set_result(future.result())
        else:
            after.set_exception(error)

    future.add_done_callback(told)
    return after


def cut_by_hand(frame: Frame) -> bool:
    """Whether a person has said that the frame is cut to the picture, so that no name is on it."""
    return frame.region is not None and frame.region_by_hand


def open_keeper(settings: Settings, bundle: Bundle, synthetic: bool | None, how: OverTime) -> Keeper | None:
    """The keeper that the settings ask for; None when they do not, or when the store cannot be opened, which is said:
    a daemon that does not judge because it cannot save would be worse."""
    own = settings.recorder
    if not own.enabled:
        return None
    formed = {"over_time": dump(how), "threads": settings.model.threads, "source": settings.source.kind}
    formed["region"] = settings.region.mode
    origin = Origin(bundle.meta.name, bundle.id, tuple(bundle.meta.classes), formed, synthetic)
    days = None if own.max_age_s is None else own.max_age_s / DAY_S
    limits = Limits(own.max_size_bytes, days, own.reserve_bytes, own.when_full)
    try:
        return Keeper(Background(Recorder(own.folder, origin, limits)))
    except UserError as error:
        log.say(f"recorder: OFF, nothing will be saved: {error}")
        return None
