"""Run an installation or a rollback of a model again and again, stopped a step later each time; one JSON line per time.

usage: kill_driver.py ACTION HOW SWAP BUNDLE TEMPLATE KEYS

HOW is kill or fail (tests/stopped_at.py). Each line: status of the process, bundle ids of `current` and `previous`, the
id of `current` once an installation was run to its end after it, and what the folder holds.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from device import files, installed
from device.bundle import load_bundle
from device.errors import UserError
from device.trust import Trust
from tests.stopped_at import CHANGES, Stopper, announced


def id_of(name: str) -> str | None:
    """The id of the bundle behind a link, with its signature and hashes checked; None where there is no link."""
    folder = installed.current(models, name)
    return None if folder is None else load_bundle(folder, whom.folders).id


if __name__ == "__main__":
    action, how, swap, bundle, template, keys = sys.argv[1:]
    bundle, template, whom = Path(bundle), Path(template), Trust((Path(keys),))
    models = template.with_name("tried")
    actions = {
        "install": lambda: installed.install(bundle, models, whom),
        "rollback": lambda: installed.rollback(models, whom),
    }
    stopper = Stopper(how, CHANGES)
    files.swap = announced(files.swap if swap == "swap" else lambda first, second: False)
    for number in range(1, 200):
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(template, models, symlinks=True)
        status = stopper.run(actions[action], number)
        try:
            state = [id_of("current"), id_of("previous")]
        except UserError as error:
            state = [str(error), None]
        after = stopper.run(actions["install"], None) == 0 and id_of("current")
        print(json.dumps([status, *state, after, sorted(os.listdir(models))]), flush=True)
        if status == 0:
            break
