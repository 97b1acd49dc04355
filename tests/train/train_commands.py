"""What several tests of the train commands ask of them."""

import json
from pathlib import Path

import pytest

from device.main import main


def refused(capsys: pytest.CaptureFixture[str], arguments: list, *parts: str) -> None:
    """Run `busi-kd ARGUMENTS`; it must end with status 2 and one line on stderr that holds `parts`."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    for part in parts:
        assert part in said


def weights_hash(run: Path) -> str:
    """SHA-256 of a finished run's weights, as its meta.json has it."""
    return json.loads((run / "meta.json").read_text())["weights_sha256"]
