"""A machine of its own for each test."""

from pathlib import Path

import pytest
import update_things
from update_things import Device


@pytest.fixture
def machine(tmp_path: Path, maker_key: Path) -> Device:
    """0.1.0 is packaged, and nothing was updated yet."""
    return update_things.device(tmp_path / "machine", maker_key)
