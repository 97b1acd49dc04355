"""Whether the daemon runs, by a clock that never jumps; a figure that is old is never told as new."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import files
from device.fleet import watch
from device.fleet.watch import NO_FILE, NOT_READABLE, NOT_RENEWED, NOT_YET_KNOWN, STALE_S, Watch

TEXT = "busi_kd_temperature_celsius {}\n"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busi-kd.prom"


def states(found: Watch, clock: Clock, seconds: float) -> tuple[str, str, int]:
    clock.now += seconds
    reading = found.look()
    return reading.state, reading.why, len(reading.samples)


def test_a_life_of_the_daemon(path: Path, clock: Clock) -> None:
    found = Watch(path, clock)
    assert states(found, clock, 0) == ("not running", NO_FILE, 0)
    files.write_text(path, TEXT.format(50))
    assert states(found, clock, 1) == ("running", "", 1)
    assert states(found, clock, STALE_S) == ("running", "", 1)
    assert states(found, clock, 0.1) == ("not running", NOT_RENEWED, 0), "killed: its file stays"
    files.write_text(path, TEXT.format(51))
    assert states(found, clock, 100) == ("running", "", 1)
    files.write_text(path, "{ no text of Prometheus")
    assert states(found, clock, 1) == ("unknown", NOT_READABLE, 0)
    path.unlink()
    assert states(found, clock, 1) == ("not running", NO_FILE, 0)


def test_a_file_that_lay_there_before_proves_nothing_whatever_its_time(path: Path, clock: Clock) -> None:
    files.write_text(path, TEXT.format(50))
    os.utime(path, (2**33, 2**33))  # a clock that was wrong
    found = Watch(path, clock)
    assert states(found, clock, 0) == ("unknown", NOT_YET_KNOWN, 0)
    assert states(found, clock, STALE_S) == ("unknown", NOT_YET_KNOWN, 0)
    assert states(found, clock, 0.1) == ("not running", NOT_RENEWED, 0)
    files.write_text(path, TEXT.format(50))
    os.utime(path, (0, 0))
    assert states(found, clock, 1) == ("running", "", 1)


def test_what_cannot_be_read_is_unknown_and_never_waits(path: Path, clock: Clock) -> None:
    found = Watch(path, clock)
    os.mkfifo(path)
    assert states(found, clock, 0) == ("unknown", NOT_READABLE, 0)
    path.unlink()
    path.mkdir()
    assert states(found, clock, 0) == ("unknown", NOT_READABLE, 0)
    path.rmdir()
    path.write_bytes(b"\n" * (watch.MAX_BYTES + 1))
    assert states(found, clock, 0) == ("unknown", NOT_YET_KNOWN, 0)
    files.write_bytes(path, b"\xff\xfe")
    assert states(found, clock, 0) == ("unknown", NOT_READABLE, 0)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.sampled_from(["write", "remove", "nothing"]), st.floats(0.0, 40.0)), max_size=20))
def test_figures_are_told_only_within_their_time(tmp_path_factory: pytest.TempPathFactory, acts: list) -> None:
    path, clock = tmp_path_factory.mktemp("run") / "m.prom", Clock()
    found = Watch(path, clock)
    wrote, seen = None, found.look()
    for act, seconds in acts:
        if act == "write":
            files.write_text(path, TEXT.format(len(acts)))
            wrote = clock.now
        elif act == "remove":
            path.unlink(missing_ok=True)
            wrote = None
        seen = found.look()
        assert (seen.state == "running") == (wrote is not None and clock.now - wrote <= STALE_S)
        assert bool(seen.samples) == (seen.state == "running")
        clock.now += seconds
