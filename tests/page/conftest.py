"""A daemon that runs for a whole module, with the phantom and a tiny model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from page_served import Started, configuration


@dataclass(frozen=True)
class Running:
    """config: its configuration file. folder: where its page, studies and socket lie."""

    config: Path
    folder: Path
    daemon: Started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, bundle_dir: Path) -> Iterator[Running]:
    """`busi-kd device run` on the phantom, with recorder and socket."""
    folder = tmp_path_factory.mktemp("page")
    config = configuration(folder, bundle_dir / "int8-full")
    daemon = Started(config)
    try:
        daemon.wait_for(" -> ok")
        yield Running(config, folder, daemon)
    finally:
        daemon.end()


@pytest.fixture
def alone(tmp_path: Path, bundle_dir: Path) -> Path:
    """A configuration file with which no daemon runs."""
    return configuration(tmp_path, bundle_dir / "int8-full")
