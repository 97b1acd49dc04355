"""`busi-kd train audit`: near-copies, contradicting labels and burned-in marks of a data set."""

import argparse
from pathlib import Path


def register(commands) -> None:
    """Add the command to the sub-parsers of `busi-kd train`."""
    command = commands.add_parser(
        "audit",
        help="find near-copies, contradicting labels and burned-in marks",
        description="Audit a data set of one folder of pictures per class: exact and near-copies (also cropped, "
        "mirrored or of other contrast) merged into groups, contradicting labels, calipers, colour, text, axilla "
        "labels, several masks, unusual sizes. OUT/pictures.csv serves as --groups, OUT/axilla.txt and "
        "OUT/conflicts.txt as --exclude of the training commands.",
    )
    command.add_argument("data", type=Path, help="folder with one sub-folder of pictures per class")
    command.add_argument("--out", type=Path, default=Path("out/audit"), help="new folder (default out/audit)")
    command.add_argument("--hamming", type=int, default=4, help="pHash distance of near-copies, of 64 bits (default 4)")
    command.add_argument(
        "--similarity", type=float, default=0.18, help="verified similarity of near-copies, 0.05..1 (default 0.18)"
    )
    command.add_argument("--no-text", action="store_true", help="read no burned-in text: faster, no axilla flag")
    command.add_argument(
        "--reviewed", type=Path, metavar="CSV", help="pairs that you looked at, besides those that come with busi-kd"
    )
    command.add_argument("--jobs", type=int, help="processes (default one per core)")
    command.set_defaults(run=_audit)


def _audit(args: argparse.Namespace) -> int:
    from device.errors import UserError
    from train.audit import run
    from train.audit.reviewed import BUSI, read_reviews
    from train.audit.settings import Settings

    try:
        settings = Settings(args.hamming, args.similarity, not args.no_text)
    except ValueError as error:
        raise UserError(str(error)) from error
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs must be 1 or more, not {args.jobs}.")
    run.check_target(args.out)
    reviews = read_reviews(BUSI) + (read_reviews(args.reviewed) if args.reviewed else [])
    done = run.audit(args.data, settings, reviews, args.jobs)
    run.write_audit(done, args.out)
    print(summary(done, args.out))
    return 0


def summary(done, out: Path) -> str:
    """A few lines on what was found, for the terminal."""
    from device import RESEARCH_NOTICE
    from train.audit.report import summarise

    found = summarise(done, [])
    by_hash, whole = found["phash"], found["all"]
    classes = ", ".join(f"{count} {label}" for label, count in found["data"]["classes"].items())
    flags = ", ".join(
        f"{name.replace('_', ' ')} {count}" for name, count in found["flags"].items() if count is not None
    )
    return (
        f"{found['data']['name']}: {found['data']['pictures']} pictures ({classes}). {RESEARCH_NOTICE}\n"
        f"pHash, Hamming distance up to {found['settings']['hamming']}: {by_hash['pairs']} pairs "
        f"({found['pairs']['exact']} exact), {_grouped(by_hash)}\n"
        f"With {found['pairs']['verified']} verified and {found['pairs']['reviewed']} reviewed pairs: "
        f"{_grouped(whole)} Doubtful pairs: {found['doubtful']}.\n"
        f"Flags: {flags}.\n"
        f"{out / 'report.md'}: written after {found['seconds']:.0f} s with {found['processes']} processes."
    )


def _grouped(found: dict) -> str:
    return (
        f"{found['groups']} groups; {found['conflicting_pairs']} pairs in {found['conflicting_groups']} groups of "
        f"{found['pictures_in_conflict']} pictures have contradicting labels."
    )
