"""What an inference and a frame cost on Arm, in instructions of the real aarch64 packages under emulation.

    python tests/arm/instructions.py RACE FRAMES --out FOLDER

RACE and FRAMES are the --out folders of `python -m convert.race` and of `python -m convert.race.frames`, whose files
are used as they are. Writes instructions.json and instructions.md. Linux on x86-64 with apt and gcc; what is needed is
fetched once into .cache/arm and .cache/count. The answers must be those of PyTorch on x86-64, as in the race.
"""

import argparse
import json
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import counting
import machine
import numpy as np

from convert.race import models, subject
from convert.race.agreement import refusal
from convert.race.engines import ENGINES, Engine
from device import RESEARCH_NOTICE, files
from device.errors import UserError
from device.preprocess import Preprocess
from device.runtime import Model

KEYS = (
    *("litert-float32", "litert-int8-full", "litert-plain-float32", "litert-plain-int8-full"),
    *("ort-float32", "ort-int8", "ncnn-float32", "ncnn-float16", "ncnn-int8"),
)
STEP = 8  # inferences between two counts: each of four pictures twice
FRAMES = 6  # between two counts of a frame's way: quality is looked at in every sixth


def main(arguments: list[str]) -> int:
    """Count, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("race", type=Path, help="--out of python -m convert.race")
    parser.add_argument("frames", type=Path, help="--out of python -m convert.race.frames")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", metavar="ROW", help="count only this one anew; repeatable")
    parser.add_argument("--also", action="append", type=_named, default=[], metavar="NAME=FILE", help="a TFLite file")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time (2)")
    args = parser.parse_args(arguments)
    if args.jobs < 1:
        parser.error("--jobs must be 1 or more")
    counter = counting.prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    engines = {engine.key: engine for engine in ENGINES if engine.key in KEYS}
    also = dict(args.also)
    wanted = (*(args.only or (*KEYS, *WAYS)), *also)
    chosen = [(cpu, key) for key in (*engines, *WAYS, *also) for cpu in machine.CPUS if key in wanted]

    def counted(of: tuple[str, str]) -> dict[str, Any]:
        cpu, key = of
        if key in WAYS:
            return _way(counter, cpu, key, args.frames, args.out)
        if key in also:
            return _file(counter, cpu, key, also[key], engines["litert-int8-full"].options, args.out)
        return _engine(counter, cpu, engines[key], args.race / "files", args.out)

    written = args.out / "instructions.json"
    earlier = json.loads(written.read_text())["rows"] if (args.only or also) and written.is_file() else []
    kept = [row for row in earlier if (row["cpu"], row["key"]) not in chosen]
    with ThreadPoolExecutor(args.jobs) as pool:  # counts do not suffer when others work beside
        rows = kept + list(pool.map(counted, chosen))
    found = {"schema_version": 1, "notice": RESEARCH_NOTICE, "rows": rows}
    found["command"] = f"python tests/arm/instructions.py {shlex.join(arguments)}"
    files.write_json(written, found)
    files.write_text(args.out / "instructions.md", table(found))
    print(table(found))
    return 0


def _engine(counter: counting.Counter, cpu: str, engine: Engine, made: Path, out: Path) -> dict[str, Any]:
    row = {"cpu": cpu, "key": engine.key, "what": engine.name, "precision": engine.precision, "per": "inference"}
    lumas, reference = np.load(made / "pictures.npy")[:4], np.load(made / "reference.npy")
    inputs = out / f"lumas-{cpu}-{engine.key}.npy"
    np.save(inputs, lumas)
    options = dict(engine.options)
    if engine.file == "int8.onnx":
        options["centre"] = json.loads((made / models.CENTRE).read_text())
    file = made / engine.file
    if not file.is_file():
        return row | {"instructions": None, "apart": None, "why": "its file was not made: see the race"}
    load = {"kind": engine.kind, "file": str(file.absolute()), "threads": 1, "options": options}
    row = _counted(counter, cpu, row, load, inputs, STEP)
    answers = np.array(row.pop("answers"))
    if row["why"] is None:
        # The few that are asked vary less than all of them: their differences are held against the spread of all.
        row["why"] = refusal(np.concatenate([answers, reference[4:]]), reference, engine.precision)
    return row


def _named(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if not name or not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE with a file that is there")
    return name, Path(file)


def _file(counter: counting.Counter, cpu: str, name: str, file: Path, how: Any, out: Path) -> dict[str, Any]:
    """A TFLite file that takes luma at a size of its own; its answers are held against those that it gives here."""
    model = Model(file)
    height, width = model.input.shape[1:3]
    lumas = subject.phantoms(STEP // 2, Preprocess(height, width))
    reference = np.stack([model.logits(luma) for luma in lumas])
    precision = "float32" if model.output.scale is None else "int8-full"
    row = {"cpu": cpu, "key": name, "what": f"LiteRT with XNNPACK, {height} x {width}", "precision": precision}
    row["per"] = "inference"
    inputs = out / f"lumas-{cpu}-{name}.npy"
    np.save(inputs, lumas)
    load = {"kind": "tflite", "file": str(file.absolute()), "threads": 1, "options": dict(how)}
    row = _counted(counter, cpu, row, load, inputs, STEP)
    answers = np.array(row.pop("answers"))
    if row["why"] is None:
        row["why"] = refusal(answers, reference, precision)
    return row


WAYS = {
    "ours": "busi-kd, int8: decoded at half size",
    "ours-screen": "busi-kd, int8: decoded whole",
    "plain": "OpenCV and the interpreter, float32: convert/race/plain.py",
}


def _way(counter: counting.Counter, cpu: str, way: str, frames: Path, out: Path) -> dict[str, Any]:
    row = {"cpu": cpu, "key": way, "what": WAYS[way], "precision": "", "per": "frame"}
    told = json.loads((frames / "ways.json").read_text())[way]
    inputs = out / f"frames-{cpu}-{way}"
    shutil.rmtree(inputs, ignore_errors=True)
    inputs.mkdir()
    for file in sorted((frames / "frames").glob("*.jpg"))[:FRAMES]:
        shutil.copyfile(file, inputs / file.name)
    row = _counted(counter, cpu, row, {**told, "threads": 1}, inputs, FRAMES)
    row.pop("answers")
    return row


def _counted(
    counter: counting.Counter, cpu: str, row: dict[str, Any], load: dict[str, Any], inputs: Path, step: int
) -> dict[str, Any]:
    print(f"{cpu}: {row['key']}", file=sys.stderr)
    try:
        mean, apart, answers = counter.per_run(cpu, load, inputs.absolute(), step)
    except UserError as error:
        return row | {"instructions": None, "apart": None, "why": str(error), "answers": []}
    return row | {"instructions": mean, "apart": apart, "why": None, "answers": answers}


def table(found: dict[str, Any]) -> str:
    """Markdown: a row an engine and way, a column a CPU, in millions of instructions."""
    cpus = list(machine.CPUS)
    lines = [RESEARCH_NOTICE, "", f"    $ {found['command']}", ""]
    lines += [f"| row | what | precision | per | {' | '.join(cpus)} |", f"|---|---|---|---|{'---|' * len(cpus)}"]
    first = [row for row in found["rows"] if row["cpu"] == cpus[0]]
    for row in first:
        of = {one["cpu"]: one for one in found["rows"] if one["key"] == row["key"]}
        shown = [_shown(of[cpu]) for cpu in cpus]
        cells = [f"`{row['key']}`", row["what"], row["precision"], row["per"], *shown]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Millions of instructions, of all threads; not times. In brackets, where above 1 %: how far two counts lie",
    ]
    lines += ["apart."]
    return "\n".join([*lines, ""])


def _shown(row: dict[str, Any]) -> str:
    if row["why"] is not None:
        return row["why"]
    return f"{row['instructions'] / 1e6:.1f}" + (f" ({100 * row['apart']:.0f} %)" if row["apart"] > 0.01 else "")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"busi-kd: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
