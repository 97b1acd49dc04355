"""This very copy of busi-kd in a process of its own, in which nothing else counts: for what is measured."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device.errors import UserError


def answer_of(module: str, arguments: Sequence[str], timeout: float | None) -> dict[str, Any]:
    """What `python -m module arguments` prints as its last line, a JSON object; timeout in seconds, None without end.

    Raises UserError, a sentence without a subject's name: it did not end in time and was stopped, or it died.
    """
    # -P and PYTHONPATH: the child must run this very copy, whatever lies in the working directory.
    search = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the measurement did not end within {timeout:.0f} s and was stopped.") from None
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    raise UserError(f"the measuring process died ({how}): {said[-1][:200]}")
