"""Random faults against a running daemon: is what it says true, and how soon is it well again?

    python -m tests.soak.faults --faults 1000 --seed 0 [--picture PICTURE] [--out report.json]

Ends with status 1 when a state or verdict was wrong or a recovery took longer than --limit.
"""

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2

from device.phantom_clip import PhantomClip
from device.shipped import default_bundle
from tests.soak.camera import MODES, OK, SWITCH_BYTES, Switch
from tests.soak.watched import Heard, Watched

PATIENCE_S = 20.0  # for what must come; what takes longer is a failure
WARM_UP = 0.1  # of the faults; memory is compared from there on
QUALITY_S = 0.3  # the daemon looks at the quality of a live picture every 0.2 s


@dataclass(frozen=True)
class Fault:
    """states: those that the source may be said to be in, in this order; () when a frame may be left out, and no more.
    quality: what each frame of it must be said to be, None when none is judged. once: it is over by itself."""

    states: tuple[str, ...] = ()
    quality: str | None = None
    once: bool = False


FAULTS = {
    "no signal": Fault(("no signal",)),
    "no device": Fault(("no device",)),
    "no data": Fault(("no data",)),
    "hangs": Fault(("hung",), once=True),
    "killed": Fault(("died",), once=True),
    "crashes": Fault(("died",), once=True),
    "truncated": Fault(),
    "zero bytes": Fault(),
    "undecodable for long": Fault(("undecodable",)),
    "other size": Fault(quality="ok"),
    "colour": Fault(quality="in colour"),
    "blank": Fault(quality="blank"),
}


@dataclass(frozen=True)
class Outcome:
    """Of one fault. recovery_s: from its end (when it is over by itself: from its beginning) to the next judged frame
    that says `ok`; inf when none came. wrong: sentences."""

    recovery_s: float
    wrong: tuple[str, ...]


def attempt(watched: Watched, switch: Switch, kind: str, rng: random.Random, well: str) -> Outcome:
    """Cause one fault, wait until it is seen, end it, wait until the daemon is well, and compare what was said."""
    fault = FAULTS[kind]
    watched.heard.rows.clear()
    watched.heard.edges.clear()
    watched.heard.wrong.clear()
    began = time.monotonic()
    switch.mode = kind
    if fault.states:
        watched.wait(lambda: bool(watched.heard.edges), PATIENCE_S)
        watched.listen(0 if fault.once else rng.uniform(0.0, 2.0))
    else:
        watched.listen(rng.uniform(0.1, 1.2))
    ended = began if fault.once else time.monotonic()
    switch.mode = OK

    def recovered() -> bool:
        rows = [r for r in watched.heard.rows if float(r["captured_s"]) > ended]
        return watched.state == "ok" and any(r["name"] == OK and r["quality"] == well for r in rows[-3:])

    came = watched.wait(recovered, PATIENCE_S)
    recovery = time.monotonic() - ended if came else math.inf
    return Outcome(recovery, tuple(watched.heard.wrong + list(wrongs(watched.heard, kind, began, well))))


def wrongs(heard: Heard, kind: str, began: float, well: str) -> list[str]:
    """What was said and does not follow from the fault. began: time.monotonic() of it. well: without a fault."""
    fault = FAULTS[kind]
    states = ["ok", *fault.states, "ok"] if fault.states else []
    said = [heard.edges[0][0], *(after for _, after in heard.edges)] if heard.edges else []
    # True of a machine that is too busy to open the source in time; how long that took is measured.
    said = [state for n, state in enumerate(said) if state != "stalled" and (not n or state != said[n - 1])]
    found = [] if said == states else [f"{kind}: the states were {said}, not {states}"]
    for row in heard.rows:
        wanted = fault.quality if row["name"] == kind and fault.quality else OK
        wanted = well if wanted == OK else wanted
        late = float(row["captured_s"]) - began > QUALITY_S and row["name"] == kind
        # Quality is looked at at once in a new scene, else within QUALITY_S: a frame of either kind may stand between.
        if row["quality"] != wanted and (late or row["quality"] not in (well, fault.quality)):
            found.append(f"{kind}: a frame of {row['name']!r} was called {row['quality']!r}, not {wanted!r}")
        if row["quality"] != "ok" and row["shown"] != "abstain":
            found.append(f"{kind}: {row['shown']} was shown for a frame that is {row['quality']!r}")
    return found


def soak(
    count: int, seed: int, picture: Path | None, kinds: tuple[str, ...] = tuple(FAULTS), say=print, times: float = 1.0
) -> dict:
    """`count` faults of `kinds` in random order; the report as plain data.

    times: the daemon waits so many times longer before it calls silence by a name. On a machine that gives the source's
    process no time for seconds, "hung" is true, and yet no fault of these.
    """
    rng = random.Random(seed)
    recoveries: dict[str, list[float]] = defaultdict(list)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if picture is None:
            picture = folder / "phantom.png"
            cv2.imwrite(str(picture), PhantomClip(0).frame(0).image)
        (folder / "switch").write_bytes(bytes(SWITCH_BYTES))
        switch = Switch(folder / "switch")
        how = (folder / "switch", picture.absolute(), default_bundle(), str(times))
        watched = Watched(folder, "-m", "tests.soak.under_fault", *how)
        try:
            if not watched.wait(lambda: len(watched.heard.rows) >= 5, 3 * PATIENCE_S):
                raise RuntimeError("the daemon judged no frame")
            well = watched.heard.rows[-1]["quality"]
            memory = []
            for number in range(count):
                kind = kinds[number % len(kinds)] if number < len(kinds) else rng.choice(kinds)
                outcome = attempt(watched, switch, kind, rng, well)
                recoveries[kind].append(outcome.recovery_s)
                wrong += outcome.wrong
                for sentence in outcome.wrong:
                    say(f"{number}: {sentence}")
                if number + 1 >= WARM_UP * count:
                    memory.append(watched.memory_kb())
                if (number + 1) % 50 == 0:
                    say(f"{number + 1} faults, {len(wrong)} wrong, memory {memory[-1:]}")
        finally:
            watched.end()
    return {
        "faults": count,
        "seed": seed,
        "quality_when_well": well,
        "wrong": wrong,
        "recovery_s": {
            kind: {"faults": len(t), "median": statistics.median(t), "longest": max(t)}
            for kind, t in sorted(recoveries.items())
        },
        "longest_recovery_s": max(max(t) for t in recoveries.values()),
        "memory_kb": {"after_warm_up": _median(memory[:10]), "at_the_end": _median(memory[-10:])},
    }


def _median(samples: list[dict[str, int]]) -> dict[str, float]:
    return {who: statistics.median(s[who] for s in samples if who in s) for who in ("daemon", "child")}


def main() -> int:
    """Returns 0 when every state was right and every recovery within the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3.0, help="seconds that a recovery may take (default: 3)")
    parser.add_argument("--picture", type=Path, help="shown by the camera (default: a phantom)")
    parser.add_argument("--only", nargs="+", choices=MODES[1:], help="these faults alone")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    report = soak(args.faults, args.seed, args.picture, tuple(args.only or FAULTS))
    text = json.dumps(report | {"cores": os.cpu_count(), "load": os.getloadavg()}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return int(bool(report["wrong"]) or report["longest_recovery_s"] > args.limit)


if __name__ == "__main__":
    sys.exit(main())
