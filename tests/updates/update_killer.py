"""Install or roll back an update again and again, stopped some steps later each time; one JSON line per time.

usage: update_killer.py ACTION HOW FOLDER FILE KEY STRIDE

HOW is kill or fail (tests/stopped_at.py). Each line: status of the process, the version that the launcher starts then,
the one it starts once an installation was run to its end after it, and what is left over beside the versions.
"""

import json
import shutil
import sys
from pathlib import Path

from update_things import device

from device.errors import UserError
from device.update import slots
from tests.stopped_at import CHANGES, Stopper


def install(update: Path) -> None:
    """Install the update of this file."""
    with open(update, "rb") as stream:
        slots.install(stream, machine.place, machine.keys, machine.machine())


if __name__ == "__main__":
    action, how, folder, file, key, stride = sys.argv[1:]
    folder, number = Path(folder), 1
    machine = device(folder / "machine", Path(key))
    actions = {"install": lambda: install(Path(file)), "rollback": lambda: slots.rollback(machine.place)}
    install(folder / "old.update")
    machine.become_healthy()
    # That a tree cannot be removed is no error of its own.
    spared = frozenset({"shutil.rmtree"} if how == "fail" else ())
    stopper = Stopper(how, CHANGES | {"subprocess.Popen"}, opened=True, spared=spared)
    refusals = (OSError, UserError)
    if action == "rollback":
        stopper.run(actions["install"], None, refusals)
        machine.become_healthy()
    shutil.copytree(machine.place.app, folder / "template", symlinks=True)
    while True:
        shutil.rmtree(machine.place.app)
        shutil.copytree(folder / "template", machine.place.app, symlinks=True)
        status = stopper.run(actions[action], number, refusals)
        runs = machine.runs()
        after = stopper.run(actions["install"], None, refusals) == 0 and machine.runs()
        left_over = [path.name for path in machine.place.app.iterdir() if path.name.startswith(".")]
        print(json.dumps([status, runs, after, left_over]), flush=True)
        if status == 0:
            break
        number += int(stride)
