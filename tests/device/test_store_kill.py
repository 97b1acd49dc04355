"""SIGKILL or a full card at any instant: what was reported is whole, nothing half is listed, the log tells it all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WELL = {"lost": [], "half": [], "wrong": [], "said": [], "untold": [], "twice": 0, "stray": []}


def _killed(folder: Path, how: str, count: int) -> list[dict]:
    command = [sys.executable, HERE / "store_killer.py", folder, how, str(count), "2026"]
    path = os.pathsep.join(map(str, (HERE.parents[1], HERE)))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("how", "count", "kills", "swept"), [("13", 200, 25, 2), ("anywhere", 30, 15, 0), ("fail-9", 40, 0, 0)]
)
def test_nothing_reported_is_lost_and_nothing_half_is_kept(
    tmp_path: Path, how: str, count: int, kills: int, swept: int
) -> None:
    found = _killed(tmp_path / "studies", how, count)
    for one in found:
        assert {name: one[name] for name in WELL} == WELL, one
        assert one["status"] in (0, -9, 3), one  # done, killed, or not even opened: never an error that nobody foresaw
    assert sum(one["status"] == -9 for one in found) >= kills
    # That it can fail: some kills came between a picture and its row, studies went, and reports were made.
    assert sum(one["swept"] > 0 for one in found) >= swept
    assert found[-1]["deleted"] > 0
    assert found[-1]["reported"] >= 20
