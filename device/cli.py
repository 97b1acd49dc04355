"""`busi-kd device ...`: what runs on the Pi. Each command imports its own module only when it is called."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from device import RESEARCH_NOTICE

COMMANDS = {
    "run": ("device.run", "read frames, judge each, log what is seen"),
    "capture": ("device.capture_cli", "record a source's frames without judging them, to replay them later"),
    "quality": ("device.quality_cli", "say of a folder's pictures which would be refused, and why"),
    "region": ("device.region.region_cli", "where on the machine's screen the picture is: find, set, confirm, forget"),
    "replay": ("device.replay", "judge a record of verdicts again, and compare"),
    "bench": ("device.bench", "measure load, latency, memory and temperature of bundles"),
    "show": ("device.cli", "check a bundle and print what it is"),
    "config": ("device.config.cli", "check the configuration file, show what would run, print an example"),
    "doctor": ("device.doctor.cli", "check this machine, and say what to do"),
    "health": ("device.doctor.health", "does the service run and tell fresh figures? --mend starts it again"),
    "edid": ("device.capture.edid_cli", "give an HDMI bridge the EDID that it shows to the ultrasound machine"),
    "studies": ("device.studies_cli", "list, show, export, verify and delete what the recorder has saved"),
    "fleet": ("device.fleet.cli", "tell a broker and Prometheus of health and counts, never of pictures"),
    "page": ("device.page.cli", "serve the technician's page: what is seen now, setup, studies, health"),
    "admin": ("device.admin.cli", "the page's root helper: clock, start again, models; a closed list"),
    "models": ("device.models_cli", "check and list the models of this machine, install one, roll back"),
    "update": ("device.update.cli", "install a new version of busi-kd from a file or memory stick, roll back"),
    "selftest": ("device.selftest_cli", "does this version run here, and do its models answer as they should?"),
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
    from device import trust

    what = "folder of a model bundle (default: the one that ships with busi-kd)"
    parser.add_argument("bundle", nargs="?", type=Path, help=what)
    trust.add_arguments(parser)


def show(args: argparse.Namespace) -> int:
    """Load a bundle with every check the daemon makes, open its model, print its metadata as JSON."""
    from device import trust
    from device.bundle import content
    from device.runtime import open_bundle
    from device.shipped import default_bundle

    bundle, warning = trust.load(args.bundle or default_bundle(), trust.from_options(args))
    model = open_bundle(bundle)
    if warning is not None:
        print(warning, file=sys.stderr)
    head = {"notice": RESEARCH_NOTICE, "id": bundle.id, "signed_by": bundle.signed_by, "interpreter": model.backend}
    head["cautions"] = bundle.meta.cautions
    print(json.dumps(head | content(bundle.meta), indent=2))
    return 0
