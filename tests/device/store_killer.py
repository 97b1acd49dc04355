"""Kill a process that saves studies, again and again on one store; after each kill open it and look; a JSON line each.

usage: store_killer.py FOLDER STRIDE|fail-STRIDE|anywhere COUNT SEED

STRIDE: the process kills itself before its 1st step, then STRIDE later each time, until the work comes to its end. A
step is a change of the file system or a flush of it, as Python's audit events tell, or a statement of SQLite.
fail-STRIDE: the step is refused as by a full card, and the process goes on (SQLite's own steps do not fail).
anywhere: the parent kills it when it hears of a random step, so that the kill comes somewhere behind it, amid
SQLite's and the system's own work as well. The process reports what was saved through a pipe, after the call has
returned; what stands in the pipe was reported.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

import cv2
from store_things import MB, SUMMARY, Clock, picture, recorder, snapshot

from device.errors import UserError
from device.store import AUDIT, NotSaved, database
from device.store.audit import entries
from device.store.check import check
from device.store.store import Store

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}
MAX_BYTES = 300_000  # some thirty pictures: studies have to go for others


class Steps:
    """Called at each step: `left` steps until the kill, or each told to the parent through `pipe`."""

    def __init__(self, left: int | None, pipe: int, fail: bool) -> None:
        self.left, self.pipe, self.fail, self.on = left, pipe, fail, True

    def audit(self, event: str, _: tuple) -> None:
        # A tree that cannot be removed is no error, but one that this event raises would be.
        if (event in STEPS or event == "test.step") and not (self.fail and event == "shutil.rmtree"):
            self.step()

    def step(self, *_: object) -> None:
        if not self.on:
            return
        if self.left is None:
            self.on = False
            os.write(self.pipe, b".\n")
            self.on = True
            return
        self.left -= 1
        if self.left == 0:
            if self.fail:
                raise OSError(28, "No space left on device")
            os.kill(os.getpid(), signal.SIGKILL)


def announced(call):
    """`call` as a step, for what Python does not audit."""

    def wrapped(*arguments):
        sys.audit("test.step")
        return call(*arguments)

    return wrapped


def work(folder: Path, left: int | None, pipe: int, seed: int, clock: Clock, fail: bool = False) -> None:
    """Save a bounded number of studies, or for as long as it lives."""
    steps = Steps(left, pipe, fail)
    os.fsync, os.write = announced(os.fsync), announced(os.write) if left is not None else os.write
    sys.addaudithook(steps.audit)
    try:
        kept = recorder(folder, clock=clock, max_bytes=MAX_BYTES, when_full="oldest")
    except UserError:
        os._exit(3)
    kept._store.connection.set_trace_callback(steps.step)

    def attempt(call, *arguments) -> bool:
        try:
            done = call(*arguments)
        except NotSaved:
            return False
        if isinstance(done, database.Item):
            steps.on = False
            os.write(pipe, f"saved {done.id} {done.sha256} {done.study}\n".encode())
            steps.on = True
        return True

    for number in range(2):
        attempt(kept.begin_study, f"study {number}")
        if number == 0 and not fail and kept.study:
            kept._store.mark_exported(kept.study, "zip", None)
        for of_one in range(2):
            attempt(kept.save_frame, picture(seed + of_one, colour=of_one == 1), snapshot(), True)
        sweep = kept.now(), SUMMARY, picture(seed), snapshot("abstain"), True
        kept.tell("sweep begun")
        if not attempt(kept.save_sweep, *sweep):
            attempt(kept.save_sweep, *sweep)  # once more if it was refused
        attempt(kept.save_frame, picture(seed, 600, 800), snapshot(), True)  # more than may ever be there
    kept.close()


def look(folder: Path, reported: dict[str, tuple[str, str]], clock: Clock) -> dict:
    """Open the store as the next start would, and say what is wrong with it."""
    said: list[str] = []
    kept = recorder(folder, clock=clock, say=said.append, max_bytes=MAX_BYTES, when_full="oldest")
    kept.close()
    store = Store(folder, clock=clock)
    items = {item.id: item for item in database.items(store.connection)}
    log = [entry for _, entry in entries(folder / AUDIT)]
    deleted = {entry["study"] for entry in log if entry["what"] == "deleted"}
    told = [entry["change"] for entry in log if "change" in entry]
    lost = [
        name
        for name, (digest, study) in reported.items()
        if study not in deleted and (name not in items or items[name].sha256 != digest)
    ]
    on_disk = {path.relative_to(store.pictures).as_posix() for path in store.pictures.rglob("*") if path.is_file()}
    unread = [i.id for i in items.values() if cv2.imread(str(store.pictures / i.file), cv2.IMREAD_UNCHANGED) is None]
    found = {"lost": lost, "half": unread, "wrong": check(store).wrong, "said": said}
    found |= {
        "untold": sorted(set(range(1, max(told, default=0) + 1)) ^ set(told)),
        "twice": len(told) - len(set(told)),
    }
    found |= {"stray": sorted(on_disk ^ {item.file for item in items.values()})}
    found |= {"swept": kept.swept, "items": len(items), "deleted": len(deleted)}
    store.close()
    return found


def main(folder: Path, how: str, count: int, seed: int) -> None:
    """Kill `count` times, or by a stride until the work comes to its end."""
    draw, reported, clock = random.Random(seed), {}, Clock()
    for number in range(1, count + 1):
        reader, writer = os.pipe()
        clock.move(3600)
        child = os.fork()
        if not child:
            os.close(reader)
            left = None if how == "anywhere" else 1 + (number - 1) * int(how.removeprefix("fail-"))
            work(folder, left, writer, seed + number, clock, how.startswith("fail-"))
            os._exit(0)
        os.close(writer)
        until, heard = draw.randrange(1, 350), 0
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                words = line.decode().split()
                if words[0] == "saved" and len(words) == 4:  # a line that was cut off reports nothing
                    reported[words[1]] = words[2], words[3]
                heard += 1
                if how == "anywhere" and heard == until:
                    os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = look(folder, reported, clock)
        print(json.dumps({"number": number, "status": status, "reported": len(reported)} | found), flush=True)
        if how.isdecimal() and status == 0:
            break


if __name__ == "__main__":
    cv2.setNumThreads(0)
    assert MAX_BYTES < MB
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
