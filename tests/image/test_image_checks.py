"""An image is put together from small folders and passes its checks; one that is not good is refused by name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import filesystems
import image_checks
import partitions
import pi_firmware
import pytest
import root_tree
from emulation import run
from partitions import DATA, MIB, ROOT

from device.errors import UserError

BUILT = 1_700_000_000
KERNEL = "6.1.0-1-arm64"
IMAGE_MAGIC = bytes(56) + b"ARM\x64" + bytes(4)
PASSWD = "root:x:0:0:root:/root:/bin/bash\nbusi-kd:x:990:990::/var/lib/busi-kd:/usr/sbin/nologin\n"
SHADOW = "root:*:19000:0:99999:7:::\nbusi-kd:!*:19000::::::\n"


def a_tree(root: Path) -> None:
    """The few files of a root that matter here, with the package's own firmware and kernel as stand-ins by name."""
    for name, text in {
        "etc/passwd": PASSWD,
        "etc/shadow": SHADOW,
        "etc/group": "root:x:0:\nsystemd-journal:x:101:\nbusi-kd:x:990:\n",
        "etc/apt/sources.list": root_tree.SOURCES,
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        pi_firmware._LICENCE: "may be passed on",
        "var/lib/systemd/random-seed": "noise",
        "var/log/dpkg.log": "what the build has left",
        "boot/initrd.img-" + KERNEL: "the initramfs",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / f"boot/vmlinuz-{KERNEL}").write_bytes(IMAGE_MAGIC)
    for folder, names in (
        ("raspi-firmware", pi_firmware.NEEDED),
        (f"linux-image-{KERNEL}/broadcom", pi_firmware.TREES),
    ):
        (root / "usr/lib" / folder).mkdir(parents=True)
        for name in names:
            (root / "usr/lib" / folder / name).write_text(name)
    (root / "var/lib/busi-kd/app").mkdir(parents=True)
    os.chown(root / "var/lib/busi-kd", 990, 990)
    (root / "var/lib/busi-kd").chmod(0o750)


def folders_of(folder: Path) -> filesystems.Folders:
    """What becomes of the partitions, of that tree."""
    folders = filesystems.Folders(folder / "firmware", folder / "root", folder / "data")
    a_tree(folders.root)
    pi_firmware.gather(folders.root, KERNEL, folders.firmware, False)
    root_tree.empty(folders.root, folders.data)
    return folders


def changed(folder: Path, change: Callable[[Path, Path], None]) -> image_checks.Parts:
    """The two ext4 of an image after `change` of root and data."""
    folders, files = folders_of(folder), {}
    change(folders.root, folders.data)
    for number, source in ((ROOT, folders.root), (DATA, folders.data)):
        files[number] = folder / f"partition-{number}"
        filesystems.ext4(source, files[number], LAYOUT.of(number).size, number, BUILT)
    return image_checks.Parts(folder / "none", LAYOUT, files)


LAYOUT = partitions.layout(72 * MIB, 136 * MIB, 48 * MIB)  # FAT32 is not smaller with these clusters


@pytest.fixture(scope="module", autouse=True)
def by_root() -> None:
    if os.geteuid() != 0:
        pytest.fail("an image's files belong to many users: run this as root.", pytrace=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    filesystems.assemble(folders_of(folder), LAYOUT, folder / "image", folder, BUILT)
    return folder / "image"


def test_a_good_image_passes(image: Path, tmp_path: Path) -> None:
    found = [said for _, said in image_checks.check(image, LAYOUT, tmp_path)]
    assert len(found) == len(image_checks.CHECKS)
    assert "2 accounts, all locked; no ssh" in found
    assert not list(tmp_path.iterdir())


def test_what_belongs_to_one_unit_is_not_in_it(image: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with open(root, "wb") as stream:
        stream.truncate(LAYOUT.of(ROOT).size)
    filesystems.copy_sparse(image, LAYOUT.of(ROOT).start, root, 0, LAYOUT.of(ROOT).size)
    for path in ("/var/log/dpkg.log", "/var/lib/systemd/random-seed", f"/boot/vmlinuz-{KERNEL}"):
        assert not image_checks.Parts(image, LAYOUT, {ROOT: root}).there(path), path
    for path in ("/data", "/var/log/journal", "/media", "/boot/firmware"):
        assert image_checks.Parts(image, LAYOUT, {ROOT: root}).there(path), path


def test_the_firmware_finds_its_files_under_each_of_their_names(image: Path) -> None:
    at = f"{image}@@{LAYOUT.of(partitions.FIRMWARE).start}"
    held = run(["mdir", "-b", "-i", at, "::"], "no mdir")
    for name, others in pi_firmware.TREES.items():
        for one in (name, *others):
            assert run(["mtype", "-i", at, f"::{one}"], f"no {one}") == name
    assert "vmlinuz" in held
    assert "root=PARTUUID=62757369-02" in run(["mtype", "-i", at, "::cmdline.txt"], "no cmdline.txt")


def write(name: str, text: str, at: str = "root") -> Callable[[Path, Path], None]:
    def change(root: Path, data: Path) -> None:
        path = (root if at == "root" else data) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def owned_by_root(root: Path, data: Path) -> None:
    os.chown(data / "busi-kd", 0, 0)


def updates_of_others(root: Path, data: Path) -> None:
    (data / "busi-kd/app").chmod(0o777)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (write("etc/shadow", SHADOW.replace("root:*", "root:$6$salt$hash")), "the account root is not locked"),
        (write("etc/shadow", SHADOW.replace("root:*", "root:")), "the account root is not locked"),
        (write("etc/passwd", PASSWD + "pi:x:1000:1000::/home/pi:/bin/bash\n"), "accounts of people: pi"),
        (write("usr/sbin/sshd", "x"), "come in by /usr/sbin/sshd"),
        (write("root/.ssh/authorized_keys", "x"), "come in by /root/.ssh"),
        (write("etc/machine-id", "0123456789abcdef0123456789abcdef\n"), "machine-id is not empty"),
        (write("etc/apt/sources.list", "deb http://mirror.invalid bookworm main\n"), "names the package sources"),
        (write("var/lib/busi-kd-fleet/id", "x"), "has /var/lib/busi-kd-fleet"),
        (write("busi-kd/page/pin.json", "{}", "data"), "has /busi-kd/page"),
        (owned_by_root, "not busi-kd's with mode 0750"),
        (updates_of_others, "not root's with mode 0755"),
    ],
)
def test_an_image_that_is_not_good_is_refused(change: Callable[[Path, Path], None], why: str, tmp_path: Path) -> None:
    parts = changed(tmp_path, change)
    with pytest.raises(UserError, match=why):
        [one(parts) for one in image_checks.CHECKS[2:]]  # of what lies in the partitions


def damaged(image: Path, folder: Path, at: int, data: bytes) -> Path:
    copy = folder / "damaged"
    with open(copy, "wb") as stream:
        stream.truncate(LAYOUT.size)
    filesystems.copy_sparse(image, 0, copy, 0, LAYOUT.size)
    with open(copy, "r+b") as stream:
        stream.seek(at)
        stream.write(data)
    return copy


@pytest.mark.parametrize(
    ("at", "data", "why"),
    [
        (462 + 8, b"\0\x40", "the table of partitions says|sfdisk failed"),  # the start of the second partition
        (440, b"\1\2\3\4", "the disk is called"),
        (LAYOUT.of(ROOT).start + 1024 + 12, b"\0\0\0\0", "e2fsck failed"),  # free blocks of the superblock
        (LAYOUT.of(DATA).start + 1024, bytes(1024), "e2fsck failed"),
        (LAYOUT.of(partitions.FIRMWARE).start, bytes(512), "fsck.vfat failed"),
    ],
)
def test_a_damaged_image_is_refused(image: Path, at: int, data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        list(image_checks.check(damaged(image, tmp_path, at, data), LAYOUT, tmp_path))


def test_a_full_root_is_refused(tmp_path: Path) -> None:
    parts = changed(tmp_path, lambda root, data: (root / "usr/large").write_bytes(bytes(range(256)) * (MIB // 32)))
    with pytest.raises(UserError, match=r"root has \d+ MiB free"):
        image_checks.linux_partitions(parts)


def test_a_kernel_that_the_firmware_cannot_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"MZ\0\0zimg" + bytes(100))
    with pytest.raises(UserError, match="no arm64 Image"):
        pi_firmware.check_kernel(tmp_path / "vmlinuz")


def test_the_firmware_must_be_whole(tmp_path: Path) -> None:
    a_tree(tmp_path / "root")
    shutil.rmtree(tmp_path / "root/usr/lib/raspi-firmware")
    with pytest.raises(UserError, match="no whole raspi-firmware"):
        pi_firmware.gather(tmp_path / "root", KERNEL, tmp_path / "firmware", False)


def test_an_image_that_is_packed_is_unpacked_to_the_same_bytes(tmp_path: Path) -> None:
    image, packed = tmp_path / "one", tmp_path / "image.xz"
    image.write_bytes(bytes(40 * MIB) + os.urandom(MIB))  # more than one block of xz
    filesystems.compress(image, packed)
    assert image_checks.compressed(packed).endswith("MB")
    run(["xz", "--decompress", "--keep", packed], "no xz")
    run(["cmp", image, tmp_path / "image"], "they differ")
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(UserError, match="xz failed"):
        image_checks.compressed(packed)
