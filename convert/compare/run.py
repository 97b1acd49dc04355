"""`busi-kd convert compare`: a study's kept networks become files, are asked about their test pictures, and timed.

Goes on where it was interrupted: each training's files and answers are kept in `--out`/files.
"""

import argparse
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convert.boards import sent as boards
from convert.compare import page
from convert.compare.alone import load
from convert.compare.board import FOLDER as BOARD
from convert.compare.board import joined
from convert.compare.elsewhere import Asked, Form, ask, judged, nameable, read_sets, without_copies
from convert.compare.made import Made, made, run_of
from convert.compare.table import Line, lines
from convert.compare.timing import times
from device import RESEARCH_NOTICE, files
from device.bundle import VARIANTS
from device.errors import UserError
from train.data.busi import DataSet, read_dataset
from train.evaluation.models import Candidate
from train.external.adapters import ExternalSet
from train.options import repeats
from train.runs import hardware
from train.studies.grid import results
from train.studies.grid.study import Key, Study, read_study
from train.studies.grid.table import METRICS

FILES = "files"


def main(arguments: list[str]) -> int:
    """Convert, ask, time, write the page. Returns 1 when a row has no files."""
    parser = argparse.ArgumentParser(
        prog="busi-kd convert compare",
        description=f"Which of a study's networks to ship, as which file. {RESEARCH_NOTICE}",
    )
    parser.add_argument("study", type=Path, metavar="STUDY.toml", help="the study file of train grid")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="--out of train grid --keep-runs")
    parser.add_argument("--data", type=Path, required=True, help="data folder of the trainings")
    parser.add_argument("--out", type=Path, required=True, help="the same command goes on after a kill")
    parser.add_argument("--variants", default="float32,int8-full", help=f"of {','.join(VARIANTS)}")
    parser.add_argument("--rows", metavar="A,B", help="these rows only (default all)")
    parser.add_argument("--metric", choices=METRICS, default="balanced_accuracy", help="what the choice goes by")
    parser.add_argument("--repeats", type=repeats, default=1000, help="bootstrap resamplings (default 1000)")
    parser.add_argument(
        "--external", type=Path, metavar="EXTERNAL", help="folder of the external sets, which are for testing only"
    )
    parser.add_argument(
        "--whole", type=Path, metavar="DATA", help="external, of crops: the pictures they were cut from, to find copies"
    )
    parser.add_argument(
        "--bench", type=Path, metavar="RESULT", help=f"what device bench --result wrote on a board, of --out's {BOARD}/"
    )
    args = parser.parse_args(arguments)
    variants = tuple(dict.fromkeys(name.strip() for name in args.variants.split(",")))
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        parser.error(f"unknown variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")

    study = _chosen(read_study(args.study), args.rows)
    pictures = results.read_pictures(args.results)
    if pictures is None:
        raise UserError(f"{args.results}: no study was trained there; check --results.")
    trained = results.read_results(args.results, study.jobs())
    results.check_consistent(args.results, study, pictures, trained)
    data = read_dataset(args.data)
    if args.whole and (data.view == "whole" or not args.external):
        parser.error("--whole is for --external, and for --data of lesion crops; leave it out")
    sent = boards.read(args.bench) if args.bench else None  # this and the sets first: a wrong path costs no hours
    sets = read_sets(args.external, data) if args.external else ()
    found, asked, failed = _made(study, trained, args, variants, data, sets)
    external = without_copies(sets, data, args.whole) if sets else None
    elsewhere = judged(asked, external, args.repeats) if external else {}
    paths = _one_each(found, args.out, variants)
    timed = dict(zip(paths, times(list(paths.values())), strict=True)) if paths else {}
    board = args.out / BOARD
    _to_carry(paths, board)
    on_board, unmeasured_there = joined(args.bench, sent, _digests(found, args.out), board) if sent else ({}, {})
    loads, unmeasured = _loads(paths)
    failed = failed | unmeasured_there | unmeasured
    table = lines(study, pictures, trained, found, variants, timed, loads, failed, args.repeats, elsewhere, on_board)
    about = page.About(f"busi-kd convert compare {shlex.join(arguments)}", hardware(), external, sent)
    path = page.write(args.out, study, pictures, table, args.metric, about)
    print(f"{path.read_text(encoding='utf-8')}\nWritten: {path}")
    return 1 if any(_lacks(line) for line in table) else 0


def _chosen(study: Study, rows: str | None) -> Study:
    if rows is None:
        return study
    return replace(study, rows=tuple(study.row(name.strip()) for name in rows.split(",")))


def _made(
    study: Study, trained: dict, args: argparse.Namespace, variants: tuple, data: DataSet, sets: Sequence[ExternalSet]
) -> tuple[dict[Key, Made], dict[Key, tuple[Candidate, Asked]], dict[Form, str]]:
    """The files of each training, its answers to the external sets where there are any, and why others have none."""
    found, asked, failed = {}, {}, {}
    for job in study.jobs():
        slug, seed, fold = job.key
        if job.key not in trained:
            continue
        try:
            run = run_of(args.results, job)
            folder = args.out / FILES / slug / f"{seed}-{fold}"
            found[job.key] = made(run, data, folder, variants)
            if sets:
                asked[job.key] = (nameable(run), ask(run, found[job.key], sets, folder))
        except UserError as error:
            failed[slug, None] = str(error)
            print(f"{job}: FAILED: {error}", flush=True)
            continue
        sizes = ", ".join(f"{name} {size:.2f} kB" for name, size in found[job.key].kilobytes.items())
        print(f"{job}: {sizes}", flush=True)
    return found, asked, failed


def _one_each(found: dict[Key, Made], out: Path, variants: tuple) -> dict[tuple[str, str], Path]:
    """Of each row the files of its first training: which one it is changes no time."""
    paths: dict[tuple[str, str], Path] = {}
    for (slug, seed, fold), one in found.items():
        for variant in variants:
            if one.test.get(variant):
                paths.setdefault((slug, variant), out / FILES / slug / f"{seed}-{fold}" / f"{variant}.tflite")
    return paths


def _to_carry(paths: dict[tuple[str, str], Path], folder: Path) -> None:
    """Those files under names that tell them apart: what one copies to a board to measure it there."""
    if paths:
        with files.folder_beside(folder) as aside:
            for (slug, variant), path in paths.items():
                shutil.copyfile(path, aside / f"{slug}-{variant}.tflite")
            files.replace_folder(aside, folder)


def _digests(found: dict[Key, Made], out: Path) -> dict[tuple[str, str], set[str]]:
    """SHA-256 of the files of all trainings of a row."""
    digests: dict[tuple[str, str], set[str]] = {}
    for (slug, seed, fold), one in found.items():
        for variant in one.kilobytes:
            path = out / FILES / slug / f"{seed}-{fold}" / f"{variant}.tflite"
            if path.is_file():
                digests.setdefault((slug, variant), set()).add(files.sha256_file(path))
    return digests


def _loads(paths: dict[tuple[str, str], Path]) -> tuple[dict, dict[tuple[str, str], str]]:
    """What each file takes alone, and why others could not be measured."""
    found, failed = {}, {}
    for key, path in paths.items():
        try:
            found[key] = load(path)
        except UserError as error:
            failed[key] = str(error)
    return found, failed


def _lacks(line: Line) -> bool:
    return line.trainings < line.planned or line.why is not None
