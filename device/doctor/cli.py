"""`busi-kd device doctor`: all checks, one line each, and what to do; `--json` for programs."""

import argparse
import dataclasses
import datetime
import json
import sys
import textwrap
from pathlib import Path

from device import RESEARCH_NOTICE, __version__
from device.config import options
from device.doctor import STATES, Finding, clock, disk, machine, model, service, software, source
from device.errors import Refused
from device.telemetry import Telemetry
from device.telemetry.battery import Gauges

WIDTH, INDENT = 110, 23


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device doctor`."""
    options.add_argument(parser)
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def main(args: argparse.Namespace) -> int:
    """Print what was found. Returns 0, or Refused's status (3) when there is a problem."""
    sys.stdout.reconfigure(errors="backslashreplace")
    found = examine(args.config)
    if args.json:
        head = {"notice": RESEARCH_NOTICE, "version": __version__, "counts": counts(found)}
        print(json.dumps(head | {"checks": [dataclasses.asdict(one) for one in found]}, indent=2))
    else:
        print(text(found), end="")
    return Refused.exit_status if any(one.state == "problem" for one in found) else 0


def examine(config: Path | None, root: Path = Path("/")) -> list[Finding]:
    """Every check of this machine. config: the configuration file, None for the usual one."""
    configured, now = software.configuration(config)
    options_left, settings = software.environment(root), now.settings
    health = Telemetry(root, firmware_every_s=0.0).sample()
    return [
        software.python(),
        software.packages(),
        configured,
        *([] if options_left is None else [options_left]),
        *source.source(settings.source, root),
        model.try_model(settings.model),
        machine.temperature(health, settings.governor),
        machine.throttling(health),
        machine.power(settings.governor, Gauges(root), root),
        machine.memory(health),
        *disk.disk(settings.recorder, root),
        clock.clock(datetime.datetime.now(), clock.kernel_is_synchronised(), root),
        service.service(),
    ]


def counts(found: list[Finding]) -> dict[str, int]:
    """How many findings there are of each state."""
    return {state: sum(one.state == state for one in found) for state in STATES}


def text(found: list[Finding]) -> str:
    """For people: one line per finding, below it what to do, and at the end how many there are of each state."""
    lines = [RESEARCH_NOTICE]
    for one in found:
        head = f"{one.state:<9}{one.name:<14}"
        lines += textwrap.wrap(head + one.says, WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
        if one.do is not None:
            lines += textwrap.wrap(
                f"do: {one.do}",
                WIDTH,
                initial_indent=" " * INDENT,
                subsequent_indent=" " * (INDENT + 4),
                break_on_hyphens=False,
            )
    total = counts(found)
    lines.append(", ".join(f"{total[state]} {state}" for state in STATES) + ".")
    return "\n".join(lines) + "\n"
