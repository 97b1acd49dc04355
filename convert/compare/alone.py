"""What one file takes of a machine while it infers without a pause: memory, processor, heat.

Each file in a process of its own, in which nothing else counts: `python -m convert.compare.alone FILE SECONDS` is
called by `load` alone and answers with one line of JSON.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import schema
from device.child import answer_of
from device.errors import UserError
from device.runtime import Model, find_backend
from device.telemetry import Telemetry, peak_memory_mb

SECONDS = 3.0
_TIMEOUT_S = 120.0  # for starting Python and opening the file on a slow board


@dataclass(frozen=True)
class Load:
    """One thread, a picture after the other. None: this machine does not tell.

    cpu_ms: CPU time of an inference with all threads, what energy goes by where no gauge tells the watts. cpu_percent:
    of this process, 100 = one core. memory_mb: MiB, the most that the process with interpreter and file ever had;
    own_mb: of these since before the file was opened. warmer_c: degrees Celsius at the end minus at the start.
    """

    fps: float
    cpu_ms: float
    cpu_percent: float
    memory_mb: float | None
    own_mb: float | None
    warmer_c: float | None


def load(path: Path, seconds: float = SECONDS) -> Load:
    """The Load of a TFLite file. Raises UserError when it cannot be opened or the process ends early or hangs."""
    try:
        answer = answer_of("convert.compare.alone", [str(path), str(seconds)], _TIMEOUT_S + 2 * seconds)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return schema.load(Load, answer, path)


def measure(path: Path, seconds: float) -> Load:
    """Infer for `seconds` in this very process; at least once, after a few runs that do not count."""
    find_backend()  # importing the interpreter is no part of the file
    before = peak_memory_mb()
    model = Model(path)
    pictures = np.random.default_rng(0).integers(0, 256, (4, *model.input.shape[1:3]), np.uint8)
    for picture in pictures:
        model.logits(picture)
    telemetry = Telemetry(firmware_every_s=0.0)
    cool, done = telemetry.sample().temperature_c, 0
    cpu, begun = time.process_time(), time.perf_counter()
    while done == 0 or time.perf_counter() - begun < seconds:
        model.logits(pictures[done % len(pictures)])
        done += 1
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
    warm, peak = telemetry.sample().temperature_c, peak_memory_mb()
    return Load(
        fps=done / wall,
        cpu_ms=1e3 * cpu / done,
        cpu_percent=100 * cpu / wall,
        memory_mb=peak,
        own_mb=None if peak is None or before is None else peak - before,
        warmer_c=None if warm is None or cool is None else warm - cool,
    )


if __name__ == "__main__":
    print(json.dumps(schema.dump(measure(Path(sys.argv[1]), float(sys.argv[2]))), allow_nan=False))
