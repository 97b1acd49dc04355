"""Measure bundles on this machine: load time, latency, memory, heat, and whether the figures can be trusted.

`busi-kd device bench [BUNDLE...]` or `python device/bench.py [BUNDLE...]`. Every row (one bundle, one thread count)
is measured in a fresh process, in rounds that go through all rows in turn, so that drift hits all rows alike. It gives
times and no verdict, and is for a model's maker as well: it asks for no signature (device/trust.py).

A plain .tflite file is measured as well, such as one of `busi-kd convert compare`: frames are stretched to its size,
and its path ends with the logits, because only a bundle says how they are decided on.

With `--pipeline` it is the stages around the interpreter that are measured: device.bench_pipeline.

The JSON report (`--json`; `--result`: without where things lie, for docs/results), null where unknown:
    schema_version 1; notice; created (UTC); warnings (sentences);
    machine: model, architecture, cores (usable), governor, memory_mb (MiB), kernel, os, python, cooling (as given);
    software: busi-kd, numpy, opencv;
    settings: threads (list), seconds, runs (null: seconds count), warmup, rounds, inputs (what the frames are);
    rows, each:
        folder (or plain file), threads, model_sha256 (of the TFLite file: whoever has the file finds its figures by it;
        null where it cannot be read), error (null, or why there are no figures: then all below is null);
        name, bundle_id, variant, synthetic, cautions, metrics: from the bundle, so that the artefact that gave the
        accuracy is the one that was timed (of a plain file: its name, and nothing else is known); file_kb (1000 bytes);
        interpreter (name and version);
        load_ms (open and allocate, the interpreter's library being loaded), first_ms (first inference);
        prepare_ms, interpreter_ms, path_ms (picture to verdict: prepare, logits, decide), each with
        min, mean, p50, p90, p95, p99, max in ms; fps (1000 / mean path);
        p50_spread_percent (of path_ms, from the best to the worst round; null for one round);
        process_cpu_percent, other_cpu_percent (of other programs meanwhile), 100 = one core;
        peak_memory_mb (MiB, VmHWM);
        temperature_c: before, after, max; clock_mhz: before, after, min;
        throttled: before, during, after, each a list of flags (`during` null in a row below a second);
        valid (false: held back by heat or a weak supply; null: no sensor, so unknown), reason (unless true);
        rounds: the same fields of each round, and runs, the number of timed runs.

Habits from MLPerf Tiny (C. Banbury et al., "MLPerf Tiny Benchmark", NeurIPS Datasets and Benchmarks 2021):
one artefact for accuracy and latency, single stream, batch 1.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: Python would search device/, where our `files` could hide another's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from device import bench_pipeline, bench_pipeline_report, files
from device.bench_report import combine, failed, head, table, without_paths
from device.bench_stream import FORMATS
from device.bundle import META_FILE, MODEL_FILE
from device.capture.folder import list_pictures
from device.child import answer_of
from device.errors import UserError
from device.phantom import CLASSES, make_phantom
from device.preprocess import read_picture
from device.shipped import default_bundle
from device.telemetry import SINCE_BOOT, Telemetry

PLAIN = ".tflite"  # a model without a bundle around it
MAX_FRAMES = 8  # they lie in the measured process's memory
PHANTOM_SIZE = (480, 640)  # height, width: what a cheap grabber gives
MEASURING_TIMEOUT_S = 120.0  # for all but the steady state: starting Python on a Pi Zero takes ten seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `busi-kd device bench`."""
    parser.add_argument(
        "bundles",
        nargs="*",
        type=Path,
        metavar="BUNDLE",
        help="bundle folder, .tflite file, or a folder of such (default: the bundle that ships with busi-kd)",
    )
    parser.add_argument(
        "--threads", type=_thread_counts, default=(1,), metavar="N,...", help="thread counts, a row each (1)"
    )
    parser.add_argument("--seconds", type=_positive, default=5.0, help="steady state per row and round (5)")
    parser.add_argument("--runs", type=_count, help="timed runs per row and round, instead of --seconds")
    parser.add_argument("--warmup", type=_count_or_zero, default=10, help="runs before timing (10)")
    parser.add_argument("--rounds", type=_count, default=3, help="times through all rows; gives medians (3)")
    parser.add_argument(
        "--pipeline", action="store_true", help="what all around the interpreter costs, stage by stage, and the delay"
    )
    parser.add_argument(
        "--size",
        type=bench_pipeline.frame_size,
        default=(720, 1280),
        metavar="WxH",
        help="pipeline: of a frame (1280x720)",
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="pipeline: what a grabber gives (MJPG)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="frames, instead of phantoms")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the full report here")
    parser.add_argument("--result", type=Path, metavar="FILE", help="write it without paths, to be sent in")
    parser.add_argument("--cooling", metavar="TEXT", help='for the report, such as "heat sink and fan"')


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report. Returns 0, or 1 when a row failed; a row not valid is no failure.

    Raises UserError: a folder is missing or holds no bundle, none is given and none ships, a plain file with
    --pipeline, pictures do not read, the JSON cannot be written.
    """
    folders = find_bundles(args.bundles or [default_bundle()])
    plain = next((path for path in folders if not path.is_dir()), None)
    if args.pipeline and plain:
        raise UserError(f"{plain}: only a bundle says how its frames are judged; give one, or leave out --pipeline.")
    frames, inputs = load_frames(args.pictures)
    warnings = _warnings()
    if args.pipeline:
        report = bench_pipeline.measure(folders, frames, inputs, args, warnings)
        print(bench_pipeline_report.table(report))
    else:
        report = _measure(folders, frames, inputs, args, warnings)
        print(table(report))
    for path, content in ((args.json, report), (args.result, without_paths(report))):
        if path is not None:
            try:
                files.write_json(path, content)
            except OSError as error:
                raise UserError(f"{path}: the report cannot be written ({error.strerror}).") from error
    return 1 if any(row["error"] is not None for row in report["rows"]) else 0


def _measure(
    folders: list[Path], frames: list[np.ndarray], inputs: str, args: argparse.Namespace, warnings: list[str]
) -> dict[str, Any]:
    """All rows in turn, as often as there are rounds."""
    rows = [
        {"folder": str(folder), "threads": threads, "model_sha256": model_sha256(folder)}
        for folder in folders
        for threads in args.threads
    ]
    rounds: list[list[dict[str, Any]]] = [[] for _ in rows]
    errors: list[str | None] = [None] * len(rows)
    steady = {"seconds": args.seconds, "runs": args.runs, "warmup": args.warmup}
    with tempfile.TemporaryDirectory(prefix="busi-kd-bench-") as shelf:
        for index, frame in enumerate(frames):
            np.save(Path(shelf) / f"{index:03}.npy", frame)
        for turn in range(args.rounds):
            for at, row in enumerate(rows):
                if errors[at] is not None:
                    continue
                where = f"{row['folder']}, {row['threads']} thread(s)"
                print(f"round {turn + 1}/{args.rounds}: {where}", file=sys.stderr)
                answer = run_row({"folder": row["folder"], "threads": row["threads"], "frames": shelf, **steady})
                errors[at] = answer.get("error")
                rounds[at].append(answer)
    found = [
        {**row, "error": error, **(failed() if error is not None else combine(answers))}
        for row, error, answers in zip(rows, errors, rounds)
    ]
    return {**head(args, inputs, warnings), "rows": found}


def find_bundles(paths: list[Path]) -> list[Path]:
    """Bundle folders and .tflite files among `paths`; those in a folder that is no bundle itself, by name; each once.

    Raises UserError for a path that is neither, or holds neither.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_file():
            if path.suffix != PLAIN:
                raise UserError(f"{path}: is no {PLAIN} file; give one, a model bundle, or a folder of them.")
        elif not path.is_dir():
            raise UserError(f"{path}: no such folder; give a model bundle or a folder of them.")
        elif not (path / META_FILE).is_file():
            inside = sorted(file.parent for file in path.glob(f"*/{META_FILE}"))
            inside += sorted(file for file in path.glob(f"*{PLAIN}") if file.is_file())
        if not inside:
            raise UserError(f"{path}: no {META_FILE} in it or in its sub-folders, and no {PLAIN}; give a model bundle.")
        found += inside
    return list(dict.fromkeys(found))


def model_sha256(path: Path) -> str | None:
    """SHA-256 of a bundle's model, or of a plain file: 64 hexadecimal digits; None where it cannot be read."""
    try:
        return files.sha256_file(path / MODEL_FILE if path.is_dir() else path)
    except OSError:
        return None


def load_frames(pictures: Path | None) -> tuple[list[np.ndarray], str]:
    """Up to MAX_FRAMES frames (uint8, grey or BGR) and a phrase that says what they are.

    From a folder they are taken evenly over the pictures that the daemon would replay from it, in their order.
    Raises UserError when there are none or one does not decode.
    """
    if pictures is None:
        size = " x ".join(map(str, PHANTOM_SIZE))
        phantoms = [make_phantom(CLASSES[i % len(CLASSES)], i, PHANTOM_SIZE).image for i in range(MAX_FRAMES)]
        return phantoms, f"{MAX_FRAMES} synthetic phantoms {size}"
    found = list_pictures(pictures)
    count = min(len(found), MAX_FRAMES)
    chosen = [found[i * len(found) // count] for i in range(count)]
    return [read_picture(pictures / name) for name in chosen], f"{count} of {len(found)} pictures in {pictures}"


def run_row(request: dict[str, Any]) -> dict[str, Any]:
    """One round of one row in a process of its own: what device.bench_row found, or {"error": sentence}."""
    timeout = None if request["runs"] is not None else MEASURING_TIMEOUT_S + 10.0 * request["seconds"]
    try:
        return answer_of("device.bench_row", [json.dumps(request)], timeout)
    except UserError as error:
        return {"error": str(error)}


def _warnings() -> list[str]:
    """What the reader must know of this machine before believing the figures."""
    flags = Telemetry(firmware_every_s=0.0).sample().throttled
    if flags is None:
        return ["No throttle sensor: whether heat or a weak supply slowed the processor is unknown ('?')."]
    old = [flag.removesuffix(SINCE_BOOT) for flag in flags if flag.endswith(SINCE_BOOT)]
    if old:
        return [f"Since boot: {', '.join(old)}. A short relapse would go unseen: mend the cause and reboot."]
    return []


def _count_or_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _count(text: str) -> int:
    if _count_or_zero(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 or more")
    return int(text)


def _thread_counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_count(part.strip()) for part in text.split(",")))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.0 < value <= 86400.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be above 0 and at most 86400 seconds")
    return value


if __name__ == "__main__":
    from device.main import main as busi_kd  # the same parser and the same way to report errors

    sys.exit(busi_kd(["device", "bench", *sys.argv[1:]]))
