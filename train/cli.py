"""`busi-kd train ...`: data, teacher, student, evaluation."""

import os

# Before torch is imported: spinning threads make a step ten times slower when anything else runs on the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from pathlib import Path

from device import RESEARCH_NOTICE
from train import options
from train.audit import cli as audit
from train.augment import cli as augment
from train.evaluation import cli as evaluation
from train.external import cli as external
from train.segmentation import cli as segmentation
from train.soft import cli as soft
from train.studies import cli as studies


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

    command = commands.add_parser("split", help="write a recipe's split as a file")
    options.add(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as split.json")
    command.set_defaults(run=_split)

    command = commands.add_parser("part", help="copy one part of a recipe's split, to replay it on the device")
    options.add(command)
    command.add_argument("--part", choices=("train", "val", "test"), default="test")
    command.add_argument("--out", type=Path, required=True, help="new folder")
    command.set_defaults(run=_part)

    command = commands.add_parser("teacher", help="train the hybrid teacher")
    _training_arguments(command)
    command.set_defaults(run=_teacher)

    command = commands.add_parser("distill", help="train the student with a frozen teacher")
    _training_arguments(command)
    chosen = command.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--teacher", type=Path, metavar="RUN", help="run folder of a trained teacher")
    chosen.add_argument(
        "--soft-targets", type=Path, nargs="+", metavar="DIR", help="cached answers of train soft-targets instead"
    )
    chosen.add_argument("--no-teacher", action="store_true", help="train on labels alone, for comparison")
    command.set_defaults(run=_distill)

    for group in (audit, augment, soft, evaluation, external, studies, segmentation):
        group.register(commands)

    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = text.lower().split("x")
        return int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write height x width, such as 384x512") from None


def _training_arguments(command: argparse.ArgumentParser) -> None:
    options.add(command)
    command.add_argument("--out", type=Path, required=True, help="run folder; the same command goes on after a kill")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    command.add_argument("--seed", type=int, help="instead of the recipe's")


def _phantoms(args: argparse.Namespace) -> int:
    from train.data.phantoms import write_phantoms

    write_phantoms(args.out, args.per_class, args.seed, args.size)
    print(f"{args.out}: {3 * args.per_class} synthetic phantoms written.")
    return 0


def _split(args: argparse.Namespace) -> int:
    data, _, split = options.read(args)
    from device.errors import UserError
    from train.data.split_file import read_split, write_split

    if args.out.exists() and (not args.out.is_file() or read_split(args.out, data) != split):
        raise UserError(f"{args.out}: is there already and holds something else; choose another --out.")
    write_split(args.out, split, data)
    counts = ", ".join(f"{len(split.part(part))} {part}" for part in ("train", "val", "test"))
    print(f"{args.out}: {counts}, {len(split.left_out)} left out; fingerprint {split.fingerprint[:12]}.")
    return 0


def _part(args: argparse.Namespace) -> int:
    _, _, split = options.read(args)
    from train.data.parts import copy_part

    count = copy_part(split, args.part, args.out)
    print(f"{args.out}: {count} pictures of the {args.part} part copied.")
    return 0


def _teacher(args: argparse.Namespace) -> int:
    data, recipe, split = options.read(args)
    from train.fit import part_company
    from train.training import train_teacher

    _say(train_teacher(data, recipe, split, args.weights_dir, args.out))
    part_company()
    return 0


def _distill(args: argparse.Namespace) -> int:
    data, recipe, split = options.read(args)
    from train.fit import part_company
    from train.runs import load_run
    from train.training import distill

    teacher = load_run(args.teacher, "teacher") if args.teacher else None
    soft = None
    if args.soft_targets:
        from train.soft.targets import read_soft_targets

        soft = read_soft_targets(args.soft_targets, data, split, recipe)
    _say(distill(data, recipe, split, args.weights_dir, teacher, args.out, soft))
    part_company()
    return 0


def _say(run) -> None:
    meta, val = run.meta, run.meta.validation
    print(
        f"{run.folder}: {meta.kind}, {meta.parameters:,} parameters, {meta.mebibytes:.2f} MiB, "
        f"epoch {val['selected_epoch']:.0f} selected, validation loss {val['val_loss']:.3f}, "
        f"trained in {meta.seconds:.0f} s on {meta.hardware}."
    )
