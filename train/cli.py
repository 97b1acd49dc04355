"""`busi-kd train ...`: data, teacher, student, evaluation."""

import os

# Before torch is imported: spinning threads make a step ten times slower when anything else runs on the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE


def main(arguments: list[str]) -> int:
    """Run one train command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="busi-kd train", description=RESEARCH_NOTICE)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("phantoms", help="write a synthetic data set in the BUSI layout")
    command.add_argument("out", type=Path, help="new folder")
    command.add_argument("--per-class", type=int, default=200, help="pictures of each class (default 200)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--size", type=_size, default=(384, 512), metavar="HxW", help="pixels (default 384x512)")
    command.set_defaults(run=_phantoms)

    command = commands.add_parser("part", help="copy one part of a recipe's split, to replay it on the device")
    _data_arguments(command)
    command.add_argument("--part", choices=("train", "val", "test"), default="test")
    command.add_argument("--out", type=Path, required=True, help="new folder")
    command.add_argument("--seed", type=int, help="instead of the recipe's")
    command.set_defaults(run=_part)

    command = commands.add_parser("teacher", help="train the hybrid teacher")
    _training_arguments(command)
    command.set_defaults(run=_teacher)

    command = commands.add_parser("distill", help="train the student with a frozen teacher")
    _training_arguments(command)
    chosen = command.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--teacher", type=Path, metavar="RUN", help="run folder of a trained teacher")
    chosen.add_argument("--no-teacher", action="store_true", help="train on labels alone, for comparison")
    command.set_defaults(run=_distill)

    command = commands.add_parser("evaluate", help="accuracy, balanced accuracy and AUC with 95 %% intervals")
    command.add_argument("model", type=Path, nargs="+", help="run folder of a teacher or student, or a model bundle")
    command.add_argument("--data", type=Path, required=True, help="data folder in the BUSI layout")
    command.add_argument("--groups", type=Path, metavar="CSV", help="groups file of the training")
    command.add_argument("--part", choices=("train", "val", "test"), default="test")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    command.set_defaults(run=_evaluate)

    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = text.lower().split("x")
        return int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write height x width, such as 384x512") from None


def _data_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", type=Path, help="data folder in the BUSI layout")
    command.add_argument("--recipe", default="paper", help="shipped recipe or .toml file (default paper)")
    command.add_argument(
        "--groups", type=Path, metavar="CSV", help="columns image, group_id: near-copies stay together"
    )


def _training_arguments(command: argparse.ArgumentParser) -> None:
    _data_arguments(command)
    command.add_argument("--out", type=Path, required=True, help="run folder; the same command goes on after a kill")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    command.add_argument("--seed", type=int, help="instead of the recipe's")


def _phantoms(args: argparse.Namespace) -> int:
    from train.data.phantoms import write_phantoms

    write_phantoms(args.out, args.per_class, args.seed, args.size)
    print(f"{args.out}: {3 * args.per_class} synthetic phantoms written.")
    return 0


def _inputs(args: argparse.Namespace):
    from train.data.busi import read_dataset
    from train.recipe import load_recipe

    recipe = load_recipe(args.recipe, args.seed)
    data = read_dataset(args.data)
    counts = ", ".join(f"{count} {label}" for label, count in data.counts().items())
    print(f"{data.name}: {counts}. {RESEARCH_NOTICE}")
    if not args.groups and not data.synthetic:
        print("Note: no --groups: each picture counts as its own group, so near-copies may stand on both sides.")
    return data, recipe


def _part(args: argparse.Namespace) -> int:
    data, recipe = _inputs(args)
    from train.data.parts import copy_part
    from train.data.splits import make_split

    count = copy_part(make_split(data, recipe.split, args.groups), args.part, args.out)
    print(f"{args.out}: {count} pictures of the {args.part} part copied.")
    return 0


def _teacher(args: argparse.Namespace) -> int:
    data, recipe = _inputs(args)
    from train.training import train_teacher

    _say(train_teacher(data, recipe, args.groups, args.weights_dir, args.out))
    return 0


def _distill(args: argparse.Namespace) -> int:
    data, recipe = _inputs(args)
    from train.runs import load_run
    from train.training import distill

    teacher = None if args.no_teacher else load_run(args.teacher, "teacher")
    _say(distill(data, recipe, args.groups, args.weights_dir, teacher, args.out))
    return 0


def _say(run) -> None:
    meta, val = run.meta, run.meta.validation
    print(
        f"{run.folder}: {meta.kind}, {meta.parameters:,} parameters, {meta.mebibytes:.2f} MiB, "
        f"epoch {val['selected_epoch']:.0f} selected, validation loss {val['val_loss']:.3f}, "
        f"trained in {meta.seconds:.0f} s on {meta.hardware}."
    )


def _evaluate(args: argparse.Namespace) -> int:
    from device import files, schema
    from train.data.busi import read_dataset
    from train.evaluate import evaluate
    from train.metrics import percent

    data = read_dataset(args.data)
    report = {"notice": RESEARCH_NOTICE, "data": data.name, "synthetic": data.synthetic, "models": {}}
    print(f"{RESEARCH_NOTICE} {'SYNTHETIC phantoms. ' if data.synthetic else ''}Percent [95 % interval over groups]\n")
    print("| model | part | pictures | accuracy | balanced accuracy | AUC benign vs malignant |")
    print("|---|---|---|---|---|---|")
    for path in args.model:
        done, split = evaluate(path, data, args.part, args.groups)
        cells = [percent(done.metrics[name]) for name in ("accuracy", "balanced_accuracy", "auc_benign_malignant")]
        print(f"| {done.model} | {done.part} | {len(done.targets)} | {' | '.join(cells)} |", flush=True)
        report["models"][str(path)] = {
            "name": done.model,
            "part": done.part,
            "pictures": len(done.targets),
            "split": split.describe(),
            "metrics": schema.dump(done.metrics),
        }
    if args.json:
        files.write_json(args.json, report)
    return 0
