"""`busi-kd device update`: a new version of busi-kd itself from a file or memory stick; what runs; back to the last."""

import argparse
from pathlib import Path
from typing import Any

from device import RESEARCH_NOTICE, trust
from device.errors import UserError
from device.update import manifest, slots, stick
from device.update.slots import Place

RESTART = "It runs from the next start on: systemctl restart busi-kd; systemctl try-restart busi-kd-page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device update`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, call, what in (
        ("install", _install, "check an update, have it test itself, and make it the version that is started next"),
        ("status", _status, "say which version runs, which one before, and whether one is on trial"),
        ("rollback", _roll_back, "go back to the version before, or forward again"),
    ):
        action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        usual = Place()
        where = f"the folder of the versions (default: {usual.app})"
        action.add_argument("--into", type=Path, default=usual.app, metavar="DIR", help=where)
        below = f"the folder of what was packaged (default: {usual.home})"
        action.add_argument("--package", type=Path, default=usual.home, metavar="DIR", help=below)
        if name == "install":
            newest = "busi-kd_VERSION_SUITE_ARCH.update (default: the newest that fits, on a memory stick)"
            action.add_argument("file", type=Path, nargs="?", metavar="FILE", help=newest)
            action.add_argument("--older", action="store_true", help="take a version that is older than this, too")
            trust.add_arguments(action, unsigned=False)
        action.set_defaults(act=call)


def main(args: argparse.Namespace) -> int:
    """Do what the action says. Raises UserError when it is refused, and OSError from writing."""
    return args.act(args, Place(args.into, args.package))


def _install(args: argparse.Namespace, place: Place) -> int:
    keys, file = trust.from_options(args).folders, args.file
    if file is None:
        running = slots.version_of(slots.in_force(place), place)
        file, _ = stick.find(keys, manifest.this_machine(place.packaged, running), args.older)
    try:
        with open(file, "rb") as stream:
            update = slots.install(stream, place, keys, older=args.older)
    except FileNotFoundError as error:
        if error.filename != str(file):
            raise
        raise UserError(f"{file}: no such file; give an update, or plug in a memory stick with one.") from error
    said = update.manifest
    print(f"installed, on trial: busi-kd {said.version} ({update.id}), signed by {update.signed_by}. {RESEARCH_NOTICE}")
    print(RESTART)
    return 0


def _status(args: argparse.Namespace, place: Place) -> int:
    said = slots.status(place)
    print(f"packaged: {said['packaged']}")
    for name in ("running", slots.CURRENT, slots.PREVIOUS):
        print(f"{name}: {describe(said[name])}")
    return 0


def describe(one: dict[str, Any]) -> str:
    """One of slots.status in words."""
    if one["slot"] is None:
        return f"{one['version']}, as it was packaged"
    words = {"trial": "on trial", "healthy": "healthy", "unfit": f"NOT STARTED: {one['why']}"}
    return f"{one['version'] or 'unknown'}, {one['slot']}, {words[one['state']]}"


def _roll_back(args: argparse.Namespace, place: Place) -> int:
    slot = slots.rollback(place)
    print(f"rolled back to: {slots.version_of(slot, place)}{' as it was packaged' if slot is None else ''}")
    print(RESTART)
    return 0
