"""`busi-kd train evaluate`: one evaluation for run folders and model bundles."""

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE
from device.errors import UserError

MOST_REPEATS = 10_000


def register(commands: argparse._SubParsersAction) -> None:
    """Add the command to `busi-kd train`."""
    command = commands.add_parser(
        "evaluate",
        help="figures with 95 %% intervals, drawn and on one page",
        description=f"Evaluate models on a part of the split they were trained with. {RESEARCH_NOTICE}",
    )
    command.add_argument("model", type=Path, nargs="+", help="run folder of a teacher or student, or a model bundle")
    command.add_argument("--data", type=Path, required=True, help="data folder of the training")
    command.add_argument(
        "--part", choices=("train", "val", "test", "all"), default="test", help="all: another data set, every picture"
    )
    command.add_argument("--groups", type=Path, metavar="CSV", help="judge by these groups instead of the training's")
    command.add_argument("--split", type=Path, metavar="FILE", help="the training's split.json, if not with the model")
    command.add_argument("--only", type=Path, metavar="LIST", help="evaluate these pictures instead of the test part")
    command.add_argument("--exclude", type=Path, metavar="LIST", help="leave the groups of these pictures out")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write page, figures, JSON and CSV there")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    command.add_argument("--repeats", type=_repeats, default=1000, help="resamplings for the intervals (default 1000)")
    command.set_defaults(run=run)


def _repeats(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_REPEATS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number in 1..{MOST_REPEATS}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Evaluate each model, print, write. Raises UserError on bad input, before anything is written."""
    from device import files
    from train import outputs
    from train.data.busi import read_dataset
    from train.evaluation import folder, page
    from train.evaluation.evaluate import evaluate, evaluate_other
    from train.evaluation.models import open_model, split_of

    if args.part != "test" and (args.only or args.exclude):
        option = "--only" if args.only else "--exclude"
        raise UserError(f"{option} changes the test part; leave --part {args.part} away.")
    twice = next((path for path in args.model if args.model.count(path) > 1), None)
    if twice:
        raise UserError(f"{twice}: is given twice; give each model once.")
    if args.out:
        folder.check_replaceable(args.out)
    if args.json:
        inside = args.out and args.json.absolute().is_relative_to(args.out.absolute())
        if inside or outputs.listed(args.json.parent / folder.JSON):
            raise UserError(f"{args.json}: lies in the folder of an evaluation; choose another place for --json.")
    data = read_dataset(args.data)
    print(f"{RESEARCH_NOTICE} {'SYNTHETIC phantoms. ' if data.synthetic else ''}Percent [95 % interval over groups]\n")
    print("\n".join(page.table_head()))
    done = []
    for path in args.model:
        model = open_model(path)
        if args.part == "all":
            done.append(evaluate_other(model, data, args.groups, args.repeats))
        else:
            split = split_of(model, data, args.groups, args.only, args.exclude, args.split)
            done.append(evaluate(model, split, args.part, args.repeats))
        print(page.table_row(done[-1]), flush=True)
    for sentence in dict.fromkeys(sentence for evaluation in done for sentence in page.warnings(evaluation)):
        print(f"\n**{sentence}**")
    for evaluation in done:
        print("\n" + "\n".join(page.lines(evaluation)))
    if len(done) > 1:
        print("\nPaired differences, percentage points:\n" + "\n".join(page.difference_lines(done)))
    if args.out:
        folder.write(args.out, done, data)
        print(f"\nWritten to {args.out}: {folder.PAGE}, {folder.JSON}, figures, {folder.PREDICTIONS}.")
    if args.json:
        files.write_json(args.json, folder.report(done, data))
    return 0
