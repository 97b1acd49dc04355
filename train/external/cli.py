"""`busi-kd train crops` and `busi-kd train external`: how a model reads the pictures of other hospitals."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from device import RESEARCH_NOTICE
from train.options import repeats

if TYPE_CHECKING:
    from train.data.busi import DataSet
    from train.evaluation.models import Candidate
    from train.external.adapters import ExternalSet
    from train.external.overlap import Copy
    from train.segmentation.external import Outliner


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
    add_sets(command)
    command.add_argument(
        "--mismatched", action="store_true", help="also judge whole-picture models on crops and the reverse"
    )
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write external.json, report.md and external.png")
    command.set_defaults(run=_external)


def add_sets(command: argparse.ArgumentParser) -> None:
    """Add which pictures of other hospitals are judged, which are left out, and how often to resample."""
    command.add_argument("--external", type=Path, required=True, metavar="ROOT", help="folder of the external sets")
    command.add_argument(
        "--data", type=Path, help="the whole pictures of the training: external copies of them are left out"
    )
    command.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")


def training_of(
    args: argparse.Namespace, models: "list[Candidate | Outliner]", sets: "tuple[ExternalSet, ...]"
) -> "tuple[DataSet | None, tuple[Copy, ...] | None]":
    """The data set of --data and the pictures of `sets` that it holds too; None each where it was not given.

    Raises UserError: models of its view were trained on other pictures, or it holds crops.
    """
    from train.data.busi import read_dataset
    from train.external.overlap import check_training, copies_in

    if args.data is None:
        return None, None
    data = read_dataset(args.data)
    check_training((model for model in models if model.view == data.view), data)
    return data, copies_in(sets, data)


def _crops(args: argparse.Namespace) -> int:
    from train.data.busi import read_dataset
    from train.external.crops import write_crops

    data = read_dataset(args.data)
    count = write_crops(data, args.out, args.groups, args.margin, args.denoise)
    print(f"{args.out}: {count} lesion crops of {data.name}. {RESEARCH_NOTICE}")
    return 0


def _external(args: argparse.Namespace) -> int:
    from train.evaluation.models import open_model
    from train.external import page
    from train.external.adapters import read_external
    from train.external.table import judge

    if args.out:
        page.check_target(args.out)
    sets = read_external(args.external)
    models = [open_model(path) for path in args.model]
    judged = tuple(one for one in sets if args.mismatched or any(one.view == model.view for model in models))
    data, copies = training_of(args, models, judged)
    table = judge(models, sets, copies, args.mismatched, args.repeats)
    print(page.markdown(table, sets, data))
    if args.out:
        page.write(args.out, table, sets, data)
        print(f"Written: {args.out}/report.md and external.json, with a plot where a set has classes.")
    return 0
