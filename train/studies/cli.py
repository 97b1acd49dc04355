"""`busi-kd train protocols`: what a leaky split is worth in points of accuracy."""

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE
from train.options import PROTOCOLS, numbers, repeats
from train.studies.grid import cli as grid


def register(commands) -> None:
    """Add the commands to `busi-kd train`."""
    grid.register(commands)
    command = commands.add_parser("protocols", help="the same student under each split protocol: how much is leakage")
    command.add_argument("data", type=Path, help="data folder in the BUSI layout")
    command.add_argument("--recipe", default="offline", help="shipped recipe or .toml file (default offline)")
    command.add_argument("--groups", type=Path, metavar="CSV", required=True, help="pictures.csv of train audit")
    command.add_argument("--exclude", type=Path, metavar="LIST", help="leave the groups of these out of training")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    command.add_argument("--protocols", type=_protocols, default=PROTOCOLS, help=f"default {','.join(PROTOCOLS)}")
    command.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="of split and training (default 0,1,2)")
    command.add_argument("--with-teacher", action="store_true", help="train a teacher on each split and distil it")
    command.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")
    command.add_argument("--out", type=Path, required=True, help="the same command goes on after a kill")
    command.set_defaults(run=_run)


def _protocols(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no protocol; there are {', '.join(PROTOCOLS)}")
    return names


def _run(args: argparse.Namespace) -> int:
    from train.data.busi import read_dataset
    from train.data.lists import read_list
    from train.recipe import load_recipe
    from train.studies import protocols_page
    from train.studies.protocols import trials

    data, recipe = read_dataset(args.data), load_recipe(args.recipe)
    exclude = read_list(args.exclude, "--exclude") if args.exclude else ()
    print(f"{data.name}, recipe {recipe.name}. {RESEARCH_NOTICE}")
    done = []
    for trial in trials(
        data, recipe, args.groups, exclude, args.weights_dir, args.protocols, args.seeds, args.with_teacher, args.out
    ):
        done.append(trial)
        print(f"{trial.protocol}, seed {trial.seed}: judged on {len(trial.targets)} test pictures.", flush=True)
    page = protocols_page.write(args.out, data, recipe, done, args.with_teacher, args.repeats)
    print(f"\n{page.read_text(encoding='utf-8')}\nWritten: {page} and {page.with_suffix('.png')}")
    return 0
