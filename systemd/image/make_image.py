"""Builds an image of busi-kd for the card of a Raspberry Pi 3, 4 or Zero 2 W: `make image`.

Needs a Debian 12 or 13 and root: Debian's own programs for arm64 are run, on another processor by QEMU. The finished
image is checked (table, file systems, accounts, size) before it gets its name. Research use only.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # busi-kd need not be installed where it is packaged
sys.path.insert(2, str(Path(__file__).resolve().parents[1] / "package"))

import archive
import debian_root
import filesystems
import image_checks
import partitions
import pi_firmware
import root_tree
import wheels
from build import build_date
from emulation import EMULATOR, emulated
from partitions import MIB
from target import ARCHES, ROOT, SUITES, Target

from device import RESEARCH_NOTICE, files
from device.errors import UserError

CACHE = ROOT / ".cache"
NAME = "busi-kd-pi.img"
ROOT_BYTES = {True: 2560 * MIB, False: 1280 * MIB}  # with and without a browser; fixed (partitions.py)
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "sfdisk": "fdisk",
    "fdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "xz": "xz-utils",
    "dpkg-deb": "dpkg",
    "unshare": "util-linux",
    "systemctl": "systemd",
}


def main(arguments: list[str] | None = None) -> int:
    """Build the image that the options ask for, and say what came of it. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    add = parser.add_argument
    add("--suite", choices=SUITES, default="bookworm", help="of Debian (default: bookworm)")
    add("--without-kiosk", action="store_true", help="no browser for the unit's own screen: smaller")
    add("--serial", action="store_true", help="a console on the serial port, where nobody can log in, either")
    add("--fresh", action="store_true", help="fetch Debian anew, with its newest updates")
    add("--compression", choices=("xz", "none"), default="xz", help="none: leave the image as it is (default: xz)")
    add("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="where the image goes (default: dist)")
    add("--cache", type=Path, default=CACHE, metavar="DIR", help="where Debian and wheels are kept (default: .cache)")
    add("--source", type=Path, default=ROOT, metavar="DIR", help="the checkout to be packaged (default: this one)")
    args = parser.parse_args(arguments)
    try:
        build(args)
    except UserError as error:
        print(f"make image: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def build(args: argparse.Namespace) -> Path:
    """The finished image, or its compressed form. Raises UserError."""
    _ready()
    target, kiosk, built = Target(SUITES[args.suite], ARCHES["arm64"]), not args.without_kiosk, build_date(args.source)
    said = _Said()
    with tempfile.TemporaryDirectory(prefix="busi-kd-image-") as folder, emulated():
        work = Path(folder)
        package = archive.build(
            target, args.source, wheels.fetch(target, args.cache / "deb"), work, work / "deb", built, "none"
        )
        said(f"{package.name} is packed")
        recipe = debian_root.Recipe(args.suite, kiosk, f"python{target.suite.python}")
        base = debian_root.tarball(recipe, args.cache / "image", args.fresh, built)
        root = work / "root"
        root_tree.unpack(base, root)
        said(f"Debian {target.suite.number} for arm64 is there")
        version = root_tree.install(root, package)
        kernel = root_tree.finish(root, kiosk, built)
        said(f"busi-kd {version} is installed, with Linux {kernel}")
        folders = filesystems.Folders(work / "firmware", root, work / "data")
        pi_firmware.gather(root, kernel, folders.firmware, args.serial)
        root_tree.empty(root, folders.data)
        layout = partitions.layout(ROOT_BYTES[kiosk])
        image = work / NAME
        filesystems.assemble(folders, layout, image, work, built)
        for what, found in image_checks.check(image, layout, work):
            print(f"\n{what}\n  {found.replace(chr(10), f'{chr(10)}  ')}", flush=True)
        return _keep(image, args, said)


def _keep(image: Path, args: argparse.Namespace, said: "_Said") -> Path:
    """Give the checked image its place and say what it is."""
    args.out.mkdir(parents=True, exist_ok=True)
    done = args.out / NAME
    if args.compression == "none":
        aside = done.with_name(f".{NAME}.new")
        with open(aside, "wb") as stream:
            stream.truncate(image.stat().st_size)
        filesystems.copy_sparse(image, 0, aside, 0, image.stat().st_size)
        os.replace(aside, done)
    else:
        done = done.with_name(f"{NAME}.xz")
        filesystems.compress(image, done)
        try:
            print(f"\nIt can be unpacked, and is small enough.\n  {image_checks.compressed(done)}")
        except UserError:
            done.unlink()
            raise
    said("done")
    print(f"\n{done}: {done.stat().st_size / 1e6:.1f} MB, {image.stat().st_size / 1e6:.0f} MB on the card")
    print(f"SHA-256 {files.sha256_file(done)}")
    print(RESEARCH_NOTICE)
    return done


class _Said:
    """Says what was done, and how long it all has taken so far."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"{time.monotonic() - self._since:5.0f} s  {what}", flush=True)


def _ready() -> None:
    """Raise UserError unless this machine can make an image."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise UserError("an image is made on Debian, by root: its files belong to many users. Say sudo make image.")
    programs = dict(PROGRAMS) | ({} if os.uname().machine == "aarch64" else {EMULATOR: "qemu-user-static"})
    missing = root_tree.missing(programs)
    if missing:
        raise UserError(f"programs are missing; run: apt install {' '.join(missing)}")


if __name__ == "__main__":
    sys.exit(main())
