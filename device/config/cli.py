"""`busi-kd device config`: check the configuration file, show what a run would use, print an example."""

import argparse
import sys
from pathlib import Path

from device import RESEARCH_NOTICE
from device.config import options, read, write
from device.errors import Refused, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of `busi-kd device config`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, call, what in (
        ("check", _check, "say everything that is wrong in the configuration file"),
        ("show", _show, "print what a run would use, and where each value comes from"),
        ("example", _example, "print a file with every key, its unit and its default in comments"),
    ):
        action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        if name == "check":
            where = f"the file (default: {read.FILE})"
            action.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help=where)
        if name == "show":
            from device import run  # its options are taken, too, so that one sees what they would change

            run.add_arguments(action)
        action.set_defaults(act=call)


def main(args: argparse.Namespace) -> int:
    """Do what the action says; returns 0. Raises UserError and, from `check`, Refused."""
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    return args.act(args)


def _check(args: argparse.Namespace) -> int:
    found = read.examine(args.file)
    if found is None:
        print(f"{read.FILE}: there is none, so every setting has its default.")
        return 0
    wrong = list(found.problems)
    if not wrong:
        try:
            options.merged(found)
        except UserError as error:
            wrong.append(str(error))
    for sentence in wrong:
        print(sentence)
    if wrong:
        raise Refused(f"{found.path}: {len(wrong)} to be corrected.")
    set_here = f"{len(found.values)} {'setting' if len(found.values) == 1 else 'settings'}"
    print(f"{found.path}: right; {set_here} of its own, all others have their defaults.")
    return 0


def _show(args: argparse.Namespace) -> int:
    now = options.effective(args)
    print(f"# {RESEARCH_NOTICE}\n{write.shown(now)}", end="")
    return 0


def _example(args: argparse.Namespace) -> int:
    print(write.example(), end="")
    return 0
