"""Glass to verdict: the real daemon over a live source in its process, and how old a frame is when it is judged."""

import os
import time
from pathlib import Path
from typing import Any

from device import log, record
from device.bench_stream import StreamSource
from device.bundle import Bundle
from device.capture.pace import DEFAULT_FPS
from device.capture.process import ProcessSource
from device.daemon import Daemon
from device.notify import Notifier
from device.over_time import OverTime
from device.runtime import Model
from device.stages import Latencies

FRAME_MS = 1e3 / DEFAULT_FPS
RANKS = (50, 95, 99)


def live(
    bundle: Bundle, model: Model, folder: Path, size: tuple[int, int], pixel_format: str, seconds: float
) -> dict[str, Any]:
    """Judge the frames of `folder` (device.bench_stream.write_stream) at 30 a second for `seconds`.

    Returns what device.bench_pipeline describes as `live`. Raises UserError when the source does not open.
    """
    least = (bundle.meta.preprocess.height, bundle.meta.preprocess.width)
    source = ProcessSource(StreamSource, folder=folder, size=size, least=least, pixel_format=pixel_format)
    how = OverTime()
    rows: log.RowFile = record.open_record(folder / "live.csv", bundle, None, how)
    daemon = Daemon(bundle, model, source, Notifier({}), rows, say=lambda _: None, how=how)
    began, cpu_began = time.monotonic(), _cpu_s()
    try:
        daemon.run(seconds)
    finally:
        rows.close()
    seconds, stages = time.monotonic() - began, daemon.tally.stages
    return {
        "fps": DEFAULT_FPS,
        "seconds": seconds,
        "frames": daemon.frames(),
        "total_ms": spread(stages["total"]),
        "total_frame_times": {
            name: None if value is None else value / FRAME_MS for name, value in spread(stages["total"]).items()
        },
        "stages_p50_ms": {stage: found.percentile(50) for stage, found in stages.items()},
        "process_cpu_percent": 100.0 * (_cpu_s() - cpu_began) / seconds,
    }


def spread(found: Latencies) -> dict[str, float | None]:
    """p50, p95, p99 and the highest, in milliseconds; None where nothing was measured."""
    return {f"p{rank}": found.percentile(rank) for rank in RANKS} | {"highest": found.highest_ms}


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended, as the source's has by then."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
