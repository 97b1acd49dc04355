"""One network in every engine that could run it: who is how fast, in one run of interleaved rounds.

    python -m convert.race [STUDENT] --out FOLDER

STUDENT is the run folder of a trained student; without it the network is `--network` of timm as it is published, with
random first weights. Before an engine's time counts, its answers to phantoms must be those of PyTorch in float32.
Writes race.json, race.md and race.png. Engines that are not among busi-kd's own packages get an environment each, of
the exact versions in convert/race/requirements, made once in `--cache`. An engine that cannot be installed, whose file
cannot be made, that dies or answers otherwise stays in the table with its reason.
"""

import argparse
import hashlib
import json
import os
import shlex
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see train/cli.py

import numpy as np

from convert.peer.environment import prepared
from convert.race import limit, models, report, subject
from convert.race.agreement import refusal
from convert.race.engines import BASE, ENGINES, HOST, Engine
from convert.race.rounds import Entry, race
from convert.script import ended
from device import files
from device.errors import UserError, nearest
from train.fit import predict

REQUIREMENTS = Path(__file__).with_name("requirements")
CACHE = Path(".cache/race")


def main(arguments: list[str]) -> int:
    """Make the files, race, write the report and print its table."""
    args = _parsed(arguments)
    chosen = _chosen(args.only)
    raced = subject.trained(args.student) if args.student else subject.from_first_weights(args.network)
    out = args.out
    pythons = environments({engine.environment for engine, _ in chosen}, args.cache)
    folder = subject.folder_for(out / "files", raced, args.bundle)
    ncnn = pythons.get("ncnn")
    # Not bin/pnnx, a script that names the interpreter of the folder in which the environment was made.
    pnnx = next(ncnn.parents[1].glob("lib/python*/site-packages/pnnx/pnnx"), None) if isinstance(ncnn, Path) else None
    made = models.make(folder, {engine.file for engine, _ in chosen if not engine.is_peak} | {limit.ONNX}, pnnx)
    lumas = folder / "pictures.npy"
    reference = predict(raced.network, np.load(lumas))
    np.save(folder / "reference.npy", reference)
    entries = [_entry(engine, threads, pythons, made, folder, reference) for engine, threads in chosen]
    rows, load = race(entries, lumas, args.rounds, args.runs)
    found = report.figures(rows, BASE)
    for row, (engine, _) in zip(found, chosen, strict=True):
        row |= {"engine": engine.name, "precision": engine.precision}
    settings = {"rounds": args.rounds, "runs": args.runs, "network": raced.name, "pictures": len(reference)}
    command = f"python -m convert.race {shlex.join(arguments)}"
    whole = report.content("engines", command, settings, load, found)
    if (onnx := made[limit.ONNX].path) is not None:
        whole |= limit.limits(limit.work(onnx), found)
    files.write_json(out / "race.json", whole)
    text = report.table(whole) + limit.table(whole)
    files.write_text(out / "race.md", text)
    report.plot(out / "race.png", whole)
    print(text)
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m convert.race", description=__doc__.partition("\n")[0])
    parser.add_argument("student", type=Path, nargs="?", help="run folder of a trained student")
    parser.add_argument("--network", default="mobilenetv3_small_100", help="of timm, raced without a run folder")
    parser.add_argument("--bundle", type=Path, help="its int8-full bundle (default: made with phantoms)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the engines' files")
    parser.add_argument("--only", action="append", metavar="ROW", help="such as litert-int8-full/1; repeatable")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--runs", type=int, default=20, help="inferences per row and round (20)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"for the engines' environments ({CACHE})")
    args = parser.parse_args(arguments)
    if min(args.rounds, args.runs) < 1:
        parser.error("--rounds and --runs must be 1 or more")
    return args


def _chosen(only: list[str] | None) -> list[tuple[Engine, int]]:
    """(engine, threads) of the rows wanted, the one they are compared with always among them."""
    every = {f"{engine.key}/{threads}": (engine, threads) for engine in ENGINES for threads in engine.threads}
    for key in only or ():
        if key not in every:
            raise UserError(f"--only {key}: no such row{nearest(key, list(every))}; race.md names them.")
    return [row for key, row in every.items() if only is None or key in {BASE, *only} or row[0].is_peak]


def environments(wanted: set[str], cache: Path) -> dict[str, Path | str]:
    """Each environment's Python, or why it could not be made."""
    found: dict[str, Path | str] = {HOST: Path(sys.executable)}
    for name in sorted(wanted - {HOST}):
        requirements = REQUIREMENTS / f"{name}.txt"
        digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
        try:
            found[name] = prepared(cache.absolute() / f"{name}-{digest}", requirements, name)
        except UserError as error:
            found[name] = str(error)
    return found


def _entry(
    engine: Engine,
    threads: int,
    pythons: dict[str, Path | str],
    made: dict[str, models.Made],
    folder: Path,
    reference: np.ndarray,
) -> Entry:
    python, file = pythons[engine.environment], models.Made(Path()) if engine.is_peak else made[engine.file]
    why = python if isinstance(python, str) else file.why
    options = dict(engine.options)
    if engine.file == "int8.onnx" and file.path is not None:
        options["centre"] = json.loads((folder / models.CENTRE).read_text())
    load = {"kind": engine.kind, "file": str(file.path and file.path.absolute()), "options": options}
    judge = (lambda answers: None) if engine.is_peak else partial(_judge, reference, engine.precision)
    return Entry(f"{engine.key}/{threads}", threads, None if why else python, load, judge, why)


def _judge(reference: np.ndarray, precision: str, answers: list[list[float]]) -> str | None:
    return refusal(np.array(answers), reference, precision)


if __name__ == "__main__":
    ended(main)
