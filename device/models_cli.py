"""`busi-kd device models`: what ships and what is installed; `models install BUNDLE`; `models rollback`."""

import argparse
import sys
from pathlib import Path

from device import RESEARCH_NOTICE, installed, trust
from device.bundle import Bundle
from device.errors import UserError
from device.shipped import default_bundle, describe, shipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device models`; without an action it lists."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="without one: check and list")
    for name, call, what in (
        ("install", _install, "check a bundle, copy it and make it the model that runs"),
        ("rollback", _roll_back, "go back to the model before, or forward again"),
    ):
        action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        if name == "install":
            action.add_argument("bundle", type=Path, help="folder of a model bundle")
        installed.add_folder_argument(action, *["--into"] * (name == "install"), "--models")
        trust.add_arguments(action)
        action.set_defaults(act=call)
    parser.set_defaults(act=_list, trusted_keys=None, allow_unsigned=False, models=installed.FOLDER)


def main(args: argparse.Namespace) -> int:
    """Do what the action says. Raises UserError when a bundle is refused or none ships, OSError from writing."""
    return args.act(args)


def _list(args: argparse.Namespace) -> int:
    whom = trust.from_options(args)
    default_bundle()  # says so when there is none
    for folder in shipped():
        print(describe(trust.load(folder, whom)[0]))
    for name in (installed.CURRENT, installed.PREVIOUS):
        try:
            folder = installed.current(args.models, name)
        except UserError as error:  # for all but root the service's folder is closed: no reason to fail
            print(f"{name}: {error}")
            continue
        if folder is not None:
            print(f"{name}: {describe(trust.load(folder, whom)[0])}")
    return 0


def _install(args: argparse.Namespace) -> int:
    return _said("installed", *installed.install(args.bundle, args.models, trust.from_options(args)))


def _roll_back(args: argparse.Namespace) -> int:
    return _said("rolled back to", *installed.rollback(args.models, trust.from_options(args)))


def _said(done: str, bundle: Bundle, warning: str | None) -> int:
    if warning is not None:
        print(f"{warning} The daemon refuses it unless it is started with that option, too.", file=sys.stderr)
    print(f"{done}: {describe(bundle)}")
    print("It runs from the daemon's next start on: systemctl restart busi-kd")
    return 0
