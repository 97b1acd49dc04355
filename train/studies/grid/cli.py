"""`busi-kd train grid` and `operating-point`: many trainings, their table, and what one row's answers are worth."""

import argparse
import os
from pathlib import Path

from device import RESEARCH_NOTICE
from train.options import check_groups, names, repeats


def register(commands) -> None:
    """Add the commands to `busi-kd train`."""
    command = commands.add_parser("grid", help="a study: rows of recipe changes x seeds x folds, trained side by side")
    command.add_argument("study", type=Path, metavar="STUDY.toml", help="the study file; docs/scaling.md says how")
    command.add_argument("data", type=Path, nargs="?", help="data folder in the BUSI layout")
    command.add_argument("--out", type=Path, required=True, help="the same command goes on after a kill")
    command.add_argument("--groups", type=Path, metavar="CSV", help="pictures.csv of train audit")
    command.add_argument("--no-groups", action="store_true", help="count each picture as its own group")
    command.add_argument("--exclude", type=Path, metavar="LIST", help="leave the groups of these out of training")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    command.add_argument("--rows", type=names, metavar="A,B", help="train these rows only (default all)")
    command.add_argument("--workers", type=_count, metavar="N", help="default one per core; 0: without Ray")
    command.add_argument("--address", help="of a Ray cluster (default $RAY_ADDRESS, else this machine alone)")
    command.add_argument("--gpu", type=_share, default=0.0, metavar="SHARE", help="of a GPU for each training")
    command.add_argument("--take", type=Path, metavar="DIR", help="--out of another study: what is the same is taken")
    command.add_argument("--keep-runs", action="store_true", help="keep the run folders, weights included")
    command.add_argument("--drop-stale", action="store_true", help="train anew what the study file has outgrown")
    command.add_argument("--table-only", action="store_true", help="write the page from the results; no data needed")
    command.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")
    command.set_defaults(run=_grid)

    command = commands.add_parser("operating-point", help="threshold and abstention from a row's out-of-fold answers")
    command.add_argument("study", type=Path, metavar="STUDY.toml", help="the study file of train grid")
    command.add_argument("--results", type=Path, required=True, metavar="DIR", help="--out of train grid")
    command.add_argument("--row", required=True, help="name of a row of the study")
    command.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")
    command.add_argument("--out", type=Path, help="default DIR/operating-point/ROW")
    command.set_defaults(run=_operating_point)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers in 0..10000")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of a GPU in 0..1")
    return share


def _grid(args: argparse.Namespace) -> int:
    from train.studies.grid.run import alone
    from train.studies.grid.study import read_study

    study = read_study(args.study)
    if args.table_only:
        _write_page(args, study)
        return 0
    with alone(args.out):
        failed = _train(args, study)
        missing = _write_page(args, study)
    if failed:
        print("\n".join(["", "These trainings failed; correct the cause and run the same command again:", *failed]))
    return 1 if failed or missing else 0


def _train(args: argparse.Namespace, study) -> list[str]:
    from device.errors import UserError
    from train.data.busi import read_dataset
    from train.data.lists import read_list
    from train.studies.grid import pool, run, take
    from train.studies.grid.job import train_job

    if args.data is None:
        raise UserError("which data? Give the data folder, or say --table-only.")
    rows = [study.row(name) for name in args.rows or ()] or list(study.rows)
    data = read_dataset(args.data.absolute())
    check_groups(args, data)
    weights = args.weights_dir.absolute() if args.weights_dir else None
    exclude = read_list(args.exclude, "--exclude") if args.exclude else ()
    others = take.results_of(args.take)
    plan = run.plan(study, rows, data, args.groups, exclude, weights, args.out, args.drop_stale, others)
    address = args.address or os.environ.get("RAY_ADDRESS")
    workers = args.workers if args.workers is not None or address else os.cpu_count()
    where = "in this process" if workers == 0 else f"on {workers or 'all'} workers" + (f" of {address}" * bool(address))
    done = f"{plan.done} trainings are done" + f", {plan.taken} of them in {args.take}" * bool(plan.taken)
    print(f"{study.name}: {data.name}, {done}, {len(plan.tasks)} go {where}. {RESEARCH_NOTICE}")
    if not plan.tasks:
        return []

    def trained(tasks):
        if workers == 0:
            return pool.here(tasks, train_job)
        return pool.on_ray(tasks, train_job, workers, address, args.gpu)

    return run.train(plan.tasks, trained, args.out, args.keep_runs, lambda line: print(line, flush=True))


def _write_page(args: argparse.Namespace, study) -> int:
    """Write the page; returns how many trainings of the rows asked for are missing."""
    from device.errors import UserError
    from train.studies.grid import page, results

    pictures = results.read_pictures(args.out)
    if pictures is None:
        raise UserError(f"{args.out}: no study was trained there; check --out, or leave --table-only away.")
    found = results.read_results(args.out, study.jobs())
    results.check_consistent(args.out, study, pictures, found)
    path = page.write(args.out, study, pictures, found, args.repeats)
    print(f"\n{path.read_text(encoding='utf-8')}\nWritten: {path}")
    left = results.unplanned(args.out, study)
    if left:
        print(f"Note: {len(left)} results belong to no row, seed or fold of the study file, such as {left[0]}.")
    rows = [study.row(name) for name in args.rows or ()] or study.rows
    return sum(job.key not in found for job in study.jobs() if job.row in rows)


def _operating_point(args: argparse.Namespace) -> int:
    from device.errors import UserError
    from train.studies import out_of_fold_page
    from train.studies.grid import results
    from train.studies.grid.study import read_study

    study = read_study(args.study)
    row, pictures = study.row(args.row), results.read_pictures(args.results)
    if pictures is None:
        raise UserError(f"{args.results}: no study was trained there; check --results.")
    found = results.read_results(args.results, study.jobs())
    results.check_consistent(args.results, study, pictures, found)
    out = args.out or args.results / "operating-point" / row.slug
    path = out_of_fold_page.write(out, out_of_fold_page.of_grid(study, row, found), pictures, args.repeats)
    print(f"{path.read_text(encoding='utf-8')}\nWritten: {path}")
    return 0
