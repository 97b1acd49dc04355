"""`busi-kd device ...`: what runs on the Pi. Each command imports its own module only when it is called."""

import argparse
import importlib
import json
from pathlib import Path

from device import RESEARCH_NOTICE

COMMANDS = {
    "run": ("device.daemon", "read frames, judge each, log what is seen"),
    "bench": ("device.bench", "measure load, latency, memory and temperature of bundles"),
    "show": ("device.cli", "check a bundle and print what it is"),
    "models": ("device.shipped", "check and list the models that ship with busi-kd; the first is the default"),
}


def main(arguments: list[str]) -> int:
    """Run one device command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="busi-kd device", description=RESEARCH_NOTICE)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the chosen command's module is imported, so that --help stays fast on a Pi.
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        if name == chosen:
            loaded = importlib.import_module(module)
            (add_show_arguments if name == "show" else loaded.add_arguments)(command)
            command.set_defaults(run=show if name == "show" else loaded.main)
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `show` takes."""
    what = "folder of a model bundle (default: the one that ships with busi-kd)"
    parser.add_argument("bundle", nargs="?", type=Path, help=what)
    parser.add_argument("--trusted-keys", type=Path, metavar="DIR", help="refuse it unless one of these keys signed it")


def show(args: argparse.Namespace) -> int:
    """Load a bundle with every check the daemon makes, open its model, print its metadata as JSON."""
    from device import schema
    from device.bundle import load_bundle
    from device.runtime import open_bundle
    from device.shipped import default_bundle

    bundle = load_bundle(args.bundle or default_bundle(), args.trusted_keys)
    model = open_bundle(bundle)
    head = {"notice": RESEARCH_NOTICE, "id": bundle.id, "signed_by": bundle.signed_by, "interpreter": model.backend}
    head["cautions"] = bundle.meta.cautions
    print(json.dumps(head | schema.dump(bundle.meta), indent=2))
    return 0
