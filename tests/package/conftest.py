"""Fixtures of the package's tests."""

import pytest
from packages import Packages


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The packages of this checkout."""
    return Packages(tmp_path_factory.mktemp("packages"))
