"""`busi-kd device quality`: which pictures of a folder the daemon would refuse before judging them, and why."""

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from device import RESEARCH_NOTICE, trust
from device.capture.folder import list_pictures
from device.errors import UserError
from device.preprocess import prepare, read_picture
from device.quality import BLANK, BLURRED, COLOURED, DARK, OK, UNFAMILIAR, assess
from device.shipped import default_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device quality`."""
    parser.add_argument("folder", type=Path, help="pictures, sub-folders included")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="a model bundle (default: the shipped one)")
    parser.add_argument("--list", action="store_true", help="name each refused picture")
    trust.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Print how many pictures are in each state. Returns 0; raises UserError when not one of them decodes."""
    bundle, _ = trust.load(args.bundle or default_bundle(), trust.from_options(args))
    known, preprocess = bundle.meta.familiar, bundle.meta.preprocess
    counts: Counter[str] = Counter()
    scores = []
    broken = 0
    print(RESEARCH_NOTICE)
    for name in list_pictures(args.folder):
        try:
            pixels = read_picture(args.folder / name)
            found = assess(prepare(pixels, preprocess), pixels, known)
        except (UserError, OSError, ValueError, cv2.error):
            broken += 1
            continue
        counts[found.state] += 1
        if found.unusual is not None:
            scores.append(found.unusual)
        if args.list and found.state != OK:
            unusual = "" if found.unusual is None else f" ({found.unusual:.0f})"
            print(f"{name}: {found.state}{unusual}")
    total = sum(counts.values())
    if not total:
        raise UserError(f"{args.folder}: none of its {broken} pictures decodes; give another folder.")
    print(
        ", ".join(f"{state} {counts[state]}" for state in (OK, BLANK, DARK, COLOURED, BLURRED, UNFAMILIAR))
        + f" of {total}."
    )
    if known is None:
        print(f"{bundle.meta.name} does not know its training pictures: none can be unfamiliar.")
    elif scores:
        print(f"Unusual: median {np.median(scores):.0f}, highest {max(scores):.0f}; limit {known.limit:.0f}.")
    if broken:
        print(f"{broken} do not decode and were left out.")
    return 0
