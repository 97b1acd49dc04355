"""A Debian 12 for Arm with a kernel, on a disk: made once by mmdebstrap (minutes), kept in `.cache/boot`.

Its programs run while it is made, by QEMU's user mode: as root the kernel is told for that time whom to ask to run
them (binfmt_misc). When it is booted it mounts the host's folder on /host and runs agent.py there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import machine
import parts
import roots
import virtual
from fetching import ROOT, apt_get, download, kept, recipe_name, run
from initrd import load_order, write_cpio
from parts import DISK, MODULES, OFF
from target import ARCHES, SUITES, Target

from device.errors import UserError

CACHE = ROOT / ".cache" / "boot"
TARGET = Target(SUITES["bookworm"], ARCHES["arm64"])
MEND = f"it needs a Debian machine, root, and apt's package sources; see tests/boot/README.md, or set {OFF}=1"
INSIDE = ("systemd-sysv", "udev", "kmod", "e2fsprogs", "mount", "libstdc++6", "v4l-utils")
SIZE = "3G"  # of the card; the file holds what is used of it
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# An ELF file, 64 bits, little endian, of type 2 or 3, for machine 183 (elf.h); F: the interpreter is opened now, so
# that it need not be there in the folder in which programs are run.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
UNNEEDED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "getty@tty1.service", "serial-getty@ttyAMA0.service"),
)
AGENT = """\
[Unit]
Description=does what the tests say, and switches off when nobody is there to say anything
[Service]
ExecStartPre=/bin/mkdir -p /host
ExecStartPre=/bin/mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144 host /host
ExecStart=/usr/bin/python3 -Bu /host/agent.py
ExecStopPost=-/bin/systemctl --no-block poweroff
Environment=LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive
[Install]
WantedBy=multi-user.target
"""
INIT = """\
#!/bin/busybox sh
# Finds the disk and starts what is on it.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /root
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r file; do $b insmod "/modules/$file"; done </modules/order
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 -o ro /dev/vda /root || exec $b sh
for one in proc sys dev; do $b mount --move /$one /root/$one; done
exec $b switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Debian:
    """folder: root.img (ext4, read only for all), initrd, vmlinuz. tools: the folder with the emulator."""

    folder: Path
    tools: Path


def prepare(cache: Path = CACHE) -> Debian:
    """The Debian in `cache`, made when it is not there yet. Raises UserError with what to do when it cannot be."""
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise UserError(f"a machine is emulated on x86-64 Linux only; set {OFF}=1 on this one.")
    tools = kept(virtual.CACHE, recipe_name(Path(parts.__file__)), parts.fetch)
    return Debian(kept(cache, recipe_name(Path(__file__)), lambda folder: _make(folder, tools)), tools)


def _make(folder: Path, tools: Path) -> None:
    """Fill `folder`. tools: of tests/vm, with the kernel and its modules."""
    if os.geteuid() != 0:
        raise UserError(f"a Debian can only be made by root: {MEND}.")
    root = folder / "root"
    with foreign_programs(machine.prepare().folder / "qemu-aarch64-static"):
        command = [roots.program("mmdebstrap"), "--mode=root", "--variant=minbase", "--skip=check/qemu"]
        command += [f"--architectures={TARGET.arch.name}", "--aptopt=Acquire::Languages none"]
        command += [f"--include=python{TARGET.suite.python},{','.join(INSIDE)}"]
        command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc-base", "doc")]
        command += [TARGET.suite.name, root, roots.mirror(TARGET.suite.name)]
        run(f"mmdebstrap, which makes a small {TARGET}", command, MEND)
        version = _add_modules(root, tools / "modules")
        run("depmod", ["chroot", root, "depmod", version], MEND)
    _settle(root)
    shutil.copy(tools / "vmlinuz", folder / "vmlinuz")
    _write_initrd(folder, tools)
    image = folder / "root.img"
    run("mke2fs", ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, image, SIZE], MEND)
    shutil.rmtree(root)


@contextmanager
def foreign_programs(emulator: Path) -> Iterator[None]:
    """While inside, this machine's kernel runs programs for Arm by `emulator`. Raises UserError where it may not."""
    name = f"busi-kd-{os.getpid()}"
    try:
        if not (BINFMT / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True, capture_output=True)
        (BINFMT / "register").write_text(f":{name}:M::{MAGIC}:{MASK}:{emulator}:FPC")
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"this machine's kernel does not run foreign programs (binfmt_misc: {error}); {MEND}."
        ) from error
    try:
        yield
    finally:
        (BINFMT / name).write_text("-1")


def _add_modules(root: Path, modules: Path) -> str:
    """Lay the kernel's modules where modprobe looks; returns the kernel's version, as they say it."""
    (one,) = modules.rglob("vivid.ko")
    version = re.search(rb"\0vermagic=([^ ]+) ", one.read_bytes())[1].decode()
    shutil.copytree(modules, root / "usr/lib/modules" / version / "kernel")
    return version


def _settle(root: Path) -> None:
    """What a machine has that was installed, and the agent's unit; not what nobody waits for here."""
    system = root / "etc/systemd/system"
    (root / "etc/fstab").write_text("/dev/vda / ext4 noatime 0 1\n")
    (root / "etc/hostname").write_text("busi-kd\n")
    (root / "etc/machine-id").write_text("b051" * 8 + "\n")
    (root / "usr/bin/python3").symlink_to(f"python{TARGET.suite.python}")  # for the scripts of this folder
    for name in UNNEEDED:
        (system / name).symlink_to("/dev/null")
    (system / "agent.service").write_text(AGENT)
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/agent.service").symlink_to("../agent.service")


def _write_initrd(folder: Path, tools: Path) -> None:
    apt = folder / "apt"
    (package,) = download(apt_get(apt, MEND), apt, "busybox-static", MEND)
    run("dpkg-deb", ["dpkg-deb", "--extract", package, apt / "busybox"], MEND)
    order = load_order(tools / "modules", (*MODULES, *DISK))
    files = [("init", INIT.encode()), ("bin/busybox", apt / "busybox/bin/busybox")]
    files += [("modules/order", "".join(f"{path.name}\n" for path in order).encode())]
    files += [(f"modules/{path.name}", path) for path in order]
    write_cpio(folder / "initrd", files)
    shutil.rmtree(apt)
