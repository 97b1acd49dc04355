"""`busi-kd convert compare`: a study's kept networks become files, are asked about their test pictures, and timed.

Goes on where it was interrupted: each training's files and answers are kept in `--out`/files.
"""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from convert.compare import page
from convert.compare.alone import load
from convert.compare.made import Made, made, run_of
from convert.compare.table import Line, lines
from convert.compare.timing import times
from device import RESEARCH_NOTICE
from device.bundle import VARIANTS
from device.errors import UserError
from train.data.busi import read_dataset
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
    found, failed = _made(study, trained, args, variants)
    paths = _one_each(found, args.out, variants)
    timed = dict(zip(paths, times(list(paths.values())), strict=True)) if paths else {}
    loads, unmeasured = _loads(paths)
    table = lines(study, pictures, trained, found, variants, timed, loads, failed | unmeasured, args.repeats)
    command = f"busi-kd convert compare {shlex.join(arguments)}"
    path = page.write(args.out, study, pictures, table, args.metric, hardware(), command)
    print(f"{path.read_text(encoding='utf-8')}\nWritten: {path}")
    return 1 if any(_lacks(line) for line in table) else 0


def _chosen(study: Study, rows: str | None) -> Study:
    if rows is None:
        return study
    return replace(study, rows=tuple(study.row(name.strip()) for name in rows.split(",")))


def _made(study: Study, trained: dict, args: argparse.Namespace, variants: tuple) -> tuple[dict[Key, Made], dict]:
    data, found, failed = read_dataset(args.data), {}, {}
    for job in study.jobs():
        slug, seed, fold = job.key
        if job.key not in trained:
            continue
        try:
            run = run_of(args.results, job)
            found[job.key] = made(run, data, args.out / FILES / slug / f"{seed}-{fold}", variants)
        except UserError as error:
            failed[slug, None] = str(error)
            print(f"{job}: FAILED: {error}", flush=True)
            continue
        sizes = ", ".join(f"{name} {size:.2f} kB" for name, size in found[job.key].kilobytes.items())
        print(f"{job}: {sizes}", flush=True)
    return found, failed


def _one_each(found: dict[Key, Made], out: Path, variants: tuple) -> dict[tuple[str, str], Path]:
    """Of each row the files of its first training: which one it is changes no time."""
    paths: dict[tuple[str, str], Path] = {}
    for (slug, seed, fold), one in found.items():
        for variant in variants:
            if one.test.get(variant):
                paths.setdefault((slug, variant), out / FILES / slug / f"{seed}-{fold}" / f"{variant}.tflite")
    return paths


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
