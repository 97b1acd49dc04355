"""`busi-kd train augmentations`: what a recipe does to training pictures, to look at."""

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE
from device.errors import UserError


def register(commands) -> None:
    """Add the command to `busi-kd train`."""
    command = commands.add_parser("augmentations", help="draw pictures beside their random views")
    command.add_argument("data", type=Path, help="data folder in the BUSI layout")
    command.add_argument("--recipe", default="offline", help="shipped recipe or .toml file (default offline)")
    command.add_argument("--out", type=Path, metavar="PNG", required=True, help="the contact sheet, replaced if there")
    command.add_argument("--pictures", type=_count, default=6, help="rows, from each class in turn (default 6)")
    command.add_argument("--views", type=_count, default=6, help="views of each picture (default 6)")
    command.add_argument("--seed", type=_seed, help="of pictures and views, instead of the recipe's")
    command.set_defaults(run=_run)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} is no number in 1..50")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; write a number in 0..{2**32 - 1}")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    if args.out.suffix.lower() != ".png":
        raise UserError(f"{args.out}: the sheet is a .png file; choose another --out.")
    if args.out.exists() and not args.out.is_file():
        raise UserError(f"{args.out}: is there already and no file; choose another --out.")
    from device import files
    from train.augment import sheet
    from train.data.busi import read_dataset
    from train.recipe import load_recipe

    data, recipe = read_dataset(args.data), load_recipe(args.recipe, args.seed)
    pictures = sheet.chosen(data, args.pictures, recipe.seed)
    png = sheet.draw(data, recipe, pictures, args.views, recipe.seed)
    try:
        files.write_bytes(args.out, png)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be written ({error}); check the path and the disk.") from error
    print(f"{args.out}: {len(pictures)} pictures of {data.name} beside {args.views} views each. {RESEARCH_NOTICE}")
    return 0
