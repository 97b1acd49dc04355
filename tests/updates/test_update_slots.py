"""Updates of the program: installed beside, on trial, healthy or gone back, whatever happens."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from target import ARCHES
from update_things import Device, update

from device import files, signing
from device.errors import Refused, UserError
from device.signing import NotTrusted
from device.update import slots


def install(machine: Device, file: Path, older: bool = False):
    running = slots.version_of(slots.in_force(machine.place), machine.place)
    with open(file, "rb") as stream:
        return slots.install(stream, machine.place, machine.keys, machine.machine(running), older)


def names(machine: Device) -> tuple[str | None, str | None]:
    return tuple(slots.link(machine.place, name) for name in (slots.CURRENT, slots.PREVIOUS))


def test_an_update_is_installed_beside_and_runs_next(machine: Device, tmp_path: Path) -> None:
    assert machine.runs() == "0.1.0"
    done = install(machine, update(tmp_path, "0.2.0", machine.key))
    assert (done.manifest.version, done.signed_by) == ("0.2.0", "maker.pub")
    assert machine.runs() == "0.2.0"
    folder = machine.place.app / f"slot-0.2.0-{done.id}"
    assert names(machine) == (folder.name, None)
    assert list(folder.rglob("*.pyc"))  # compiled, for the services cannot write there
    for path in [machine.place.app, folder, *folder.rglob("*")]:
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
            assert path.stat().st_uid == os.geteuid()
    assert slots.status(machine.place)["running"]["state"] == "trial"
    machine.become_healthy()
    assert slots.status(machine.place)["running"]["state"] == "healthy"
    assert machine.end() == ""  # a proven version is not left because it fails once
    assert machine.runs() == "0.2.0"


def test_a_version_that_fails_on_trial_is_left_at_once(machine: Device, tmp_path: Path) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.become_healthy()
    install(machine, update(tmp_path, "0.3.0", machine.key))
    assert machine.end() == ""  # the old one, which ended to let the new one start
    machine.launch("--begin")
    assert machine.runs() == "0.3.0"
    assert "UPDATE ROLLED BACK: slot-0.3.0-" in machine.end("timeout", "15")
    assert machine.runs() == "0.2.0"
    said = slots.status(machine.place)
    assert said["current"]["why"] == "ended before it was healthy (timeout, 15)"
    assert said["running"]["version"] == "0.2.0"
    assert not (machine.place.home / "asked").exists()  # systemd itself starts the service again
    with pytest.raises(UserError, match="not in force already"):
        slots.rollback(machine.place)
    install(machine, update(tmp_path, "0.3.1", machine.key))  # what it goes back to is the one that ran
    assert [name.split("-")[1] for name in names(machine)] == ["0.3.1", "0.2.0"]


def test_one_that_ends_with_status_2_is_started_again_by_the_launcher(machine: Device, tmp_path: Path) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.launch("--begin")
    machine.end("exit-code", "2")
    assert (machine.place.home / "asked").read_text() == "--no-block restart busi-kd.service\n"
    assert machine.runs() == "0.1.0"


def test_one_that_takes_the_machine_down_is_left_after_three_starts(machine: Device, tmp_path: Path) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    for _ in range(3):
        assert machine.launch("--begin").stdout == ""
        assert machine.runs() == "0.2.0"
    assert "was started 3 times and never became healthy" in machine.launch("--begin").stdout
    assert machine.runs() == "0.1.0"
    assert machine.launch("--healthy").stdout == ""


def test_a_restart_in_the_first_minute_is_no_failure(machine: Device, tmp_path: Path) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.launch("--begin")
    assert machine.end("success", "0") == ""
    machine.become_healthy()
    assert machine.runs() == "0.2.0"


def test_rolling_back_twice_changes_nothing(machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.become_healthy()
    for swap in (files.swap, lambda first, second: False):
        monkeypatch.setattr(files, "swap", swap)
        assert slots.rollback(machine.place) is None
        assert machine.runs() == "0.1.0"
        slots.rollback(machine.place)
        assert machine.runs() == "0.2.0"
    install(machine, update(tmp_path, "0.3.0", machine.key))
    for swap in (files.swap, lambda first, second: False):
        monkeypatch.setattr(files, "swap", swap)
        before = names(machine)
        slots.rollback(machine.place)
        assert machine.runs() == "0.2.0"
        slots.rollback(machine.place)
        assert machine.runs() == "0.3.0"
        assert names(machine) == before


def test_there_is_nothing_to_roll_back_to(machine: Device, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no update was ever installed"):
        slots.rollback(machine.place)
    machine.place.app.mkdir(parents=True)
    with pytest.raises(UserError, match="nothing but"):
        slots.rollback(machine.place)
    install(machine, update(tmp_path, "0.2.0", machine.key))
    slots.rollback(machine.place)
    (slot,) = machine.place.app.glob("slot-*[0-9a-f]")
    shutil.rmtree(slot)
    with pytest.raises(UserError, match="it is not there"):
        slots.rollback(machine.place)


def test_another_package_below_wins_over_every_update(machine: Device, tmp_path: Path) -> None:
    install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.become_healthy()
    (machine.place.home / "version").write_text("0.1.5~deb12 bookworm/arm64 2\n")
    assert machine.runs() == "0.1.0"  # what the packaged program calls itself
    assert slots.status(machine.place)["current"]["why"] == "the package below it was exchanged since"
    install(machine, update(tmp_path, "0.2.1", machine.key))
    assert machine.runs() == "0.2.1"
    assert len(list(machine.place.app.glob("slot-*"))) == 1


def test_the_same_update_again_after_it_failed_is_tried_anew(machine: Device, tmp_path: Path) -> None:
    file = update(tmp_path, "0.2.0", machine.key)
    for _ in range(2):
        install(machine, file)
        machine.launch("--begin")
        assert machine.runs() == "0.2.0"
        machine.end()
        assert machine.runs() == "0.1.0"
    assert len(list(machine.place.app.glob("slot-*.condemned"))) == 1


# --- what is refused


def test_what_is_not_for_this_machine_is_refused(machine: Device, tmp_path: Path) -> None:
    for why, kind, file in (
        ("for arch amd64", UserError, update(tmp_path, "0.2.0", machine.key, arch=ARCHES["amd64"])),
        ("older than", Refused, update(tmp_path, "0.0.9", machine.key)),
        ("needs the package or image of 0.3", Refused, update(tmp_path, "0.4.0", machine.key, minimum="0.3")),
    ):
        with pytest.raises(kind, match=why):
            install(machine, file)
    trixie = replace(machine.machine(), suite="trixie")
    with open(update(tmp_path, "0.2.0", machine.key), "rb") as stream, pytest.raises(UserError, match="for suite"):
        slots.install(stream, machine.place, machine.keys, trixie)
    assert not machine.place.app.exists()
    install(machine, update(tmp_path, "0.0.9", machine.key), older=True)
    assert machine.runs() == "0.0.9"


def test_another_makers_update_is_refused(machine: Device, tmp_path: Path) -> None:
    signing.new_key(tmp_path / "other/key")
    with pytest.raises(NotTrusted, match="signed by none"):
        install(machine, update(tmp_path, "0.2.0", tmp_path / "other/key"))
    assert not machine.place.app.exists()


@pytest.mark.parametrize(
    ("selftest", "why"),
    [("sys.exit('wrong bytes')", "wrong bytes"), ("import nothing_of_that_name", "status 1"), ("1/0", "status 1")],
)
def test_one_that_fails_its_self_test_is_never_switched_to(
    selftest: str, why: str, machine: Device, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=why):
        install(machine, update(tmp_path, "0.2.0", machine.key, selftest))
    assert machine.runs() == "0.1.0"
    assert list(machine.place.app.iterdir()) == []


def test_one_whose_self_test_hangs_is_given_up(
    machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "SELF_TEST_S", 0.5)
    with pytest.raises(UserError, match="took longer"):
        install(machine, update(tmp_path, "0.2.0", machine.key, "import time; time.sleep(600)"))
    assert list(machine.place.app.iterdir()) == []


def test_too_little_room_is_said_before_anything_is_written(
    machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(slots.shutil, "disk_usage", lambda path: usage._replace(free=slots.RESERVE))
    with pytest.raises(UserError, match="delete some studies"):
        install(machine, update(tmp_path, "0.2.0", machine.key))
    assert list(machine.place.app.iterdir()) == []


def test_a_folder_that_is_not_its_own_is_not_used(machine: Device, tmp_path: Path) -> None:
    machine.place.app.mkdir(parents=True)
    machine.place.app.chmod(0o777)
    with pytest.raises(UserError, match="not this user's alone"):
        install(machine, update(tmp_path, "0.2.0", machine.key))
    machine.place.app.chmod(0o755)
    install(machine, update(tmp_path, "0.2.0", machine.key))
    assert machine.runs() == "0.2.0"
    machine.place.app.chmod(0o775)  # whoever can write there could choose what root runs
    assert machine.runs() == "0.1.0"
