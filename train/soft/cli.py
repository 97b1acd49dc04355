"""`busi-kd train soft-targets`: teachers for each pair of folds, and their answers to what they never saw."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from device import RESEARCH_NOTICE
from device.errors import UserError
from train.interrupts import sigterm_as_interrupt
from train.options import numbers

if TYPE_CHECKING:
    from train.data.busi import DataSet
    from train.soft.cache import Cache


def register(commands) -> None:
    """Add the command to `busi-kd train`."""
    command = commands.add_parser(
        "soft-targets", help="cross-fitted teachers, and their answers to pictures they never saw, for distilling"
    )
    command.add_argument("data", type=Path, help="data folder in the BUSI layout")
    command.add_argument(
        "--recipe", default="offline", help="the teacher's: shipped, or a .toml file (default offline)"
    )
    command.add_argument(
        "--views-of", metavar="RECIPE", help="the student's recipe, whose views are answered, when it is another"
    )
    command.add_argument("--groups", type=Path, metavar="CSV", help="near-copies stay together; needed for patients")
    command.add_argument("--exclude", type=Path, metavar="LIST", help="leave the groups of these out of training")
    command.add_argument(
        "--test-folds", type=numbers, metavar="0,1,...", help="test folds of the students to come (default all)"
    )
    command.add_argument("--seeds", type=numbers, metavar="0,1,...", help="a teacher each (default the recipe's)")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    command.add_argument("--out", type=Path, required=True, help="the same command goes on after a kill")
    command.add_argument("--jobs", type=_count, default=1, help="teachers that are trained at a time (default 1)")
    command.add_argument(
        "--check", type=_count, metavar="N", help="only ask the teachers again about N answers of each cache in --out"
    )
    command.set_defaults(run=_run)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from train.data.busi import read_dataset

    data = read_dataset(args.data)
    return _check(args, data) if args.check else _make(args, data)


def _check(args: argparse.Namespace, data: "DataSet") -> int:
    from train.soft.answers import check
    from train.soft.cache import FOLDER, SUFFIX
    from train.soft.crossfit import TEACHERS

    paths = sorted((args.out / FOLDER).glob(f"*{SUFFIX}"))
    there = [path for path in paths if (args.out / TEACHERS / path.stem).is_dir()]
    if not there:
        raise UserError(
            f"{args.out}: holds no soft targets beside their teachers, in {FOLDER}/ and {TEACHERS}/; give the --out of "
            "the training."
        )
    for path in paths:
        if path not in there:
            print(f"{path.name}: not checked, its teacher is not there.")
            continue
        worst = check(path, args.out / TEACHERS / path.stem, data, args.check, seed=0)
        print(f"{path.name}: {args.check} answers asked again, logits differ by {worst:.2g} at most.", flush=True)
    print(RESEARCH_NOTICE)
    return 0


def _make(args: argparse.Namespace, data: "DataSet") -> int:
    from dataclasses import replace

    from joblib import Parallel, delayed

    from train.data.groups import one_per_picture, read_groups
    from train.data.lists import read_list
    from train.fit import processes
    from train.recipe import load_recipe
    from train.soft.answers import made, taken_up
    from train.soft.crossfit import pairs

    if processes()[0] > 1:
        raise UserError("soft-targets trains its teachers in processes of its own; use --jobs instead of torchrun.")
    recipe = load_recipe(args.recipe)
    student = load_recipe(args.views_of) if args.views_of else recipe
    exclude = read_list(args.exclude, "--exclude") if args.exclude else ()
    if not args.groups and not data.synthetic:
        raise UserError(
            f"{data.root}: which pictures are near-copies is not known, so teachers could see copies of what they "
            "answer; find them with busi-kd train audit and give its pictures.csv as --groups."
        )
    group_of, _ = read_groups(args.groups, data) if args.groups else one_per_picture(data)
    folds = recipe.split.folds
    wanted = pairs(folds, range(folds) if args.test_folds is None else args.test_folds)
    print(f"{data.name}, recipe {recipe.name}: {len(wanted)} pairs of {folds} folds. {RESEARCH_NOTICE}")
    recipes = [replace(recipe, seed=seed) for seed in args.seeds or (recipe.seed,)]
    todo = [(one, j, k) for one in recipes for j, k in wanted]
    for one, j, k in todo:  # what does not fit is told before the first training, not after hours
        taken_up(data, one, student, args.groups, exclude, j, k, args.out)
    work = (
        delayed(made)(data, one, student, args.groups, exclude, args.weights_dir, j, k, args.out) for one, j, k in todo
    )
    done = []
    with sigterm_as_interrupt():  # it ends the processes that were started, too
        for cache in Parallel(args.jobs, return_as="generator")(work):
            done.append(cache)
            found = _figures(_of_cache(cache, data))
            print(f"folds {_folds(cache)}, seed {cache.meta.recipe.seed}, unseen pictures: {found}.", flush=True)
    print(_table(done, data, group_of))
    return 0


def _folds(cache: "Cache") -> str:
    return f"{cache.meta.recipe.split.val_fold}-{cache.meta.recipe.split.test_fold}"


def _of_cache(cache: "Cache", data: "DataSet") -> tuple:
    label = {picture.name: picture.label for picture in data.pictures}
    return cache.logits[:, 0], [label[name] for name in cache.meta.names]


def _metrics(answers: tuple) -> tuple[float | None, ...]:
    import numpy as np

    from train.data.busi import CLASSES
    from train.evaluation.metrics import accuracy, auc_benign_malignant, balanced_accuracy

    logits, labels = answers
    targets = np.array([CLASSES.index(label) for label in labels])
    return tuple(metric(logits, targets) for metric in (accuracy, balanced_accuracy, auc_benign_malignant))


def _figures(answers: tuple) -> str:
    accuracy, _, area = map(_said, _metrics(answers))
    return f"{len(answers[1])}, accuracy {accuracy}, AUC benign/malignant {area}"


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _table(done: "list[Cache]", data: "DataSet", group_of: dict[str, str]) -> str:
    from train.soft.targets import out_of_fold_of

    label = {picture.name: picture.label for picture in data.pictures}
    rows = [(_folds(cache), str(cache.meta.recipe.seed), _of_cache(cache, data)) for cache in done]
    whole = out_of_fold_of(done, data, group_of)
    rows.append(("all", "mean", (whole.logits, [label[name] for name in whole.names])))
    lines = ["| folds | seed | unseen pictures | accuracy | balanced accuracy | AUC benign/malignant |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for folds, seed, answers in rows:
        lines.append(f"| {folds} | {seed} | {len(answers[1])} | {' | '.join(map(_said, _metrics(answers)))} |")
    few, many = int(whole.teachers.min()), int(whole.teachers.max())
    count = f"{few}" if few == many else f"{few} to {many}"
    return (
        "\n"
        + "\n".join(lines)
        + f"\n\nThe last row: the mean answer of the {count} teachers that never saw the picture's group. "
        + ("SYNTHETIC pictures: these figures say nothing about patients. " if data.synthetic else "")
        + RESEARCH_NOTICE
    )
