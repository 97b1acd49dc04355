"""The firmware's partition: what the Raspberry Pi's own processor reads first, then kernel and initramfs.

Names and directives: Raspberry Pi documentation, "config.txt" and "The boot folder". Kernel and device trees are
Debian's, which are the mainline kernel's.
"""

import shutil
from pathlib import Path

from partitions import ROOT, partuuid

from device.errors import UserError

# Of the Pi 3 and Zero 2 W (start.elf), and of the Pi 4 (start4.elf).
NEEDED = ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat")
_LICENCE = "usr/share/doc/raspi-firmware/copyright"  # it allows to pass the files on, with itself
# Board: device tree of the mainline kernel, and other names by which releases of the firmware ask for it.
TREES = {
    "bcm2837-rpi-3-b.dtb": ("bcm2710-rpi-3-b.dtb",),
    "bcm2837-rpi-3-b-plus.dtb": ("bcm2710-rpi-3-b-plus.dtb",),
    "bcm2837-rpi-3-a-plus.dtb": ("bcm2710-rpi-3-a-plus.dtb",),
    "bcm2837-rpi-zero-2-w.dtb": ("bcm2837-rpi-zero-2.dtb", "bcm2710-rpi-zero-2-w.dtb", "bcm2710-rpi-zero-2.dtb"),
    "bcm2711-rpi-4-b.dtb": (),
    "bcm2711-rpi-400.dtb": (),
}
CONFIG = """\
# How the Raspberry Pi starts busi-kd's image. Research use only. Not a medical device, never a diagnosis.
arm_64bit=1
# Debian's kernel has the device trees of the mainline kernel.
upstream_kernel=1
kernel=vmlinuz
initramfs initrd.img followkernel

# The processor's own timer starts the machine again when systemd no longer answers.
dtparam=watchdog=on
# The serial console on pins 8 and 10.
enable_uart={serial:d}

# An HDMI bridge (TC358743) on the camera's connector. Debian 12's kernel has no driver for that connector, so this
# alone does not make it work: use a USB grabber, or Raspberry Pi OS (docs/install.md).
#dtoverlay=tc358743
"""


def command_line(serial: bool) -> str:
    """The kernel's: cmdline.txt, one line. serial: with a console there."""
    words = ["console=serial0,115200"] if serial else []
    words += ["console=tty1", f"root=PARTUUID={partuuid(ROOT)}", "rootfstype=ext4", "ro", "rootwait", "fsck.repair=yes"]
    # MemoryMax of the units needs the memory controller; the screen's buffers need memory in one piece.
    words += ["cgroup_enable=memory", "cma=128M", "panic=10"]
    words += [] if serial else ["quiet", "loglevel=3", "vt.global_cursor_default=0"]
    return " ".join(words) + "\n"


def gather(root: Path, kernel: str, into: Path, serial: bool) -> None:
    """Fill the folder `into` with the partition's files, and take kernel and initramfs out of the tree.

    Raises UserError when a file is not there, or the kernel is none that the firmware can start.
    """
    into.mkdir()
    blobs = next(
        (root / lib / "raspi-firmware" for lib in ("usr/lib", "lib") if (root / lib / "raspi-firmware").is_dir()), None
    )
    if blobs is None or any(not (blobs / name).is_file() for name in NEEDED):
        raise UserError(f"the tree has no whole raspi-firmware ({', '.join(NEEDED)}); make it anew (--fresh).")
    for path in sorted(blobs.iterdir()):
        if path.is_file() and "db." not in path.name:  # those are for who debugs the firmware
            shutil.copyfile(path, into / path.name)
    shutil.copyfile(root / _LICENCE, into / "LICENCE.txt")
    trees = root / f"usr/lib/linux-image-{kernel}/broadcom"
    for name, others in TREES.items():
        if not (trees / name).is_file():
            raise UserError(f"Debian's kernel {kernel} has no device tree {name}.")
        for one in (name, *others):
            shutil.copyfile(trees / name, into / one)
    check_kernel(root / f"boot/vmlinuz-{kernel}")
    shutil.move(root / f"boot/vmlinuz-{kernel}", into / "vmlinuz")
    shutil.move(root / f"boot/initrd.img-{kernel}", into / "initrd.img")
    (into / "config.txt").write_text(CONFIG.format(serial=serial))
    (into / "cmdline.txt").write_text(command_line(serial))


def check_kernel(file: Path) -> None:
    """Raise UserError unless it is an arm64 Image, plain or in gzip (Linux, Documentation/arm64/booting.rst)."""
    with open(file, "rb") as stream:
        head = stream.read(64)
    if head[56:60] != b"ARM\x64" and head[:2] != b"\x1f\x8b":
        raise UserError(f"{file.name} is no arm64 Image, and the Pi's firmware cannot start it.")
