"""The partitions of the image, as sfdisk and the kernel understand them, and the files that lie in it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import debian_root
import filesystems
import grow
import partitions
import pi_firmware
import pytest
import root_tree
from emulation import run
from hypothesis import given, settings
from hypothesis import strategies as st
from partitions import ALIGN, DATA, FIRMWARE, MIB, ROOT, SECTOR, Layout, partuuid

from device.config import read
from device.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
SIZES = st.integers(1, 3 << 30)


def by_sfdisk(image: Path) -> dict:
    return json.loads(run(["sfdisk", "--json", image], "sfdisk could not read it"))["partitiontable"]


def written(layout: Layout, image: Path) -> Path:
    """An image of zeros with the table alone."""
    with open(image, "wb") as stream:
        stream.truncate(layout.size)
    run(["sfdisk", "--quiet", image], "sfdisk could not write it", told=layout.script())
    return image


@given(SIZES, SIZES, SIZES)
def test_partitions_lie_one_behind_the_other(root: int, firmware: int, data: int) -> None:
    made = partitions.layout(root, firmware, data)
    assert [one.number for one in made.partitions] == [FIRMWARE, ROOT, DATA]
    for one, size in zip(made.partitions, (firmware, root, data)):
        assert one.start % ALIGN == one.size % ALIGN == 0
        assert size <= one.size < size + ALIGN
    for one, following in zip(made.partitions, made.partitions[1:]):
        assert one.end == following.start
    assert made.partitions[0].start > 0
    assert made.size == made.partitions[-1].end


def test_what_an_mbr_cannot_say_is_refused() -> None:
    for wrong in (0, -1, 1 << 41):
        with pytest.raises(ValueError):
            partitions.layout(wrong)


def test_sfdisk_and_the_growing_read_the_table_as_it_was_meant(tmp_path: Path) -> None:
    made = partitions.layout(70 * MIB, 40 * MIB, 9 * MIB)
    image = written(made, tmp_path / "image")
    told = by_sfdisk(image)
    assert (told["label"], int(told["id"], 16)) == ("dos", partitions.DISK_ID)
    assert [(one["start"] * SECTOR, one["size"] * SECTOR, int(one["type"], 16)) for one in told["partitions"]] == [
        (4 * MIB, 40 * MIB, 0x0C),
        (44 * MIB, 72 * MIB, 0x83),
        (116 * MIB, 12 * MIB, 0x83),
    ]
    with open(image, "rb") as stream:
        entries = grow.entries(stream.read(SECTOR))
    assert [(one[4] * SECTOR, one[5] * SECTOR) for one in entries[:3]] == [
        (one.start, one.size) for one in made.partitions
    ]
    assert entries[3][2] == 0


def test_the_kernel_and_fstab_look_for_the_partitions_that_the_image_has() -> None:
    assert (partuuid(FIRMWARE), partuuid(ROOT)) == ("62757369-01", "62757369-02")
    for serial in (False, True):
        line = pi_firmware.command_line(serial)
        assert line.count("\n") == 1
        assert line.endswith("\n")
        words = line.split()
        assert {"root=PARTUUID=62757369-02", "ro", "rootwait"} < set(words)
        assert ("console=serial0,115200" in words) == serial
        assert f"enable_uart={int(serial)}\n" in pi_firmware.CONFIG.format(serial=serial)
    mounts = [line.split() for line in root_tree.FSTAB.splitlines() if not line.startswith("#")]
    assert all(len(words) == 6 for words in mounts)
    where = {words[1]: words for words in mounts}
    assert where["/"][0] == "PARTUUID=62757369-02"
    assert "ro" in where["/"][3].split(",")
    assert "ro" in where["/boot/firmware"][3].split(",")
    for place in ("/tmp", "/media", "/boot/firmware", "/var/lib/busi-kd-kiosk"):
        assert {"nosuid", "nodev"} <= set(where[place][3].split(","))
    assert where["/var/lib/busi-kd"][0].startswith("/data/")
    assert where["/var/log/journal"][0].startswith("/data/")
    # Each needs a folder to be mounted on, which a read-only root must have.
    assert {place.lstrip("/") for place in where} - {"", "var/lib/busi-kd"} <= set(root_tree._MOUNT_POINTS)


def test_the_settings_of_the_image_are_read_and_are_the_shipped_ones_but_for_what_it_names(tmp_path: Path) -> None:
    shipped = (CHECKOUT / "systemd/config.toml").read_text()
    file = tmp_path / "config.toml"
    file.write_text(root_tree.settle(shipped, root_tree.SETTINGS))
    assert read.read(file).values == {"source.kind": "v4l2", "page.enabled": True}
    assert len(file.read_text().splitlines()) == len(shipped.splitlines())
    again = root_tree.settle(file.read_text(), root_tree.SETTINGS)
    assert again == file.read_text()
    with pytest.raises(UserError, match=r"has no page\.ennabled"):
        root_tree.settle(shipped, {("page", "ennabled"): "true"})
    with pytest.raises(UserError, match=r"has no model\.enabled"):  # of another section
        root_tree.settle(shipped, {("model", "enabled"): "true"})


def test_every_user_has_the_same_number_in_each_image() -> None:
    text = root_tree.numbered((CHECKOUT / "systemd/sysusers.conf").read_text())
    made = dict(re.findall(r"^[ug] (\S+) +(\S+)", text, re.MULTILINE))
    assert made == {name: str(number) for name, number in root_tree.NUMBERS.items()}
    with pytest.raises(UserError, match="makes other, which has no number"):
        root_tree.numbered("u other - - - -\n")


def scripts() -> list[Path]:
    return [path for path in root_tree.FILES.rglob("*") if path.is_file() and path.read_text().startswith("#!/bin/sh")]


def test_the_scripts_of_the_initramfs_are_sound() -> None:
    assert {path.parent.name for path in scripts()} == {"hooks", "local-bottom"}
    for path in scripts():
        done = subprocess.run(["shellcheck", "--shell=dash", "--exclude=SC1091", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        subprocess.run(["sh", path, "prereqs"], check=True)


def test_the_units_of_the_image_are_right(tmp_path: Path) -> None:
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    shutil.copytree(root_tree.FILES / "usr", tmp_path / "usr", dirs_exist_ok=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for name in (
        "usr/bin/cat",
        "usr/lib/busi-kd/bin/python",
        "usr/lib/systemd/systemd-growfs",
        "usr/lib/systemd/systemd-sulogin-shell",
    ):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    units = [path.name for path in (root_tree.FILES / "usr/lib/systemd/system").iterdir() if path.is_file()]
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", *units, "emergency.service"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_switched_on_is_there() -> None:
    held = {path.name: path for folder in ("systemd", "systemd/image/files/usr/lib/systemd/system")
            for path in (CHECKOUT / folder).iterdir() if path.is_file()}  # fmt: skip
    for unit in (*root_tree.UNITS, *root_tree.KIOSK_UNITS):
        assert re.search(r"^\[Install\]$", held[unit].read_text(), re.MULTILINE), unit


OTHERS = (("bookworm", False), ("trixie", True))


def test_another_choice_of_packages_is_another_debian() -> None:
    one = debian_root.Recipe("bookworm", True, "python3.11")
    assert one.name == debian_root.Recipe("bookworm", True, "python3.11").name
    others = [debian_root.Recipe(suite, kiosk, "python3.11").name for suite, kiosk in OTHERS]
    assert len({one.name, *others}) == 3
    assert "chromium" in one.packages
    assert "chromium" not in debian_root.Recipe("bookworm", False, "python3.11").packages
    assert not [name for name in one.packages if "ssh" in name]
    assert not re.search(r"https?://", " ".join(one.options))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_a_sparse_copy_is_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, blocks: list[int]) -> None:
    folder = tmp_path_factory.mktemp("sparse")
    data = b"".join(bytes([kind]) * filesystems._BLOCK for kind in blocks)[: -kind_of_rest(blocks) or None]
    (folder / "source").write_bytes(data)
    with open(folder / "target", "wb") as stream:
        stream.truncate(len(data) + 1024)
    filesystems.copy_sparse(folder / "source", 0, folder / "target", 512, len(data))
    assert (folder / "target").read_bytes() == bytes(512) + data + bytes(512)


def kind_of_rest(blocks: list[int]) -> int:
    """How much shorter than whole blocks a file is, so that its end is tried as well."""
    return 1000 * blocks[0]
