"""`busi-kd train segment` and `busi-kd train outlines`: studies of networks that outline, and other hospitals."""

import argparse
import os
from pathlib import Path

from device import RESEARCH_NOTICE
from train.external.cli import add_sets, training_of
from train.options import PROTOCOLS, check_groups, names, numbers, repeats


def register(commands: argparse._SubParsersAction) -> None:
    """Add the command to `busi-kd train`."""
    command = commands.add_parser(
        "segment",
        help="a study of networks that outline the lesion: teachers, students, tables",
        description=f"Train teachers, baselines and students that outline lesions. {RESEARCH_NOTICE}",
    )
    command.add_argument("study", metavar="STUDY", help="a shipped study or a .toml file; docs/segmentation.md")
    command.add_argument("data", type=Path, nargs="?", help="data folder in the BUSI layout")
    command.add_argument("--out", type=Path, help="the same command goes on after a kill")
    command.add_argument(
        "--groups", type=Path, metavar="CSV", help="pictures.csv of train audit; its flags make by-flag.md"
    )
    command.add_argument("--no-groups", action="store_true", help="count each picture as its own group")
    command.add_argument(
        "--protocol", choices=PROTOCOLS, help="instead of the study's; random and paper leak and are for comparison"
    )
    command.add_argument("--exclude", type=Path, metavar="LIST", help="leave the groups of these out of training")
    command.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the study names")
    command.add_argument("--rows", type=names, metavar="A,B", help="these rows and their teachers only (default all)")
    command.add_argument("--folds", type=numbers, metavar="0,1", help="instead of the study's")
    command.add_argument("--seeds", type=numbers, metavar="0,1", help="instead of the study's")
    command.add_argument("--workers", type=int, default=0, metavar="N", help="side by side; 0, the default: one by one")
    command.add_argument(
        "--classifier", type=Path, metavar="RESULTS", help="compare class heads with it: results/ROW of train grid"
    )
    command.add_argument(
        "--operating-point", metavar="ROW", help="write threshold and abstention of this row's class heads, too"
    )
    command.add_argument("--table-only", action="store_true", help="write the tables from the results that are there")
    command.add_argument("--costs", action="store_true", help="print each network's size and multiply-adds, and end")
    command.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")
    command.set_defaults(run=_run)

    command = commands.add_parser(
        "outlines",
        help="how networks outline lesions on data sets they never saw",
        description=f"Judge outlines on whole pictures of other hospitals. {RESEARCH_NOTICE}",
    )
    command.add_argument(
        "model", type=Path, nargs="+", help="run folders or bundles with a mask; those of one title are averaged"
    )
    add_sets(command)
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write report, scores and contact sheets")
    command.set_defaults(run=_outlines)


def _run(args: argparse.Namespace) -> int:
    # MONAI imports TensorFlow where it is installed, which then talks about CPU features.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from device.errors import UserError
    from train.segmentation.class_head import read_classifier
    from train.segmentation.study import read_study
    from train.studies.grid.run import alone

    study = read_study(args.study, args.folds, args.seeds, args.protocol)
    if args.costs:
        from train.segmentation.costs import costs, table

        print(table(costs(study)))
        return 0
    if args.out is None:
        raise UserError("where to? Give --out, or say --costs.")
    if args.data is None and not args.table_only:
        raise UserError("which data? Give the data folder, or say --table-only.")
    if args.workers < 0:
        raise UserError(f"--workers must be 0 or more, not {args.workers}.")
    classifier = read_classifier(args.classifier) if args.classifier else None
    with alone(args.out):
        failed = [] if args.table_only else _train(args, study)
        missing = _write(args, study, classifier)
    if failed:
        print("\n".join(["", "These trainings failed; correct the cause and run the same command again:", *failed]))
    return 1 if failed or missing else 0


def _rows(args: argparse.Namespace, study) -> list:
    return [study.row(name) for name in args.rows or ()] or list(study.rows)


def _train(args: argparse.Namespace, study) -> list[str]:
    from train.data.busi import read_dataset
    from train.data.lists import read_list
    from train.segmentation.job import train_job, train_missing
    from train.studies.grid import pool

    data = read_dataset(args.data.absolute())
    check_groups(args, data)
    print(f"{study.name}: {data.name}. {RESEARCH_NOTICE}")
    weights = args.weights_dir.absolute() if args.weights_dir else None
    exclude = read_list(args.exclude, "--exclude") if args.exclude else ()

    def trained(tasks):
        if args.workers == 0 or not tasks:
            return pool.here(tasks, train_job)
        return pool.on_ray(tasks, train_job, args.workers, None)

    return train_missing(
        study,
        _rows(args, study),
        data,
        args.groups,
        exclude,
        weights,
        args.out.absolute(),
        trained,
        lambda line: print(line, flush=True),
    )


def _write(args: argparse.Namespace, study, classifier) -> int:
    """Write tables and, where the pictures are at hand, contact sheets; returns how many trainings are missing."""
    from device import files
    from device.errors import UserError
    from train.audit.known import read_flags
    from train.data.busi import read_dataset
    from train.segmentation import operating, sheet, tables
    from train.segmentation.by_flag import write_by_flag
    from train.segmentation.results import read_results
    from train.segmentation.summary import summarise
    from train.studies.grid.results import read_pictures

    pictures = read_pictures(args.out)
    if pictures is None:
        raise UserError(f"{args.out}: no study was trained there; check --out, or leave --table-only away.")
    found = read_results(args.out, study.jobs())
    summaries = summarise(study, pictures, found, args.repeats)
    path = tables.write(args.out, study, pictures, found, summaries, args.repeats, classifier)
    print(f"\n{path.read_text(encoding='utf-8')}\nWritten: {path}")
    flags = read_flags(args.groups, pictures.pictures) if args.groups else None
    if flags is not None:
        print(f"Written: {write_by_flag(args.out, study, pictures, found, flags, args.repeats)}")
    if args.operating_point:
        row = study.row(args.operating_point)
        page = operating.write_operating_point(args.out, study, row, pictures, found, args.repeats)
        print(f"Written: {page}")
    if args.data is not None:
        data = read_dataset(args.data)
        for row in study.rows:
            png = sheet.draw(args.out, study, row, data, found) if data.fingerprint == pictures.fingerprint else None
            if png is not None:
                files.write_bytes(args.out / f"outlines-{row.slug}.png", png)
    wanted = study.with_teachers(_rows(args, study))
    return sum(job.key not in found for job in study.jobs(wanted))


def _outlines(args: argparse.Namespace) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from train.external.adapters import read_external
    from train.segmentation import external, external_page

    if args.out:
        external_page.check_target(args.out)
    sets = external.whole_sets(read_external(args.external))
    models = [external.open_outliner(path) for path in args.model]
    data, copies = training_of(args, models, sets)
    rows = external.judge_outlines(models, sets, copies, args.repeats)
    print(external_page.markdown(rows, models, sets, copies, data))
    if args.out:
        external_page.write(args.out, rows, models, sets, copies, data)
        print(f"Written: {args.out}/{external_page.PAGE}, scores of every picture and contact sheets.")
    return 0
