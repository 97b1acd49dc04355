"""A training that is killed, interrupted or moved goes on to the very weights it would have had: slow tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_recipe import write_tiny_recipe
from train_commands import weights_hash

from device.main import main

pytestmark = pytest.mark.slow


def _command(phantoms: Path, recipe: str, out: Path) -> list[str]:
    program = [sys.executable, "-m", "device.main"]
    return [*program, "train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(out)]


def _epoch_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["epoch"] if checkpoint.is_file() else -1


def _stop_when(command: list[str], seen: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    """Start a command, send it a signal once `seen` holds; returns its exit status and what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        while not seen():
            try:
                said, _ = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"it ended before it could be stopped: {said}")
        process.send_signal(how)
        said, _ = process.communicate()
        return process.returncode, said


def test_a_killed_training_goes_on_to_the_same_weights(phantoms: Path, tmp_path: Path) -> None:
    # The teacher, because it has dropout: its draws must not depend on where the process was killed.
    # The last epoch's weights, because the best epoch may lie before the kill.
    recipe = write_tiny_recipe(tmp_path / "tiny.toml", ("epochs = 3", 'select = "last", epochs = 16'))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(_command(phantoms, recipe, whole), env=environment, check=True, capture_output=True)
    last = cut / "checkpoints" / "last.ckpt"

    status, _ = _stop_when(_command(phantoms, recipe, cut), lambda: _epoch_of(last) >= 1, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert (cut / "started.json").is_file()
    assert not (cut / "meta.json").exists()
    reached = _epoch_of(last)
    assert 1 <= reached < 15

    status, said = _stop_when(_command(phantoms, recipe, cut), lambda: _epoch_of(last) > reached, signal.SIGTERM)
    assert status == 130, said
    assert "busi-kd: interrupted" in said
    assert not (cut / "meta.json").exists()

    done = subprocess.run(_command(phantoms, recipe, cut), env=environment, check=True, capture_output=True, text=True)
    assert "Epoch 0" not in done.stdout + done.stderr, "it must go on, not begin anew"
    assert weights_hash(cut) == weights_hash(whole)
    assert _epoch_of(cut / "checkpoints" / "best.ckpt") == _epoch_of(whole / "checkpoints" / "best.ckpt")
    assert "will be deleted" not in done.stdout + done.stderr
    logs = list((cut / "log").glob("metrics*.csv"))
    rows = {float(line.split(",")[0]) for log in logs for line in log.read_text().splitlines()[1:]}
    assert len(logs) == 3
    assert rows == set(range(16)), "the learning curve of before the kill is kept"
    mine, theirs = (json.loads((run / "meta.json").read_text())["validation"] for run in (cut, whole))
    assert mine == theirs


def test_killed_after_the_last_epoch_it_only_finishes(
    teacher: Path, phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(teacher, cut)
    before = json.loads((cut / "meta.json").read_text())
    for name in ("meta.json", "model.safetensors"):
        (cut / name).unlink()
    # The checkpoint remembers where it lay; a moved folder must work too.
    shutil.move(cut, tmp_path / "moved")
    assert main(["train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(tmp_path / "moved")]) == 0
    after = json.loads((tmp_path / "moved" / "meta.json").read_text())
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["validation"] == before["validation"]
