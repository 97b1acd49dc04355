"""The options of `busi-kd device run` about power: the governor, unchanged pictures, the report, Prometheus text."""

import argparse
from pathlib import Path
from typing import Any

from device import governor, log, metrics
from device.errors import UserError
from device.judge import UNCHANGED_S
from device.machine import Machine

MAX_UNCHANGED_S = 2.0  # device.over_time forgets after so long without a frame; an inference should not be rarer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    add = parser.add_argument
    add("--power-report", action="store_true", help="say at the end what a judged frame costs: CPU, duty cycle, energy")
    add("--metrics", type=Path, metavar="FILE.prom", help=f"Prometheus text, written every {metrics.EVERY_S:g} seconds")
    unchanged = "seconds for which an unchanged picture is not inferred again; 0: it always is"
    add("--unchanged", type=float, default=UNCHANGED_S, metavar="S", help=f"{unchanged} (default: {UNCHANGED_S:g})")
    governor.add_arguments(parser)


def from_options(args: argparse.Namespace) -> dict[str, Any]:
    """What device.daemon.Daemon takes of them, by name. Raises UserError for what makes no sense."""
    if not 0 <= args.unchanged <= MAX_UNCHANGED_S:
        raise UserError(f"--unchanged is {args.unchanged:g}: give 0 to {MAX_UNCHANGED_S:g} seconds.")
    exported = metrics.MetricsFile(args.metrics, log.say) if args.metrics else None
    return {"machine": Machine(governor.from_options(args)), "exported": exported, "unchanged_s": args.unchanged}
