"""Runs in the booted machine, with busi-kd's own Python: is all whole that was saved and installed? One JSON line.

items: "STUDY:NUMBER" of every saved picture. slot, model: of the update and of the bundle that are in force, None of
those that were packaged. wrong: a sentence per fault.
"""

import json

from device import files, installed, trust
from device.errors import UserError
from device.store import FOLDER, database
from device.store.check import check
from device.store.store import Store
from device.update import slots

KEYS = (trust.SHIPPED_KEYS, trust.MACHINE_KEYS)


def studies() -> dict:
    store = Store(FOLDER)
    try:
        found, items = check(store), database.items(store.connection)
    finally:
        store.close()
    return {"items": [f"{item.study}:{item.number}" for item in items], "wrong": found.wrong}


def slot() -> dict:
    """Every file of the slot in force, by its hash."""
    place = slots.Place()
    name = slots.in_force(place)
    if name is None:
        return {"slot": None, "wrong": []}
    said = json.loads((place.app / name / "manifest.json").read_text())["files"]
    wrong = []
    for path, entry in said.items():
        file = place.app / name / path
        if not file.is_file() or files.sha256_file(file) != entry["sha256"]:
            wrong.append(f"{file}: not as its manifest says")
    return {"slot": name, "wrong": wrong}


def model() -> dict:
    try:
        folder = installed.current(installed.FOLDER)
        bundle = None if folder is None else trust.load(folder, trust.Trust(KEYS))[0]
    except UserError as error:
        return {"model": None, "wrong": [str(error)]}
    return {"model": None if bundle is None else bundle.id, "wrong": []}


def main() -> None:
    parts = [studies(), slot(), model()]
    told = {name: value for part in parts for name, value in part.items()}
    print(json.dumps(told | {"wrong": [sentence for part in parts for sentence in part["wrong"]]}))


if __name__ == "__main__":
    main()
