"""Worker processes: one that dies costs its own training alone, and Ctrl-C leaves nothing running."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from small_study import HEAD, odd_work, small_study

from device.errors import UserError
from device.main import main
from train.studies.grid.pool import Failure, on_ray

pytestmark = pytest.mark.slow


def test_what_becomes_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where a worker finds the work of this test
    kinds = ["works", "dies", "refuses", "dies once", "breaks", "works too"]
    items = [(kind, tmp_path / kind) for kind in kinds]
    with closing(on_ray(items, odd_work, workers=2, address=None)) as work:
        found = {item[0]: outcome for item, outcome in work}
    assert set(found) == set(kinds)
    for kind in ("works", "works too", "dies once"):
        assert found[kind] == (kind, False, "0"), "on this machine, telling nobody"
    assert found["refuses"] == Failure("this one cannot be done; leave it.")
    assert "worker process died twice" in found["dies"].sentence
    assert "ZeroDivisionError: of a kind that nobody foresaw" in found["breaks"].sentence
    assert "odd_work" in found["breaks"].trace
    tries = {kind: len((tmp_path / kind).read_text()) for kind in kinds}
    assert tries == {"works": 1, "works too": 1, "refuses": 1, "breaks": 1, "dies once": 2, "dies": 2}


def test_a_cluster_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in ("nowhere", f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
        with (
            pytest.raises(UserError, match=f"--address {address}: Ray did not start"),
            closing(on_ray([], odd_work, None, address)) as work,
        ):
            next(work)


def test_ctrl_c_and_on_again(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = '[[row]]\nname = "plain"\n'
    call = small_study(tmp_path, phantoms, rows, HEAD.replace("[0, 3]", "[0, 1, 2, 3]"))
    command = [sys.executable, "-m", "device.main", *call, "--workers", "2"]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores Ctrl-C
    )
    said = ""
    while not said.startswith("[1/4] plain, seed 0, fold "):
        said = started.stdout.readline()
        assert said, started.stderr.read()
    workers = psutil.Process(started.pid).children(recursive=True)
    assert len(workers) > 2
    started.send_signal(signal.SIGINT)
    _, trouble = started.communicate(timeout=60)
    # On a busy machine Ray's own log has a line of its own about the task that was cut.
    told = [line for line in trouble.splitlines() if "task_manager.cc" not in line]
    assert (started.returncode, told) == (130, ["busi-kd: interrupted."])
    _, left = psutil.wait_procs(workers, timeout=30)
    assert left == []
    results = tmp_path / "out" / "results" / "plain"
    there = {path.name: path.read_bytes() for path in results.iterdir()}
    assert 1 <= len(there) < 4
    assert main([*call, "--workers", "0"]) == 0
    assert f"{len(there)} trainings are done, {4 - len(there)} go in this process" in capsys.readouterr().out
    assert len(list(results.iterdir())) == 4
    assert {name: (results / name).read_bytes() for name in there} == there, "what was done stays"
    # Where a training runs makes no difference to it.
    name = min(there)
    (results / name).unlink()
    assert main([*call, "--workers", "0"]) == 0
    one, two = json.loads(there[name]), json.loads((results / name).read_text())
    assert one["test"] == two["test"]
    assert one["hardware"] == two["hardware"]
