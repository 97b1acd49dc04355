"""The image in an emulated Raspberry-like machine: QEMU's `virt` board with the image's own kernel, initramfs and card.

QEMU is fetched once, into `.cache/qemu`. What the guest is to do is a unit that is put onto the card's data partition,
and a folder of the host, seen over 9p; nothing else of the image is changed.
"""

import json
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emulation import run
from fetching import ROOT, apt_get, kept, recipe_name, unpack
from filesystems import copy_sparse
from partitions import DATA, FIRMWARE, MIB, Layout

CACHE = ROOT / ".cache" / "qemu"
MEND = "it needs Debian's apt; see docs/image.md"
UNIT = """\
[Unit]
Description=what the host wants to be looked at
After=local-fs.target
[Service]
Type=simple
ExecStartPre=/bin/mount -t 9p -o trans=virtio,version=9p2000.L host /mnt
ExecStart=/usr/lib/busi-kd/bin/python -I /mnt/look.py
"""
# An emulated processor takes some twenty times as long as a real one until the first verdict.
SLOW = """\
[Service]
TimeoutStartSec=900
TimeoutStopSec=120
WatchdogSec=600
"""
_SYSTEM = "/etc/upper/systemd/system"
_COMMANDS = (
    *(f"mkdir {place}" for place in ("/etc", "/etc/upper", "/etc/upper/systemd", _SYSTEM)),
    f"mkdir {_SYSTEM}/multi-user.target.wants",
    "write {unit} " + f"{_SYSTEM}/look.service",
    f"mkdir {_SYSTEM}/busi-kd.service.d",
    "write {slow} " + f"{_SYSTEM}/busi-kd.service.d/90-slow.conf",
    f"symlink {_SYSTEM}/multi-user.target.wants/look.service ../look.service",
)


@dataclass
class Card:
    """An image on a card that is larger, in `folder`, with kernel and initramfs beside it."""

    image: Path
    layout: Layout
    folder: Path
    command_line: str

    def data(self) -> Path:
        """A copy of its data partition, as large as the table says now."""
        told = json.loads(run(["sfdisk", "--json", self.image], "no sfdisk"))["partitiontable"]["partitions"]
        one, file = told[DATA - 1], self.folder / "data-now"
        file.unlink(missing_ok=True)
        with open(file, "wb") as stream:
            stream.truncate(one["size"] * 512)
        copy_sparse(self.image, one["start"] * 512, file, 0, one["size"] * 512)
        return file


def insert(image: Path, layout: Layout, folder: Path, size: int) -> Card:
    """A copy of the image on a card of `size` bytes, with the unit that looks."""
    card = folder / "card"
    with open(card, "wb") as stream:
        stream.truncate(size)
    copy_sparse(image, 0, card, 0, layout.size)
    _add_unit(card, layout, folder)
    at = f"{card}@@{layout.of(FIRMWARE).start}"
    for name in ("vmlinuz", "initrd.img"):
        (folder / name).unlink(missing_ok=True)
        run(["mcopy", "-i", at, f"::{name}", folder / name], "no mcopy")
    return Card(card, layout, folder, run(["mtype", "-i", at, "::cmdline.txt"], "no cmdline.txt").strip())


def _add_unit(card: Path, layout: Layout, folder: Path) -> None:
    part, one, unit, slow = folder / "part", layout.of(DATA), folder / "look.service", folder / "slow.conf"
    with open(part, "wb") as stream:
        stream.truncate(one.size)
    copy_sparse(card, one.start, part, 0, one.size)
    unit.write_text(UNIT)
    slow.write_text(SLOW)
    run(["debugfs", "-w", "-f", "-", part], "no debugfs", told="\n".join(_COMMANDS).format(unit=unit, slow=slow) + "\n")
    run(["e2fsck", "-f", "-n", part], "debugfs left it damaged")
    copy_sparse(part, 0, card, one.start, one.size)
    part.unlink()


@dataclass
class Machine:
    """A machine that runs. console: a file. lines: (seconds since it was switched on, line) of its console."""

    process: subprocess.Popen
    console: Path
    since: float = field(default_factory=time.monotonic)
    lines: list[tuple[float, str]] = field(default_factory=list)
    said: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        """Take in the console until it ends; it also goes to a file, so that one can look on."""
        with open(self.console, "w", buffering=1) as kept_in:
            for line in self.process.stdout:
                with self.said:
                    self.lines.append((time.monotonic() - self.since, line.rstrip()))
                    self.said.notify_all()
                kept_in.write(f"{self.lines[-1][0]:7.1f} {line}")

    def wait_for(self, part: str, within_s: float) -> bool:
        """Whether a line with `part` has come."""

        def come() -> bool:
            return any(part in line for _, line in self.lines) or self.process.poll() is not None

        with self.said:
            self.said.wait_for(come, within_s)
            return any(part in line for _, line in self.lines)

    def cut_power(self) -> None:
        """At once, whatever it was doing."""
        self.process.kill()
        self.process.wait()

    def off(self, within_s: float) -> bool:
        """Whether it has switched itself off; if not, its power is cut."""
        try:
            self.process.wait(within_s)
            return True
        except subprocess.TimeoutExpired:
            self.cut_power()
            return False


def fetch(folder: Path) -> None:
    """QEMU with all its libraries, for this machine."""
    unpack(apt_get(folder / "apt", MEND), folder / "apt", ["qemu-system-arm:amd64"], folder / "emulator", MEND)
    shutil.rmtree(folder / "apt")


def switch_on(card: Card, host: Path, stick: Path | None = None, more: str = "", memory: str = "1024") -> Machine:
    """Boot the card. host: the folder that it sees as /mnt. stick: an image that is plugged in by USB."""
    root = kept(CACHE, recipe_name(Path(__file__)), fetch) / "emulator"
    command = [root / "lib64/ld-linux-x86-64.so.2", "--library-path"]
    command += [f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"]
    command += [root / "usr/bin/qemu-system-aarch64", "-L", root / "usr/share/qemu"]
    command += [
        "-M",
        "virt,gic-version=3",
        "-cpu",
        "cortex-a72",
        "-accel",
        "tcg,thread=multi",
        "-smp",
        "2",
        "-m",
        memory,
    ]
    command += ["-nographic", "-no-reboot", "-nic", "none"]
    command += ["-kernel", card.folder / "vmlinuz", "-initrd", card.folder / "initrd.img"]
    # As on a Pi, but for the console, which is here a serial one, and the browser: there is no screen.
    line = card.command_line.replace("console=tty1", "console=ttyAMA0").replace(" quiet loglevel=3", " loglevel=4")
    command += ["-append", f"{line} systemd.show_status=1 systemd.mask=busi-kd-kiosk.service {more}"]
    command += ["-drive", f"if=none,id=card,file={card.image},format=raw,cache=writeback"]
    command += ["-device", "virtio-blk-pci,drive=card"]
    command += ["-virtfs", f"local,path={host},mount_tag=host,security_model=none"]
    if stick is not None:
        command += ["-device", "qemu-xhci,id=usb", "-drive", f"if=none,id=stick,file={stick},format=raw"]
        command += ["-device", "usb-storage,bus=usb.0,drive=stick,removable=on"]
    machine = Machine(
        subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ),
        host / "console",
    )  # fmt: skip
    threading.Thread(target=machine.listen, daemon=True).start()
    return machine


def a_stick(file: Path, mib: int = 64) -> Path:
    """A memory stick with FAT32 and one file."""
    with open(file, "wb") as stream:
        stream.truncate(mib * MIB)
    run(["mkfs.vfat", "-F", "32", "-n", "CLINIC", file], "no mkfs.vfat")
    return file
