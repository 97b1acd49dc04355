"""Install or roll back an update again and again, stopped a step later each time; one JSON line per time.

usage: update_killer.py ACTION HOW FOLDER FILE KEY STRIDE

A step is a change of the file system, a flush of it, or a program that is started, as Python's audit events tell. HOW
is kill (SIGKILL before the step) or fail (the step is refused as by a full card). Each line: status of the process, the
version that the launcher starts then, the one it starts once an installation was run to its end after it, and what is
left over beside the versions.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from update_things import device

from device.errors import UserError
from device.update import slots

STEPS = {"open", "os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile"}
STEPS |= {"shutil.rmtree", "subprocess.Popen", "test.step"}
left = None  # steps until the end; None: not counting


def count(event: str, arguments: tuple) -> None:
    """The audit hook."""
    global left
    if left is None or event not in STEPS or (event == "open" and not _writes(arguments)):
        return
    if event == "shutil.rmtree" and how == "fail":  # a tree that cannot be removed is no error of its own
        return
    left -= 1
    if left == 0:
        left = None
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")


def _writes(arguments: tuple) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))


def announced(call):
    """`call` as a step, for what Python does not audit."""

    def wrapped(*arguments):
        sys.audit("test.step")
        return call(*arguments)

    return wrapped


def act(steps: int | None, what: str) -> int:
    """Do it in a process of its own; returns its status: 0 done, 1 refused, 2 done in spite of that."""
    global left
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = steps
    try:
        if what == "install":
            with open(file, "rb") as stream:
                slots.install(stream, machine.place, machine.keys, machine.machine())
        else:
            slots.rollback(machine.place)
    except (OSError, UserError):
        os._exit(1)
    os._exit(2 if steps is not None and left is None else 0)


if __name__ == "__main__":
    action, how, folder, file, key, stride = sys.argv[1:]
    folder, number = Path(folder), 1
    machine = device(folder / "machine", Path(key))
    with open(folder / "old.update", "rb") as stream:
        slots.install(stream, machine.place, machine.keys, machine.machine())
    machine.become_healthy()
    if action == "rollback":
        act(None, "install")
        machine.become_healthy()
    shutil.copytree(machine.place.app, folder / "template", symlinks=True)
    os.fsync, os.sync = announced(os.fsync), announced(os.sync)
    sys.addaudithook(count)
    while True:
        shutil.rmtree(machine.place.app)
        shutil.copytree(folder / "template", machine.place.app, symlinks=True)
        status = act(number, action)
        runs = machine.runs()
        after = act(None, "install") == 0 and machine.runs()
        left_over = [path.name for path in machine.place.app.iterdir() if path.name.startswith(".")]
        print(json.dumps([status, runs, after, left_over]), flush=True)
        if status == 0:
            break
        number += int(stride)
