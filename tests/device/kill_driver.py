"""Run an installation or a rollback again and again, stopped a step later each time; one JSON line per time.

A step is a change of the file system or a flush of it, as Python's audit events tell. `how` is kill (SIGKILL before the
step) or fail (the step is refused as by a full disk). Each line: status of the process, bundle ids of `current` and
`previous`, and the id of `current` once an installation was run to its end after it.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from device import files, installed
from device.bundle import load_bundle
from device.errors import UserError
from device.trust import Trust

STEPS = {"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile", "shutil.rmtree"}
left = None  # steps until the end; None: not counting


def count(event: str, arguments: tuple) -> None:
    """The audit hook."""
    global left
    if left is None or (event not in STEPS and event != "test.step"):
        return
    left -= 1
    if left == 0:
        left = None
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")


def announced(call):
    """`call` as a step, for what Python does not audit."""

    def wrapped(*arguments):
        sys.audit("test.step")
        return call(*arguments)

    return wrapped


def act(steps: int | None, what: str) -> int:
    """Do it in a process of its own; returns its status: 0 done, 1 refused by the system, 2 done in spite of that."""
    global left
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = steps
    try:
        if what == "install":
            installed.install(bundle, models, whom)
        else:
            installed.rollback(models, whom)
    except OSError:
        os._exit(1)
    os._exit(2 if steps is not None and left is None else 0)


def id_of(name: str) -> str | None:
    """The id of the bundle behind a link, with its signature and hashes checked; None where there is no link."""
    folder = installed.current(models, name)
    return None if folder is None else load_bundle(folder, whom.folders).id


if __name__ == "__main__":
    action, how, swap, bundle, template, keys = sys.argv[1:]
    bundle, template, whom = Path(bundle), Path(template), Trust((Path(keys),))
    models = template.with_name("tried")
    os.fsync = announced(os.fsync)
    files.swap = announced(files.swap if swap == "swap" else lambda first, second: False)
    sys.addaudithook(count)
    for number in range(1, 200):
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(template, models, symlinks=True)
        status = act(number, action)
        try:
            state = [id_of("current"), id_of("previous")]
        except UserError as error:
            state = [str(error), None]
        after = act(None, "install") == 0 and id_of("current")
        print(json.dumps([status, *state, after, sorted(os.listdir(models))]), flush=True)
        if status == 0:
            break
