"""One row of the benchmark, in a process of its own: so that memory, load time and first inference are true.

A shortened copy of the daemon's loop: the same `prepare`, `logits` and `decide`, on frames that lie ready as
arrays. `python -m device.bench_row REQUEST` is called by device.bench alone; request and answer are JSON.
"""

import json
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device import schema
from device.bundle import Bundle, load_bundle
from device.decide import decide
from device.errors import UserError
from device.preprocess import Preprocess, prepare
from device.runtime import Model, find_backend, open_bundle
from device.telemetry import SINCE_BOOT, Health, Telemetry, peak_memory_mb

SAMPLE_EVERY_S = 1.0  # the health during a row; between two timed runs, never inside one
PERCENTILES = (50, 90, 95, 99)


def measure(
    folder: Path, frames: list[np.ndarray], threads: int, seconds: float, runs: int | None, warmup: int
) -> dict[str, Any]:
    """Time a bundle, or a plain .tflite file, on `frames` (uint8, grey or BGR) in turn; returns what device.bench
    describes.

    The steady state lasts `runs` runs, or `seconds` where runs is None, after `warmup` untimed runs.
    Raises UserError when it does not load.
    """
    cv2.setNumThreads(threads)  # as the daemon does
    find_backend()  # importing the interpreter is no part of loading a model
    bundle = load_bundle(folder) if folder.is_dir() else None
    start = time.perf_counter()
    model = Model(folder, threads) if bundle is None else open_bundle(bundle, threads)
    load_ms = 1e3 * (time.perf_counter() - start)
    preprocess = Preprocess(*model.input.shape[1:3]) if bundle is None else bundle.meta.preprocess
    luma = prepare(frames[0], preprocess)
    start = time.perf_counter()
    model.logits(luma)
    first_ms = 1e3 * (time.perf_counter() - start)

    def judge(frame: np.ndarray) -> tuple[float, float, float]:
        """Seconds spent to prepare, infer and decide."""
        started = time.perf_counter()
        ready = prepare(frame, preprocess)
        prepared = time.perf_counter()
        logits = model.logits(ready)
        inferred = time.perf_counter()
        if bundle is not None:
            decide(logits, bundle.meta)
        return prepared - started, inferred - prepared, time.perf_counter() - inferred

    for index in range(warmup):
        judge(frames[index % len(frames)])

    telemetry = Telemetry(firmware_every_s=0.0)
    health = [telemetry.sample()]
    whole = Telemetry(firmware_every_s=0.0)  # its percentages span the whole steady state
    spent = array("d")  # 24 bytes a run: the book-keeping must not show in the peak memory
    done = 0
    cpu_start, wall_start = time.process_time(), time.perf_counter()
    sampled = now = wall_start
    while done == 0 or (done < runs if runs is not None else now - wall_start < seconds):
        frame = frames[done % len(frames)]
        if now - sampled >= SAMPLE_EVERY_S:
            health.append(telemetry.sample())
            judge(frame)  # untimed: sampling has emptied the caches that the real loop finds warm
            sampled = time.perf_counter()
        spent.extend(judge(frame))
        done += 1
        now = time.perf_counter()
    cpu_s, wall_s = time.process_time() - cpu_start, now - wall_start
    health.append(whole.sample())
    peak = peak_memory_mb()

    spent_ms = 1e3 * np.array(spent).reshape(done, 3)
    path_ms = spent_ms.sum(axis=1)
    valid, reason = validity([sample.throttled for sample in health])
    return {
        **_about(folder, bundle),
        "interpreter": model.backend,
        "file_kb": model.path.stat().st_size / 1e3,
        "runs": done,
        "load_ms": load_ms,
        "first_ms": first_ms,
        "prepare_ms": summary(spent_ms[:, 0]),
        "interpreter_ms": summary(spent_ms[:, 1]),
        "path_ms": summary(path_ms),
        "fps": 1e3 / float(path_ms.mean()),
        "peak_memory_mb": peak,
        "process_cpu_percent": 100.0 * cpu_s / wall_s,
        "other_cpu_percent": _others(health[-1].cpu_percent, 100.0 * cpu_s / wall_s),
        **_span(health),
        "valid": valid,
        "reason": reason,
    }


def _about(path: Path, bundle: Bundle | None) -> dict[str, Any]:
    """What the bundle says of itself; of a plain file only its name is known."""
    if bundle is None:
        return {"name": path.name} | dict.fromkeys(("bundle_id", "variant", "synthetic", "cautions", "metrics"))
    return {
        "name": bundle.meta.name,
        "bundle_id": bundle.id,
        "variant": bundle.meta.variant,
        "synthetic": bundle.meta.synthetic,
        "cautions": list(bundle.meta.cautions),
        "metrics": schema.dump(bundle.meta.metrics),
    }


def summary(values: np.ndarray) -> dict[str, float]:
    """(n,) milliseconds, n >= 1 -> min, mean, p50, p90, p95, p99 (linear between runs), max."""
    ranks = {f"p{rank}": float(value) for rank, value in zip(PERCENTILES, np.percentile(values, PERCENTILES))}
    return {"min": float(values.min()), "mean": float(values.mean()), **ranks, "max": float(values.max())}


def validity(flags: list[tuple[str, ...] | None]) -> tuple[bool | None, str | None]:
    """Throttle flags before, during and after a row -> (valid, reason).

    False when a flag was set in any sample, or when a since-boot flag appeared after the first one: then it
    was set in between. None (unknown) when a sample has no sensor behind it. Else True.
    """
    known = [sample for sample in flags if sample is not None]
    now = [flag for sample in known for flag in sample if not flag.endswith(SINCE_BOOT)]
    new = [flag for sample in known for flag in sample if flag.endswith(SINCE_BOOT) and flag not in known[0]]
    if now or new:
        held_back = dict.fromkeys([*now, *(flag.removesuffix(SINCE_BOOT) for flag in new)])  # in order, once
        return False, f"the processor was held back: {', '.join(held_back)}"
    if len(known) < len(flags):
        return None, "no throttle sensor answered, so it is unknown whether the processor was held back"
    return True, None


def _others(machine_percent: float | None, process_percent: float) -> float | None:
    """CPU that other programs took meanwhile, 100 = one core."""
    cores = os.cpu_count()  # of the machine, as in /proc/stat, whatever this process may use of them
    if machine_percent is None or cores is None:
        return None
    return max(0.0, machine_percent * cores - process_percent)


def _span(health: list[Health]) -> dict[str, Any]:
    """Temperature in Celsius, clock in MHz and throttle flags before, during and after the steady state."""
    temperatures = [sample.temperature_c for sample in health]
    clocks = [sample.clock_mhz for sample in health]
    before, *during, after = [sample.throttled for sample in health]
    seen = None if None in during or not during else sorted({flag for flags in during for flag in flags})
    return {
        "temperature_c": {
            "before": temperatures[0],
            "after": temperatures[-1],
            "max": max((value for value in temperatures if value is not None), default=None),
        },
        "clock_mhz": {
            "before": clocks[0],
            "after": clocks[-1],
            "min": min((value for value in clocks if value is not None), default=None),
        },
        "throttled": {"before": before, "during": seen, "after": after},
    }


def main() -> int:
    """Answer the request in argv: one line of JSON, the round's figures or {"error": sentence}."""
    request = json.loads(sys.argv[1])
    frames = [np.load(file) for file in sorted(Path(request.pop("frames")).glob("*.npy"))]
    try:
        answer = measure(Path(request.pop("folder")), frames, **request)
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
