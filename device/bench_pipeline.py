"""Measure what everything around the interpreter costs, stage by stage, and how old a frame is when it is judged.

`busi-kd device bench --pipeline [BUNDLE...] [--size 1920x1080] [--format YUYV]`. Frames of a scanner's screen go one by
one through the stages of device.bench_stages in one process; so all stages are measured in the same minutes, and their
ratios hold on a busy machine too. Then the real daemon judges the same frames from a live source (device.bench_live).
It gives times and no verdict.

The JSON report (`--json`), null where unknown:
    schema_version 1; kind "pipeline"; notice; created (UTC); warnings; machine, software: as device.bench says;
    settings: threads, seconds, runs, warmup, rounds: as device.bench says, runs being frames; inputs; size (height,
    width); format; frame_kb (1000 bytes, median);
    rows, each:
        folder, threads, error (null, or why there are no figures: then all below is null);
        name, bundle_id, variant, synthetic, cautions, interpreter; frames (number timed);
        stages: per name of device.bench_stages.stages_of (`outline` of a model that gives one alone):
            every (it is due at each so-many-th frame), count (times measured);
            wall_ms, cpu_ms: mean, p50, p95 of the stage, once; CPU time is that of all threads;
            per_frame_wall_ms, per_frame_cpu_ms: mean / every;
            wall_percent, cpu_percent: of the interpreter's (stage `infer`), per frame;
        overhead: wall_ms, cpu_ms: the sum per frame of all stages but `infer`; wall_percent, cpu_percent: of `infer`;
        other_cpu_percent: of other programs meanwhile, 100 = one core;
        live: fps; seconds; frames (captured, judged, skipped, bad, undecodable); total_ms: from captured to decided,
        p50, p95, p99, highest; total_frame_times: the same in frames of 1/30 s; stages_p50_ms: as the daemon's log has
        them (`grab` is decoding and hand-over; there is no crop); process_cpu_percent: of both processes.
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from device.bench_live import live
from device.bench_report import head
from device.bench_stages import EVERY, Stages, Way, stages_of
from device.bench_stream import write_stream
from device.bundle import Bundle, load_bundle
from device.capture.pace import DEFAULT_FPS
from device.capture.pixels import Layout
from device.errors import UserError
from device.region.region import Region
from device.runtime import Model, open_bundle
from device.telemetry import Telemetry

PICTURES = 2
ROW_FIELDS = ("name", "bundle_id", "variant", "synthetic", "cautions", "interpreter", "frames", "stages", "overhead")
ROW_FIELDS += ("other_cpu_percent", "live")
_TAIL = ("mean", "p50", "p95")


def frame_size(text: str) -> tuple[int, int]:
    """`1280x720` -> (720, 1280). Raises argparse.ArgumentTypeError unless both are even, of 64 to 4096 pixels."""
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text, re.ASCII)
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    if not all(64 <= side <= 4096 and side % 2 == 0 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT, even, of 64 to 4096 pixels")
    return height, width


def measure(
    folders: list[Path], pictures: list[np.ndarray], inputs: str, args: argparse.Namespace, warnings: list[str]
) -> dict[str, Any]:
    """The report. args: threads, seconds, runs, warmup, rounds, size, format, of `busi-kd device bench`.

    pictures: uint8, grey or BGR; the first PICTURES are drawn into the screen. Raises UserError for a size that is too
    small for them.
    """
    with tempfile.TemporaryDirectory(prefix="busi-kd-bench-") as shelf:
        frames = write_stream(Path(shelf), pictures[:PICTURES], args.size, args.format)
        rows = [
            _row(folder, threads, frames, Path(shelf), args)  # one after the other: each compares with itself
            for folder in folders
            for threads in args.threads
        ]
    shown = f"{len(frames)} frames, each another, of {min(len(pictures), PICTURES)} out of {inputs}"
    frame_kb = median(len(data) for data, _ in frames) / 1e3
    more = {"size": list(args.size), "format": args.format, "frame_kb": frame_kb}
    return {**head(args, shown, warnings, **more), "kind": "pipeline", "rows": rows}


def _row(
    folder: Path, threads: int, frames: list[tuple[bytes, Region]], shelf: Path, args: argparse.Namespace
) -> dict[str, Any]:
    row = {"folder": str(folder), "threads": threads, "error": None, **dict.fromkeys(ROW_FIELDS)}
    try:
        bundle = load_bundle(folder)
        model = open_bundle(bundle, threads)
    except UserError as error:
        return {**row, "error": str(error)}
    cv2.setNumThreads(threads)  # as the daemon does
    meta = bundle.meta
    row |= {"name": meta.name, "bundle_id": bundle.id, "variant": meta.variant, "synthetic": meta.synthetic}
    row |= {"cautions": list(meta.cautions), "interpreter": model.backend}
    row |= _timed(bundle, model, frames, shelf, args)
    seconds = args.seconds * args.rounds if args.runs is None else max(1.0, args.runs * args.rounds / DEFAULT_FPS)
    return row | {"live": live(bundle, model, shelf, args.size, args.format, seconds)}


def _timed(
    bundle: Bundle, model: Model, frames: list[tuple[bytes, Region]], shelf: Path, args: argparse.Namespace
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=shelf) as written:
        stages = Stages(bundle, model, Layout(args.format, *args.size), Path(written))
        try:
            for number in range(args.warmup):
                stages.run(Way(number, *frames[number % len(frames)]), {stage: [] for stage in stages_of(bundle.meta)})
            spent: dict[str, list[tuple[float, float]]] = {stage: [] for stage in stages_of(bundle.meta)}
            whole = Telemetry(firmware_every_s=0.0)  # its percentages span all that is timed
            number, ends = 0, time.perf_counter() + args.seconds * args.rounds
            while number == 0 or (
                number < args.runs * args.rounds if args.runs is not None else time.perf_counter() < ends
            ):
                stages.run(Way(number, *frames[number % len(frames)]), spent)
                number += 1
            other = others(whole)
        finally:
            stages.close()
    return {"frames": number, **table_of(spent), "other_cpu_percent": other}


def others(whole: Telemetry) -> float | None:
    """CPU that other programs have taken since `whole` was made, 100 = one core; None where it cannot be read."""
    health = whole.sample()
    if health.cpu_percent is None or health.process_cpu_percent is None:
        return None
    return max(0.0, health.cpu_percent * (os.cpu_count() or 1) - health.process_cpu_percent)


def table_of(spent: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """(wall, CPU) seconds of each stage, each measured at least once -> `stages` and `overhead`, as at the top."""
    stages: dict[str, dict[str, Any]] = {}
    for stage, seconds in spent.items():
        every, ms = EVERY.get(stage, 1), 1e3 * np.array(seconds)
        found: dict[str, Any] = {"every": every, "count": len(ms)}
        for column, clock in enumerate(("wall", "cpu")):
            values = ms[:, column]
            figures = (values.mean(), *np.percentile(values, (50, 95)))
            found[f"{clock}_ms"] = dict(zip(_TAIL, map(float, figures)))
            # Their mean: one frame of six has its colour looked at as it is decoded, which a median does not see.
            found[f"per_frame_{clock}_ms"] = found[f"{clock}_ms"]["mean"] / every
        stages[stage] = found
    overhead: dict[str, float] = {}
    for clock in ("wall", "cpu"):
        key = f"per_frame_{clock}_ms"
        base = stages["infer"][key]
        for found in stages.values():
            found[f"{clock}_percent"] = 100.0 * found[key] / base
        around = sum(found[key] for stage, found in stages.items() if stage != "infer")
        overhead |= {f"{clock}_ms": around, f"{clock}_percent": 100.0 * around / base}
    return {"stages": stages, "overhead": overhead}
