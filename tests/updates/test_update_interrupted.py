"""An update that is interrupted at any byte or any step leaves what ran before."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from update_things import PYTHON, Device, update

from device.errors import UserError
from device.update import archive, slots

HERE = Path(__file__).parent
SITE = f"lib/python{PYTHON}/site-packages"


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory, maker_key: Path) -> bytes:
    folder = tmp_path_factory.mktemp("one")
    return update(folder, "0.2.0", maker_key, more={f"{SITE}/x.bin": os.urandom(3000)}).read_bytes()


def head_and_payload(machine: Device, path: Path) -> archive.Update:
    """Every check that is made of a file's bytes before any is written."""
    with open(path, "rb") as stream:
        found = archive.read(stream, machine.keys)
        archive.check_payload(stream, found)
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_off_or_altered_anywhere_is_refused(data, one_file: bytes, machine: Device, tmp_path: Path) -> None:
    at = data.draw(st.integers(0, len(one_file.rstrip(b"\0")) - 1))
    cut, other = data.draw(st.booleans()), data.draw(st.integers(1, 255))
    spoilt = one_file[:at] if cut else one_file[:at] + bytes([one_file[at] ^ other]) + one_file[at + 1 :]
    (tmp_path / "spoilt").write_bytes(spoilt)
    try:
        found = head_and_payload(machine, tmp_path / "spoilt")
    except UserError:
        return
    # A byte of the outer tar that says nothing of what is installed, such as a time: then it is the same update.
    assert not cut
    (tmp_path / "good").write_bytes(one_file)
    good = head_and_payload(machine, tmp_path / "good")
    assert (found.id, found.manifest) == (good.id, good.manifest)


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_off_installs_nothing(at: float, one_file: bytes, machine: Device, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(one_file[: int(at * len(one_file.rstrip(b"\0")))])
    with open(tmp_path / "cut", "rb") as stream, pytest.raises(UserError):
        slots.install(stream, machine.place, machine.keys, machine.machine())
    assert not machine.place.app.exists()
    assert machine.runs() == "0.1.0"


def _stopped(tmp_path: Path, key: Path, action: str, how: str, stride: int) -> list[list]:
    shutil.copy(update(tmp_path, "0.2.0", key), tmp_path / "old.update")
    new = update(tmp_path, "0.3.0", key)
    command = [sys.executable, HERE / "update_killer.py", action, how, tmp_path, new, key, str(stride)]
    path = os.pathsep.join(map(str, (HERE.parents[1], HERE, HERE.parents[1] / "systemd/package")))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("how", "stride"), [("kill", 3), ("fail", 7)])
def test_stopped_at_any_step_of_an_installation_a_whole_version_runs(
    how: str, stride: int, maker_key: Path, tmp_path: Path
) -> None:
    times = _stopped(tmp_path, maker_key, "install", how, stride)
    for status, runs, after, left_over in times:
        assert status in ((-9, 0) if how == "kill" else (0, 1, 2)), times
        assert runs in ("0.2.0", "0.3.0")
        assert runs == ("0.3.0" if status == 0 else runs)
        assert after == "0.3.0"
        assert left_over == []  # the next one clears away what the kill has left
    assert len(times) > 40 / stride
    assert {runs for _, runs, _, _ in times} == {"0.2.0", "0.3.0"}


@pytest.mark.parametrize("how", ["kill", "fail"])
def test_stopped_at_any_step_of_a_rollback_a_whole_version_runs(how: str, maker_key: Path, tmp_path: Path) -> None:
    times = _stopped(tmp_path, maker_key, "rollback", how, 1)
    assert [runs for _, runs, _, _ in times][-1] == "0.2.0"
    assert {runs for _, runs, _, _ in times} <= {"0.2.0", "0.3.0"}
    assert all(after == "0.3.0" for _, _, after, _ in times)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small card")
def test_a_card_that_is_full_keeps_what_ran(maker_key: Path, tmp_path: Path) -> None:
    """A real one of 2 MB, with the check of free space out of the way."""
    update(tmp_path, "0.2.0", maker_key, more={f"{SITE}/large.bin": os.urandom(3_000_000)}).rename(tmp_path / "new")
    (tmp_path / "machine/state").mkdir(parents=True)
    script = f"""
import sys
from pathlib import Path
from update_things import device
from device.update import slots
machine = device(Path("{tmp_path}/machine"), Path("{maker_key}"))
slots._room = lambda app, update: None
try:
    with open("{tmp_path}/new", "rb") as stream:
        slots.install(stream, machine.place, machine.keys, machine.machine())
except OSError as error:
    print(error.errno, machine.runs(), *machine.place.app.iterdir())
"""
    path = os.pathsep.join(map(str, (HERE.parents[1], HERE, HERE.parents[1] / "systemd/package")))
    mount = f"mount -t tmpfs -o size=2m tmpfs {tmp_path}/machine/state"
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", script]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "28 0.1.0\n"), done.stderr
