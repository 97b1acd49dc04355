"""Asks a Python process of its own: drivers hang, and broken libraries end the process that loads them."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What the child printed, and how it ended in words; `ended` is None when it ended well."""

    out: str
    ended: str | None


def ask(arguments: list[str], timeout_s: float) -> Answer:
    """Run this Python with `arguments` for `timeout_s` seconds at most, with the path to this copy of the package."""
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join([root, *filter(None, sys.path)])
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": search},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer("", f"gave no answer within {timeout_s:g} s")
    except OSError as error:
        return Answer("", f"could not be started ({error.strerror})")
    out = done.stdout.decode(errors="replace")
    if done.returncode < 0:
        return Answer(out, f"was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return Answer(out, said[-1][:200] if said else f"ended with status {done.returncode}")
    return Answer(out, None)
