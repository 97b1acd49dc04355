"""The options that every command over a split data set shares: which data, which recipe, which split."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device import RESEARCH_NOTICE
from device.errors import UserError

ONE_PER_PICTURE = "one per picture"  # of a split's groups

if TYPE_CHECKING:
    from train.data.busi import DataSet
    from train.data.splits import Split
    from train.recipe import Recipe

PROTOCOLS = ("grouped", "random", "paper")


def repeats(text: str) -> int:
    """How often to resample for an interval. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 2 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number in 2..10000")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """Seeds or folds, such as 0,1,2; each is taken once. Raises ArgumentTypeError."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers; write 0,1,2")
    return tuple(dict.fromkeys(map(int, words)))


def names(text: str) -> tuple[str, ...]:
    """Names of a study's rows, such as a,b; each is taken once. Raises ArgumentTypeError."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of rows; write a,b")
    return found


def add(command: argparse.ArgumentParser, recipe: str = "paper") -> None:
    """Add DATA, --recipe and the options of the split to a command."""
    command.add_argument("data", type=Path, help="data folder in the BUSI layout")
    command.add_argument("--recipe", default=recipe, help=f"shipped recipe or .toml file (default {recipe})")
    add_split(command)


def add_split(command: argparse.ArgumentParser) -> None:
    """Add what decides the split besides the recipe."""
    command.add_argument(
        "--groups", type=Path, metavar="CSV", help="near-copies stay together: pictures.csv of train audit"
    )
    command.add_argument(
        "--no-groups", action="store_true", help="count each picture as its own group, although copies may leak then"
    )
    command.add_argument(
        "--protocol", choices=PROTOCOLS, help="instead of the recipe's; random and paper leak and are for comparison"
    )
    command.add_argument(
        "--exclude", type=Path, metavar="LIST", help="picture names whose whole groups are left out of training"
    )
    command.add_argument("--only", type=Path, metavar="LIST", help="picture names that become the test part")
    command.add_argument("--split", type=Path, metavar="FILE", help="a split.json instead of all these options")


def given(args: argparse.Namespace) -> list[str]:
    """The options of the split that were given, as a command line for another command."""
    names = ("groups", "protocol", "exclude", "only", "split")
    words = [word for name in names if (value := getattr(args, name)) for word in (f"--{name}", str(value))]
    return [*words, *(["--no-groups"] if args.no_groups else [])]


def read(args: argparse.Namespace) -> "tuple[DataSet, Recipe, Split]":
    """The data set, the recipe with the split's own settings in it, and the split. Says what it read, once.

    Raises UserError when one of them is missing or wrong, they do not belong together, or nobody looked for near-copies
    among patients' pictures and --no-groups does not admit it.
    """
    from train.data.busi import read_dataset
    from train.data.lists import read_list
    from train.data.split_file import read_split
    from train.data.splits import make_split
    from train.recipe import load_recipe

    recipe = load_recipe(args.recipe, getattr(args, "seed", None))
    data = read_dataset(args.data)
    counts = ", ".join(f"{count} {label}" for label, count in data.counts().items())
    print(f"{data.name}: {counts}. {RESEARCH_NOTICE}")
    if args.split:
        other = [word for word in given(args) if word.startswith("--") and word != "--split"]
        if other:
            raise UserError(f"--split {args.split} decides the whole split; leave {other[0]} away.")
        split = read_split(args.split, data)
    else:
        check_groups(args, data)
        how = replace(recipe.split, protocol=args.protocol or recipe.split.protocol)
        exclude = read_list(args.exclude, "--exclude") if args.exclude else ()
        only = read_list(args.only, "--only") if args.only else None
        split = make_split(data, how, args.groups, exclude, only)
    for sentence in warnings(split.describe(), data.synthetic):
        print(f"Note: {sentence}", file=sys.stderr)
    return data, replace(recipe, split=split.recipe), split


def check_groups(args: argparse.Namespace, data: "DataSet") -> None:
    """Raise UserError where both of --groups and --no-groups were given, or neither for pictures of patients."""
    if args.groups and args.no_groups:
        raise UserError(f"--groups {args.groups} and --no-groups contradict each other; leave one away.")
    if not args.groups and not args.no_groups and not data.synthetic:
        raise UserError(
            f"{data.root}: which pictures are near-copies is not known, so training and test could share them; find "
            "them with busi-kd train audit and give its pictures.csv as --groups, or say --no-groups."
        )


def leak_sentence(split: dict) -> str:
    """What every report on a leaky split says. split: what Split.describe() gave."""
    copies = "an unknown number" if split["crossing"] is None else split["crossing"]["test_pictures"]
    return (
        f"The protocol {split['protocol']!r} leaks by construction: {copies} of {split['pictures']['test']} test "
        "pictures have a copy in training or validation; these figures do not say how well patients are read."
    )


def warnings(split: dict, synthetic: bool) -> list[str]:
    """What must be said beside every figure on this split; mostly nothing. split: what Split.describe() gave."""
    said = []
    if split["leaks"]:
        said.append(leak_sentence(split))
    elif split["groups"] == ONE_PER_PICTURE and not synthetic:
        said.append(
            "Near-copies were not looked for: test pictures may have copies in training, and the figures may be too "
            "good and too certain."
        )
    if split["dropped"]:
        said.append(f"{split['dropped']} test pictures were left out of the evaluation by --exclude.")
    return said
