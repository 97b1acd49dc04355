"""`busi-kd train crops` and `busi-kd train external`: how a model reads the pictures of other hospitals."""

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE


def register(commands) -> None:
    """Add both commands to `busi-kd train`."""
    command = commands.add_parser("crops", help="cut out each lesion, as the external crop sets have them")
    command.add_argument("data", type=Path, help="data folder in the BUSI layout, with masks")
    command.add_argument("--out", type=Path, required=True, help="new folder")
    command.add_argument("--groups", type=Path, metavar="CSV", help="also write groups.csv of the pictures that remain")
    command.add_argument("--margin", type=int, default=4, help="pixels around the mask's box (default 4)")
    command.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="non-local means, as in the external crops (default yes)",
    )
    command.set_defaults(run=_crops)

    command = commands.add_parser("external", help="the cross-data-set table: models on data sets they never saw")
    command.add_argument("model", type=Path, nargs="+", help="run folders or bundles; those of one title are averaged")
    command.add_argument("--external", type=Path, required=True, metavar="ROOT", help="folder of the external sets")
    command.add_argument(
        "--data", type=Path, help="the whole pictures of the training: external copies of them are left out"
    )
    command.add_argument(
        "--mismatched", action="store_true", help="also judge whole-picture models on crops and the reverse"
    )
    command.add_argument("--repeats", type=int, default=1000, help="bootstrap resamplings (default 1000)")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write external.json, report.md and external.png")
    command.set_defaults(run=_external)


def _crops(args: argparse.Namespace) -> int:
    from train.data.busi import read_dataset
    from train.external.crops import write_crops

    data = read_dataset(args.data)
    count = write_crops(data, args.out, args.groups, args.margin, args.denoise)
    print(f"{args.out}: {count} lesion crops of {data.name}. {RESEARCH_NOTICE}")
    return 0


def _external(args: argparse.Namespace) -> int:
    from train.data.busi import read_dataset
    from train.evaluation.models import open_model
    from train.external import page
    from train.external.adapters import read_external
    from train.external.overlap import check_training, copies_in
    from train.external.table import judge

    if args.out:
        page.check_target(args.out)
    sets = read_external(args.external)
    models = [open_model(path) for path in args.model]
    data = read_dataset(args.data) if args.data else None
    if data:
        check_training((model for model in models if model.view == data.view), data)
    judged = [one for one in sets if args.mismatched or any(one.view == model.view for model in models)]
    copies = copies_in(judged, data) if data else None
    table = judge(models, sets, copies, args.mismatched, args.repeats)
    print(page.markdown(table, sets, data))
    if args.out:
        page.write(args.out, table, sets, data)
        print(f"Written: {args.out}/report.md and external.json, with a plot where a set has classes.")
    return 0
