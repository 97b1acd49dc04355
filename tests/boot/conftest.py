"""A machine on which busi-kd is installed serves all tests; the power cuts go on beside them, on copies of its disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import BoundedSemaphore

import booted
import debian
import goods as stock
import installing
import pytest
import service
from booted import Guest
from cuts import Cutting
from debian import Debian
from goods import Goods
from installing import Installed

from device.errors import UserError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "busi" / "Dataset_BUSI_with_GT"


@pytest.fixture(scope="session")
def linux() -> Debian:
    """The Debian of the machine; only the environment variable skips what needs it."""
    if os.environ.get(debian.OFF) == "1":
        pytest.skip(f"{debian.OFF}=1: the emulated machine was switched off")
    try:
        return debian.prepare()
    except UserError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For disks and goods, some GB; gone at the end."""
    path = tmp_path_factory.mktemp("boot")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def goods(folder: Path, maker_key: Path) -> Goods:
    """What the machine sees in /host."""
    return stock.make(folder, maker_key)


@pytest.fixture(scope="session")
def frames(goods: Goods) -> dict[str, bytes]:
    """The grabber's pictures; those of BUSI where they are at hand."""
    return stock.draw(goods.share, REAL if REAL.is_dir() else None)


@pytest.fixture(scope="session")
def installed(linux: Debian, goods: Goods, folder: Path) -> Installed:
    """A machine on which busi-kd was installed."""
    return installing.install(linux, goods, folder / "installed.qcow2")


@pytest.fixture(scope="session")
def room() -> BoundedSemaphore:
    """So many machines run at a time as there are processors: more would make each too slow for its own limits."""
    return BoundedSemaphore(booted.cores())


@pytest.fixture(scope="session")
def scenes() -> Iterator[ExitStack]:
    """What ends with the last test that needs the machine `guest`, which makes room for the power cuts."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def cutting(
    linux: Debian, installed: Installed, goods: Goods, folder: Path, room: BoundedSemaphore
) -> Iterator[Cutting]:
    """The power cuts, begun with the first test that asks for them."""
    cutting = Cutting(linux, installed.disk, goods, folder, room)
    yield cutting
    cutting.stop()


@pytest.fixture(scope="session")
def guest(
    request: pytest.FixtureRequest,
    linux: Debian,
    installed: Installed,
    goods: Goods,
    frames: dict[str, bytes],
    folder: Path,
    room: BoundedSemaphore,
    scenes: ExitStack,
) -> Guest:
    """The machine, switched on again, with busi-kd as it starts by itself. Cuts that are asked for begin behind it."""
    scenes.enter_context(room)
    disk = booted.new_disk(linux, folder / "scenes.qcow2", installed.disk)
    guest = Guest(linux, disk, goods.share, memory_mb=1536)
    scenes.callback(guest.cut)
    service.judging(guest)
    guest.first = booted.seconds(guest)
    if any("cut" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("cutting")
    return guest
