"""`busi-kd device replay`: judge a record again, and say whether the same comes out."""

import argparse
from dataclasses import replace
from pathlib import Path

from device import RESEARCH_NOTICE, log, trust
from device.bundle import Meta
from device.decide import ABSTAIN, decide
from device.errors import Refused, UserError
from device.over_time import Belief, OverTime, step
from device.quality import OK
from device.record import Row, Run, read_record
from device.report import verdict_counts
from device.shipped import default_bundle
from device.sweep import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device replay`."""
    add = parser.add_argument
    add("record", type=Path, metavar="FILE.csv", help="the file of device run --verdicts")
    add("--bundle", type=Path, metavar="DIR", help="the model bundle of that run (default: the shipped one)")
    trust.add_arguments(parser)
    add("--half-life", type=float, metavar="S", help="ask what would be shown with this one; compares nothing")
    add("--hysteresis", type=float, metavar="LOGITS", help="the same")


def main(args: argparse.Namespace) -> int:
    """Print what each run came to. Returns 0; raises Refused when a frame's verdict differs from the recorded one."""
    bundle, _ = trust.load(args.bundle or default_bundle(), trust.from_options(args))
    changes = {"half_life_s": args.half_life, "hysteresis": args.hysteresis}
    changes = {name: value for name, value in changes.items() if value is not None}
    print(RESEARCH_NOTICE)
    done: list[Replayed] = []
    replayed: Replayed | None = None
    for item in read_record(args.record, bundle.meta.classes):
        if isinstance(item, Row):
            if replayed is not None:
                replayed.add(item)
        elif item.what.get("id") == bundle.id:
            replayed = Replayed(item, bundle.meta, _changed(item.how, changes))
            done.append(replayed)
        else:
            print(f"line {item.line}: of another bundle, {item.what.get('bundle')} {item.what.get('id')}; left out.")
            replayed = None
    if not done:
        raise UserError(f"{args.record}: holds no run of the bundle {bundle.meta.name} ({bundle.id}); give --bundle.")
    for one in done:
        print(f"line {one.run.line}: {log.pairs(one.totals())}")
    wrong = sum(one.differing for one in done)
    if wrong and not changes:
        first = next(one.first_differing for one in done if one.differing)
        raise Refused(f"{args.record}: {wrong} verdicts come out otherwise than recorded, the first in line {first}.")
    return 0


class Replayed:
    """One run of a record, judged again frame by frame.

    differing: rows whose verdict, of the frame alone or over time, comes out otherwise; first_differing: the line of
    the first.
    """

    def __init__(self, run: Run, meta: Meta, how: OverTime) -> None:
        self.run, self._meta, self._how = run, meta, how
        self.differing, self.first_differing = 0, None
        self.belief: Belief | None = None
        self._sweep, self._changes = Sweep(), 0

    def add(self, row: Row) -> None:
        """Judge the next frame."""
        before = self.belief
        refused = None if row.quality == OK else row.quality
        self.belief = step(before, row.captured, row.logits, row.change, self._meta, self._how, refused)
        self._sweep.add(self.belief)
        label = self.belief.verdict.label
        self._changes += before is not None and before.verdict.label != label
        alone = ABSTAIN if refused else decide(row.logits, self._meta).label
        if (alone, label) != (row.verdict, row.shown):
            self.differing += 1
            self.first_differing = self.first_differing or row.line

    def totals(self) -> dict:
        """Frames, those of each verdict over time, its changes, and the highest sustained P(malignant)."""
        found = self._sweep.summary()
        counts = verdict_counts(found.frames, self._meta.classes)
        known = {"changes": self._changes, "sustained_malignant": found.sustained_malignant}
        return {"frames": found.seen, **counts, **known}


def _changed(how: OverTime, changes: dict[str, float]) -> OverTime:
    try:
        return replace(how, **changes)
    except ValueError as error:
        raise UserError(f"--half-life, --hysteresis: {error}") from error
