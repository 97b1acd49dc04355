"""`busi-kd device update` and the memory stick; the real self-test in a real slot."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import update_things
import updating
from target import ARCHES, ROOT, Target
from update_things import PYTHON, SUITE, TARGET, Device, update

from device import main, signing
from device.errors import UserError
from device.update import manifest, slots, stick


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is one of those that the updates are for."""
    monkeypatch.setattr(
        manifest, "this_machine", lambda packaged, running: manifest.Machine("bookworm", "arm64", packaged, running)
    )


def run(machine: Device, *words: object) -> int:
    where = ["--into", machine.place.app, "--package", machine.place.home]
    return main.main(["device", "update", *map(str, [*words, *where])])


@pytest.mark.usefixtures("here")
def test_install_status_and_rollback(machine: Device, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = update(tmp_path, "0.2.0", machine.key)
    assert file.name == "busi-kd_0.2.0_bookworm_arm64.update"
    assert run(machine, "install", file, "--trusted-keys", machine.key.parent) == 0
    assert "installed, on trial: busi-kd 0.2.0" in capsys.readouterr().out
    machine.become_healthy()
    assert run(machine, "status") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "packaged: 0.1.0~deb12"
    assert said[1].startswith("running: 0.2.0, slot-0.2.0-")
    assert said[1].endswith(", healthy")
    assert said[3] == "previous: 0.1.0~deb12, as it was packaged"
    assert run(machine, "rollback") == 0
    assert "rolled back to: 0.1.0~deb12 as it was packaged" in capsys.readouterr().out
    assert run(machine, "install", tmp_path / "absent.update") == 2
    assert "no such file" in capsys.readouterr().err


def test_where_busi_kd_was_not_packaged_nothing_is_updated(
    machine: Device, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (machine.place.home / "version").unlink()
    for words in (
        ["status"],
        ["install", update(tmp_path, "0.2.0", machine.key), "--trusted-keys", machine.key.parent],
    ):
        assert run(machine, *words) == 2
        assert "was not installed by its package or image" in capsys.readouterr().err


def mounted(root: Path, name: str = "BUSI") -> Path:
    """A stick, as the kernel and mount say it."""
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc/mounts").write_text(f"/dev/sda1 /media/{name} vfat rw 0 0\n")
    disk = root / "sys/devices/usb1/block/sda/sda1"
    disk.mkdir(parents=True)
    (disk / "partition").write_text("1\n")
    (disk.parent / "removable").write_text("1\n")
    (root / "sys/class/block").mkdir(parents=True)
    (root / "sys/class/block/sda1").symlink_to(disk)
    (root / "media" / name).mkdir(parents=True)
    return root / "media" / name


def test_the_newest_that_fits_is_found_on_a_stick(machine: Device, tmp_path: Path) -> None:
    root, mine = tmp_path / "root", machine.machine()
    with pytest.raises(UserError, match="No memory stick is mounted"):
        stick.find(machine.keys, mine, root=root)
    folder = mounted(root)
    with pytest.raises(UserError, match="at the top of the memory stick BUSI"):
        stick.find(machine.keys, mine, root=root)
    (folder / "broken.update").write_bytes(b"MZ")
    with pytest.raises(UserError, match=r"broken\.update: The file is no"):
        stick.find(machine.keys, mine, root=root)
    signing.new_key(tmp_path / "other/key")
    for version, key, arch in (
        ("0.9.0", machine.key, TARGET.arch),
        ("0.10.0", machine.key, TARGET.arch),
        ("0.11.0", tmp_path / "other/key", TARGET.arch),
        ("0.12.0", machine.key, ARCHES["amd64"]),
        ("0.0.1", machine.key, TARGET.arch),
    ):
        shutil.copy(update(tmp_path, version, key, arch=arch), folder / f"{version}.update")
    (folder / "link.update").symlink_to("0.10.0.update")
    path, found = stick.find(machine.keys, mine, root=root)
    assert (path.name, found.manifest.version) == ("0.10.0.update", "0.10.0")
    with pytest.raises(UserError):
        stick.find(machine.keys, replace(mine, running="0.11"), root=root)
    assert stick.find(machine.keys, replace(mine, running="0.11"), True, root)[0] == path


def test_two_builds_are_the_same_to_the_byte(machine: Device, tmp_path: Path) -> None:
    trees = [update_things.program(tmp_path / name, "0.2.0") for name in ("one", "two")]
    made = [updating.pack(tree, tree / "out", TARGET, "0.2.0", "0.1", 7, machine.key) for tree in trees]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_the_real_program_tests_itself_in_its_slot(machine: Device, tmp_path: Path) -> None:
    """The checkout's device/, with its libraries by a path file: what is asked is that program's own self-test."""
    import cv2

    home = tmp_path / "tree"
    site = home / f"lib/python{PYTHON}/site-packages"
    shutil.copytree(ROOT / "device", site / "device", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "libraries.pth").write_text(f"{Path(cv2.__file__).parents[1]}\n")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    target = Target(SUITE, ARCHES["arm64"])
    for name, spoil in (("good", None), ("bad", site / "device/frames/benign.png")):
        if spoil is not None:
            shutil.copy(site / "device/frames/normal.png", spoil)  # another answer than the recorded one
        file = updating.pack(home, tmp_path / name, target, "0.2.0", "0.1", 7, machine.key)
        with open(file, "rb") as stream:
            if spoil is None:
                slots.install(stream, machine.place, machine.keys, machine.machine())
                running = slots.in_force(machine.place)
                assert running is not None
                continue
            with pytest.raises(UserError, match="self-test failed"):
                slots.install(stream, machine.place, machine.keys, machine.machine())
        assert slots.in_force(machine.place) == running
