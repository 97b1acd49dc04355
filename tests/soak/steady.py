"""A long run at 30 frames a second: is any frame late, and does memory stay where it is?

    python -m tests.soak.steady --minutes 30 [--out report.json]

A recorded session of phantoms is replayed for ever by `busi-kd device run`. A frame's time is that from the row of the
frame before to its own. Beside it a process does nothing but tick (tests/soak/metronome.py): where a tick was late too,
the machine was. Ends with status 1 when a frame took more than three times the median though no tick was late, or when
memory passed 150 MB.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from device.capture.phantom import PhantomSource
from device.capture_cli import SessionWriter
from tests.soak.metronome import Metronome
from tests.soak.watched import Watched

FPS = 30.0
LATE = 3.0  # medians
MEMORY_MB = 150.0
WARM_UP_S = 10.0
FRAMES = 300
MOST_TOLD = 50


def write_session(folder: Path) -> None:
    """FRAMES of the phantom clip as a recorded session at FPS."""
    source, writer = PhantomSource(fps=0), SessionWriter(folder, 1 << 30, reserve=0)
    source.open()
    for number in range(FRAMES):
        writer.add(replace(source.grab(1.0), captured=number / FPS))
    writer.close()


def soak(seconds: float) -> dict:
    """Run for so long behind the warm-up; the report as plain data."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_session(folder / "session")
        options = ("--source", "session", "--path", folder / "session", "--loop", "--verdicts")
        metronome = Metronome()
        watched = Watched(folder, "-m", "device.main", "device", "run", *options)
        try:
            if not watched.wait(lambda: bool(watched.heard.rows), 60):
                raise RuntimeError("the daemon judged no frame")
            watched.listen(WARM_UP_S)
            began = time.monotonic()
            frames: list[tuple[float, float]] = []  # seconds it took, and when it came
            rss: list[float] = []
            own: list[float] = []
            last = watched.heard.rows[-1]["at"]
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                watched.heard.rows.clear()
                watched.listen(2.0)
                for row in watched.heard.rows:
                    frames.append((row["at"] - last, row["at"]))
                    last = row["at"]
                rss.append(sum(watched.memory_kb("Rss").values()) / 1024)
                own.append(sum(watched.memory_kb().values()) / 1024)
                metronome.take()
        finally:
            watched.end()
            metronome.end()
    frame_times = [took for took, _ in frames]
    median = statistics.median(frame_times)
    late = [(took, at) for took, at in frames if took > LATE * median]
    tenth = max(1, len(rss) // 10)
    return {
        "seconds": seconds,
        "frames": len(frame_times),
        "wrong": watched.heard.wrong,
        "frame_time_ms": {
            "median": 1e3 * median,
            "p99": 1e3 * statistics.quantiles(frame_times, n=100)[98],
            "longest": 1e3 * max(frame_times),
            "late": len(late),
            "late_though_no_tick_was": sum(not metronome.beside(at - took, at) for took, at in late),
            "late_ones": [{"ms": 1e3 * took, "at_s": at - began} for took, at in late[:MOST_TOLD]],
        },
        "late_ticks": len(metronome.late),
        "memory_mb": {
            "resident_of_all_highest": max(rss),
            "own_highest": max(own),
            "own_first_tenth": statistics.median(own[:tenth]),
            "own_last_tenth": statistics.median(own[-tenth:]),
        },
    }


def main() -> int:
    """Returns 0 when no frame was late by itself and memory stayed below its bound."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    report = soak(60 * args.minutes) | {"cores": os.cpu_count(), "load": os.getloadavg()}
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    late, memory = report["frame_time_ms"]["late_though_no_tick_was"], report["memory_mb"]["resident_of_all_highest"]
    return int(bool(late or report["wrong"]) or memory > MEMORY_MB)


if __name__ == "__main__":
    sys.exit(main())
