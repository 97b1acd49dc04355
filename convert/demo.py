"""`busi-kd demo`: the whole path once at demonstration scale, each step the very command a user would type."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from convert import summary
from device import RESEARCH_NOTICE, files
from device.errors import UserError

MARKER = "demo.json"
PER_CLASS = 250


def steps(out: Path, seconds: int) -> list[tuple[str, list[str]]]:
    """The demonstration's commands in order: (what it does, arguments of busi-kd)."""
    data, teacher, student = out / "phantoms", out / "teacher", out / "student"
    bundles, shipped = out / "bundles", out / "bundles" / "int8-full"
    commands = [
        ("write synthetic phantoms", ["train", "phantoms", data, "--per-class", PER_CLASS, "--size", "256x320"]),
        ("train the hybrid teacher", ["train", "teacher", data, "--recipe", "demo", "--out", teacher]),
        ("distil the student", ["train", "distill", data, "--recipe", "demo", "--teacher", teacher, "--out", student]),
        ("evaluate both", ["train", "evaluate", teacher, student, "--data", data, "--json", out / "evaluation.json"]),
        ("convert and verify", ["convert", student, "--data", data, "--out", bundles]),
        (
            "measure latency",
            [
                "device",
                "bench",
                bundles,
                "--threads",
                "1,2",
                "--seconds",
                0.5,
                "--rounds",
                2,
                "--json",
                out / "bench.json",
            ],
        ),
        (
            f"run the daemon for {seconds} s on a phantom clip",
            ["device", "run", "--bundle", shipped, "--source", "phantom", "--duration", seconds]
            + ["--summary", out / "daemon.json", "--verdicts", out / "verdicts.csv"],
        ),
    ]
    return [(what, [str(argument) for argument in arguments]) for what, arguments in commands]


def main(arguments: list[str]) -> int:
    """Run the demonstration into --out and write its one-page summary; returns the first failed step's status."""
    parser = argparse.ArgumentParser(prog="busi-kd demo", description=f"{__doc__} {RESEARCH_NOTICE}")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="begun anew each time (default out/demo)")
    parser.add_argument("--seconds", type=int, default=20, help="how long the daemon runs (default 20)")
    args = parser.parse_args(arguments)
    _begin(args.out)
    started, timings = time.monotonic(), {}
    todo = steps(args.out, args.seconds)
    for number, (what, command) in enumerate(todo, start=1):
        log = args.out / "logs" / f"{number}-{command[0]}-{command[1] if command[0] != 'convert' else 'bundles'}.log"
        print(f"[{number}/{len(todo)}] {what} ... ", end="", flush=True)
        begun = time.monotonic()
        status = _run(command, log)
        timings[what] = time.monotonic() - begun
        if status:
            print(f"failed after {timings[what]:.0f} s.\n{_tail(log)}\nThe whole log is {log}.")
            return status
        print(f"{timings[what]:.0f} s", flush=True)
    page = summary.write(args.out, timings, time.monotonic() - started)
    print(f"\n{page.read_text()}\nSummary: {page} and {page.with_suffix('.png')}")
    return 0


def _begin(out: Path) -> None:
    """An empty folder for this demonstration; only an earlier demonstration is removed to make room."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise UserError(f"{out}: is not empty and holds no earlier demonstration; choose another --out.")
        shutil.rmtree(out)
    (out / "logs").mkdir(parents=True, exist_ok=True)
    files.write_json(out / MARKER, {"notice": RESEARCH_NOTICE})


def _run(command: list[str], log: Path) -> int:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as stream:
        stream.write(f"$ busi-kd {' '.join(command)}\n".encode())
        stream.flush()
        call = [sys.executable, "-m", "device.main", *command]
        return subprocess.run(call, env=environment, stdout=stream, stderr=subprocess.STDOUT).returncode


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()[-lines:])
