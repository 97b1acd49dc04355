"""`busi-kd device models`: what ships and what is installed; `models install`, `models fetch`, `models rollback`."""

import argparse
import sys
from pathlib import Path

from device import RESEARCH_NOTICE, installed, trust
from device.bundle import Bundle
from device.errors import UserError
from device.fleet import identity
from device.shipped import default_bundle, describe, shipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device models`; without an action it lists."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="without one: check and list")
    for name, call, what in (
        ("install", _install, "check a bundle, copy it and make it the model that runs"),
        ("fetch", _fetch, "install the newest bundle of an update server, if it is meant for this unit"),
        ("rollback", _roll_back, "go back to the model before, or forward again"),
    ):
        action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        if name == "install":
            action.add_argument("bundle", type=Path, help="folder of a model bundle")
        installed.add_folder_argument(action, *["--into"] * (name == "install"), "--models")
        if name == "fetch":
            _add_server(action)
        trust.add_arguments(action, unsigned=name != "fetch")
        action.set_defaults(act=call)
    parser.set_defaults(act=_list, trusted_keys=None, allow_unsigned=False, models=installed.FOLDER)


def _add_server(action: argparse.ArgumentParser) -> None:
    action.add_argument("url", metavar="URL", help="https://HOST/FOLDER/ that holds index.json (docs/fleet.md)")
    action.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM file of the server's authority (default: system's)"
    )
    action.add_argument("--plain-http", action="store_true", help="allow http://; signatures are checked all the same")
    action.add_argument("--older", action="store_true", help="take a bundle that is older than the one installed, too")
    action.add_argument("--now", action="store_true", help="before this unit's turn, and again after a rollback here")
    where = f"folder of this unit's id (default: {identity.FOLDER})"
    action.add_argument("--state", type=Path, default=identity.FOLDER, metavar="DIR", help=where)


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


def _fetch(args: argparse.Namespace) -> int:
    from device.fleet import newest
    from device.fleet.download import Server

    keys = trust.from_options(args).folders
    server = Server(args.url, args.ca, args.plain_http)
    how = {"older": args.older, "at_once": args.now}
    outcome = newest.fetch(server, args.models, keys, lambda: identity.unit_id(args.state), **how)
    if outcome.bundle is None:
        print(f"nothing to do: {outcome.why}")
        return 0
    return _said("installed", outcome.bundle, None)


def _roll_back(args: argparse.Namespace) -> int:
    return _said("rolled back to", *installed.rollback(args.models, trust.from_options(args)))


def _said(done: str, bundle: Bundle, warning: str | None) -> int:
    if warning is not None:
        print(f"{warning} The daemon refuses it unless it is started with that option, too.", file=sys.stderr)
    print(f"{done}: {describe(bundle)}")
    print("It runs from the daemon's next start on: systemctl restart busi-kd")
    return 0
