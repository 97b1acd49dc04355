"""What a file takes of a machine, measured in a process of its own."""

from pathlib import Path

import pytest

from convert.compare.alone import load
from device.bundle import load_bundle
from device.errors import UserError


def test_a_file_is_measured_apart(bundle_dir: Path) -> None:
    found = load(load_bundle(bundle_dir / "int8-full").model_path, seconds=0.05)
    assert found.fps > 0
    assert found.cpu_ms > 0
    # This process holds far more than an interpreter and a tiny file: what was measured is the other one's.
    assert 5 < found.memory_mb < 400
    assert 0 <= found.own_mb < found.memory_mb


def test_what_is_no_model_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"x\.tflite: the measuring process died \(status 1\)"):
        load(tmp_path / "x.tflite", seconds=0.05)
