"""From a Debian with busi-kd's package to the root and the first data of the image: files, units, settings."""

import re
import shutil
from pathlib import Path

import debian_root
from emulation import PATH, inside, run
from partitions import FIRMWARE, ROOT, partuuid

from device.config import read
from device.errors import UserError

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
CONFIG = "etc/busi-kd/config.toml"
# What the image says otherwise than the package: a grabber is what it is for, and the page is how it is used.
SETTINGS = {("source", "kind"): '"v4l2"', ("page", "enabled"): "true"}
UNITS = ("busi-kd-admin.socket", "busi-kd-page.service", "busi-kd-grow.service")
KIOSK_UNITS = ("busi-kd-kiosk.service",)
MASKED = (
    # They would ask at a terminal.
    "systemd-firstboot.service",
    "getty@tty1.service",
    # Root is read-only, and there is no network.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
)
# Written at run time; what the build has left there is nobody's.
_EMPTIED = ("var/cache", "var/log", "var/lib/apt/lists", "var/tmp", "tmp", "run", "dev", "boot")
_REMOVED = ("var/lib/systemd/random-seed", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf")
_MOUNT_POINTS = (
    *("data", "boot/firmware", "media", "tmp", "run", "dev", "proc", "sys"),
    *("var/log/journal", "var/tmp", "var/lib/busi-kd-kiosk"),
)
SOURCES = "# This unit needs no network and fetches nothing. Put your own package sources here (sources.list(5)).\n"
FSTAB = f"""\
# The initramfs has mounted the data partition on /data, and /etc and /var as overlays whose changes go there
# (/usr/share/initramfs-tools/scripts/local-bottom/busi-kd). Root and the firmware's partition stay read-only.
PARTUUID={partuuid(ROOT)}  /                       ext4   ro,noatime                               0 0
PARTUUID={partuuid(FIRMWARE)}  /boot/firmware          vfat   ro,nofail,nosuid,nodev,noexec,umask=0077 0 0
/data/busi-kd         /var/lib/busi-kd        none   bind                                     0 0
/data/journal         /var/log/journal        none   bind                                     0 0
tmpfs                 /tmp                    tmpfs  nosuid,nodev,mode=1777,size=25%          0 0
tmpfs                 /media                  tmpfs  nosuid,nodev,noexec,mode=0755,size=1M    0 0
tmpfs                 /var/lib/busi-kd-kiosk  tmpfs  nosuid,nodev,mode=0700,size=25%          0 0
"""


# Of busi-kd's users and groups: the same in every image, for a data partition outlives the root beside it.
NUMBERS = {"busi-kd": 890, "busi-kd-kiosk": 891, "i2c": 892}


def numbered(sysusers: str) -> str:
    """The package's sysusers.d file with these numbers. Raises UserError for a user that has none."""

    def number(line: re.Match) -> str:
        if line[2] not in NUMBERS:
            raise UserError(f"sysusers.conf makes {line[2]}, which has no number in systemd/image/root_tree.py.")
        return f"{line[1]}{line[2]} {NUMBERS[line[2]]}"

    return re.sub(r"^([ug] )(\S+) +-", number, sysusers, flags=re.MULTILINE)


def unpack(tarball: Path, root: Path) -> None:
    """The kept Debian in the new folder `root`, with its owners, by root alone."""
    root.mkdir(parents=True)
    run(["tar", "--extract", "--numeric-owner", "--file", tarball, "--directory", root], "the image is made by root")


def install(root: Path, package: Path) -> str:
    """Install busi-kd's package there; its version. Raises UserError."""
    shutil.copy(package, root / "package.deb")
    (root / "etc/sysusers.d").mkdir(exist_ok=True)
    (root / "etc/sysusers.d/busi-kd.conf").write_text(numbered((HERE.parent / "sysusers.conf").read_text()))
    try:
        inside(root, "dpkg", "--install", "/package.deb")
    finally:
        (root / "package.deb").unlink()
    return inside(root, "dpkg-query", "--show", "--showformat=${Version}", "busi-kd").strip()


def finish(root: Path, kiosk: bool, built: int) -> str:
    """Lay the image's own files into the tree, switch its units on, make the initramfs; the kernel's version.

    Raises UserError, also where the tree holds what an image must not have.
    """
    copy_files(FILES, root)
    (root / debian_root.HOOK).unlink(missing_ok=True)
    (root / "etc/fstab").write_text(FSTAB)
    (root / "etc/apt/sources.list").write_text(SOURCES)
    config = root / CONFIG
    config.write_text(settle(config.read_text(), SETTINGS))
    read.read(config)  # an image whose settings are refused would be of no use
    switch(root, (*UNITS, *(KIOSK_UNITS if kiosk else ())))
    kernel = kernel_of(root)
    inside(root, "update-initramfs", "-c", "-k", kernel)
    return kernel


def copy_files(source: Path, root: Path) -> None:
    """Every file of a folder, root's; the initramfs's scripts may be run."""
    for path in sorted(source.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        to = root / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        to.chmod(0o755 if {"hooks", "scripts"} & set(to.parts) else 0o644)


def settle(text: str, settings: dict[tuple[str, str], str]) -> str:
    """The shipped configuration file with these keys (section, name) no longer in comments. Raises UserError."""
    for (section, name), value in settings.items():
        pattern = rf"^#?\[{section}\]\n((?:(?!^#?\[).*\n)*?)#?{name} = .*\n"
        new, times = re.subn(pattern, lambda found, s=section, n=name, v=value: f"[{s}]\n{found[1]}{n} = {v}\n", text,
                             count=1, flags=re.MULTILINE)  # fmt: skip
        if times != 1:
            raise UserError(f"the shipped config.toml has no {section}.{name}; systemd/image/root_tree.py names it.")
        text = new
    return text


def switch(root: Path, units: tuple[str, ...]) -> None:
    """Switch units on and the masked ones off, as systemctl does it in a tree that does not run."""
    mend = "the image's units must have an [Install] section"
    run(["systemctl", f"--root={root}", "enable", *units], mend)
    run(["systemctl", f"--root={root}", "mask", *MASKED], mend)


def kernel_of(root: Path) -> str:
    """The version of the one kernel that is installed. Raises UserError."""
    found = sorted(path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise UserError(f"the tree has {len(found)} kernels ({', '.join(found)}), and not one; make it anew (--fresh).")
    return found[0]


def empty(root: Path, data: Path) -> None:
    """Take out of the tree what belongs to one unit alone, and put busi-kd's first data into the folder `data`.

    Called when the kernel is out of it, too. An empty machine-id has systemd make one at the first boot.
    """
    for name in _EMPTIED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.rmtree(root / "root/.ssh", ignore_errors=True)  # an empty folder, of base-files
    for name in _REMOVED:
        (root / name).unlink(missing_ok=True)
    for name in _MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "var/tmp").chmod(0o1777)
    (root / "data").chmod(0o700)
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("busi-kd\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost busi-kd\n::1 localhost ip6-localhost ip6-loopback\n")
    data.mkdir(mode=0o755)
    run(["cp", "--archive", root / "var/lib/busi-kd", data / "busi-kd"], "the image is made by root")
    (data / "journal").mkdir(mode=0o755)
    shutil.chown(data / "journal", group=group_id(root, "systemd-journal"))
    (data / "journal").chmod(0o2755)


def group_id(root: Path, name: str) -> int:
    """The number of a group of the tree. Raises UserError."""
    for line in (root / "etc/group").read_text().splitlines():
        words = line.split(":")
        if words[0] == name:
            return int(words[2])
    raise UserError(f"the tree has no group {name}; make it anew (--fresh).")


def missing(programs: dict[str, str]) -> list[str]:
    """The packages of the programs that this machine has not."""
    return sorted({package for name, package in programs.items() if shutil.which(name, path=PATH) is None})
