"""What the virtual machine is made of: Debian's own arm64 kernel, some of its modules, QEMU with its libraries."""

import os
import shutil
from pathlib import Path

from fetching import apt_get, download, run, unpack
from initrd import load_order

OFF = "BUSI_KD_SKIP_VM"  # the environment variable that skips these tests
MEND = f"see docs/capture.md, or set {OFF}=1 to go without"
EMULATOR = ("qemu-system-arm", "qemu-utils")  # the latter makes disks
KERNEL = "linux-image-arm64"  # depends on the newest kernel of the machine's own Debian
MODULES = ("virtio_pci", "9pnet_virtio", "9p")  # what every script needs
OFFERED = ("vivid", "uvcvideo", "vhci_hcd")  # what a script may load
DISK = (
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "virtio_console",
)  # besides, of one with a disk (tests/boot)


def fetch(folder: Path) -> None:
    """Fill `folder`: emulator/, vmlinuz, modules/. Raises UserError with what to do when it cannot be done."""
    apt = folder / "apt"
    command = apt_get(apt, MEND)
    unpack(command, apt, [f"{name}:amd64" for name in EMULATOR], folder / "emulator", MEND)
    depends = run("apt-cache", ["apt-cache", *command[1:], "depends", KERNEL], MEND)
    (kernel,) = (line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-"))
    (package,) = download(command, apt, kernel, MEND)
    run("dpkg-deb", ["dpkg-deb", "--extract", package, apt / "kernel"], MEND)
    (image,) = (apt / "kernel" / "boot").glob("vmlinuz-*")
    os.replace(image, folder / "vmlinuz")
    (modules,) = (apt / "kernel").glob("**/lib/modules/*/kernel")
    for path in load_order(modules, (*MODULES, *OFFERED, *DISK)):  # the other 300 MB are not kept
        kept_at = folder / "modules" / path.relative_to(modules)
        kept_at.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, kept_at)
    shutil.rmtree(apt)
