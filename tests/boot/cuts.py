"""Power cuts: a machine at work loses its power; the next boot, on what its card then held, looks whether all is there.

Three chains of cuts, each on a copy of the installed disk: while studies are saved, while a model is installed, while
the application is updated. The boot that looks at one cut is the one that suffers the next.
"""

import json
import random
import re
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import booted
import service
import virtual
from booted import Guest
from debian import MEND, Debian
from fetching import run
from goods import MODELS, UPDATES, Goods

CHAINS = {"saving": 10, "model": 5, "application": 5}  # 20 cuts
SEED = 20
CHANGES = 4  # of the folder during an installation, about: each cut waits for another one, and a moment more
AT_MOST_S = {"saving": 1.5, "model": 1.0, "application": 1.0}  # of that moment, on our clock
FOLDER = {"model": "/var/lib/busi-kd/models", "application": "/var/lib/busi-kd/app"}
LOOK = "PYTHONSAFEPATH=1 /usr/lib/busi-kd/bin/python -B /host/looking.py"


@dataclass
class Known:
    """What was reported as done, and so must be there. items: saved pictures. allowed: the slots and models that may be
    in force, by kind; of a slot how its name begins."""

    items: set[str] = field(default_factory=set)
    allowed: dict[str, set[str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Looked:
    """What a boot found. when: in words, the last cut before it. wrong: sentences. booted_s: on the wall."""

    number: int
    kind: str
    when: str
    wrong: tuple[str, ...]
    items: int
    reported: int
    checked: str
    version: str
    booted_s: float


class Cutting:
    """All chains, under way; no more machines run at a time than `room` lets in."""

    def __init__(self, debian: Debian, disk: Path, goods: Goods, folder: Path, room: BoundedSemaphore) -> None:
        self._goods, self._debian, self._room = goods, debian, room
        self._over, self._running = False, set[Guest]()
        for name in MODELS:  # here, and not by two threads
            goods.model(name)
        for version in UPDATES:
            goods.update(version)
        workers = ThreadPoolExecutor(len(CHAINS))
        self._chains: dict[str, Future[list[Looked]]] = {
            kind: workers.submit(self._chain, kind, disk, folder / kind) for kind in CHAINS
        }
        workers.shutdown(wait=False)

    def stop(self) -> None:
        """No further boot, and an end to the machines that run; for a run of the tests that is broken off."""
        self._over = True
        for guest in list(self._running):
            guest.kill()

    def of(self, kind: str) -> list[Looked]:
        """What was found after each cut of a chain. Raises what ended it early."""
        return self._chains[kind].result()

    def _chain(self, kind: str, below: Path, folder: Path) -> list[Looked]:
        folder.mkdir()
        draw, known, found, when = random.Random(f"{SEED} {kind}"), Known(), [], ""
        checked, broken = "", []
        for number in range(CHAINS[kind] + 1):
            with self._room:
                if self._over:
                    break
                disk = booted.new_disk(self._debian, folder / f"{number}.qcow2", below)
                guest = Guest(self._debian, disk, self._goods.share)
                self._running.add(guest)
                try:
                    told = look(guest, number, kind, when, known, checked)
                    if number:
                        found.append(replace(told, wrong=(*told.wrong, *broken)))
                    if number < CHAINS[kind]:
                        when = suffer(guest, kind, number, draw, known, self._goods)
                finally:
                    guest.cut()
                    self._running.discard(guest)
                below = disk
                checked, broken = check_files(self._debian, disk)
        return found


def check_files(debian: Debian, disk: Path) -> tuple[str, list[str]]:
    """Check all of a disk's file system, on a copy and not by the slow machine itself: e2fsck's last line, and faults.

    It replays the journal, as the boot does, and mends what it may without asking (-p): that is no fault (e2fsck(8)).
    """
    copy = disk.with_suffix(".raw")
    run("qemu-img", [*virtual.program(debian.tools, "qemu-img"), "convert", "-O", "raw", disk, copy], MEND)
    done = subprocess.run(["/usr/sbin/e2fsck", "-f", "-p", copy], capture_output=True, text=True)
    copy.unlink()
    said = done.stdout + done.stderr
    return said.strip().rpartition("\n")[2], [] if done.returncode <= 1 else [f"the file system's check: {said}"]


def look(guest: Guest, number: int, kind: str, when: str, known: Known, checked: str) -> Looked:
    """Wait until it judges again, and look at the studies, what is installed, and what systemd and the kernel say."""
    service.judging(guest)
    journal = guest.well(service.JOURNAL)
    said = json.loads(guest.well(LOOK).splitlines()[-1])
    wrong = list(said["wrong"])
    wrong += [f"{item} was reported as saved and is gone" for item in sorted(known.items - set(said["items"]))]
    for what in ("slot", "model"):
        one = said[what]
        name = re.sub(r"^slot-(\S+?)-.*", r"\1", one) if what == "slot" and one else one
        if name not in known.allowed.get(what, {name}):
            wrong.append(f"the {what} {one} is in force, which is none of {known.allowed[what]}")
        known.allowed[what] = {name}
    if kernel := guest.run("dmesg | grep -i 'ext4-fs error\\|i/o error'").output:
        wrong.append(f"the kernel: {kernel}")
    if failed := guest.well("systemctl --failed --no-legend"):
        wrong.append(f"failed units: {failed}")
    version = re.findall(r"^busi-kd (\S+)\. ", journal, re.MULTILINE)[-1]
    took = time.monotonic() - guest.began
    return Looked(number, kind, when, tuple(wrong), len(said["items"]), len(known.items), checked, version, took)


def suffer(guest: Guest, kind: str, number: int, draw: random.Random, known: Known, goods: Goods) -> str:
    """Have it work, and cut its power in the midst; notes down what was reported until then. Returns when it was."""
    moment = draw.uniform(0, AT_MOST_S[kind])
    if kind == "saving":
        lines, wanted = guest.stream("python3 -Bu /host/saving.py"), draw.randrange(3, 12)
    else:
        what, command, candidate = order(kind, number, goods)
        known.allowed[what] |= {candidate}
        lines = guest.stream(f"python3 -Bu /host/watching.py {FOLDER[kind]} busi-kd device {command}")
        wanted = 1 + number % CHANGES
    heard: list[str] = []
    for line in lines:
        heard.append(line)
        if len([one for one in heard if one.startswith(("changed", "{"))]) >= wanted or line.startswith("ended"):
            break
    time.sleep(moment)
    heard += [said["line"] for said in guest.cut() if "line" in said]
    if kind == "saving":
        answers = [json.loads(line) for line in heard if line.startswith("{")]
        known.items |= {f"{one['study']}:{one['number']}" for one in answers if one.get("ok") and "number" in one}
    elif "ended 0" in heard:
        known.allowed[what] = {candidate}
    assert not [line for line in heard if line.startswith("ended") and line != "ended 0"], heard
    return f"{1e3 * moment:.0f} ms behind {heard[-1][:110]!r}"


def order(kind: str, number: int, goods: Goods) -> tuple[str, str, str]:
    """What is to be installed in turn: whether a slot or a model, the command, and what will then be in force."""
    if kind == "model":
        path, name = goods.model(MODELS[number % len(MODELS)])
        return "model", f"models install {path}", name
    version = UPDATES[number % len(UPDATES)]
    return "slot", f"update install --older {goods.update(version)}", version


def facts(found: list[Looked]) -> list[dict[str, Any]]:
    """For the eye."""
    return [{"cut": one.number, "when": one.when, "items": one.items, "version": one.version,
             "booted_s": round(one.booted_s, 1)} for one in found]  # fmt: skip
