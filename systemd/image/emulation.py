"""Running the image's own programs on this machine: chroot, and for another processor the kernel's binfmt_misc."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from device.errors import UserError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EMULATOR = "qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
_NAME = "qemu-aarch64"
# ELF, 64 bit, little-endian, a program or a library, for AArch64 (elf.h); F: the kernel opens the emulator now, so that
# it is found inside of a chroot (Linux, Documentation/admin-guide/binfmt-misc.rst).
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def run(command: Sequence[str | Path], mend: str, more: dict[str, str] | None = None, told: str | None = None) -> str:
    """Run a command that must succeed; what it printed. told: its standard input. Raises UserError with the last of
    what it said, and `mend`, the way out."""
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **(more or {})}
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=environment, input=told or "", capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise UserError(f"{words[0]}: cannot be started ({error.strerror}); {mend}.") from error
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout).split())[-600:]
        raise UserError(f"{words[0]} failed with status {done.returncode}; {mend}. It said: {said}")
    return done.stdout


def inside(root: Path, *command: str) -> str:
    """Run a command in the tree `root`, with a /proc of its own. Raises UserError."""
    apart = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc"]
    cleared = ["env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"]
    mend = "see what it said; the image is made by root, who may mount and chroot"
    return run([*apart, "chroot", root, *cleared, *command], mend)


@contextmanager
def emulated() -> Iterator[None]:
    """While it lasts, the kernel starts programs for arm64. What it changed of the machine is put back afterwards."""
    if platform.machine() == "aarch64" or (BINFMT / _NAME).exists():
        yield
        return
    program = shutil.which(EMULATOR, path=PATH)
    if program is None:
        raise UserError(f"{EMULATOR} is missing; run: apt install qemu-user-static")
    mounted = not (BINFMT / "register").exists()
    if mounted:
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], "the image is made by root, on Linux")
    try:
        _write(BINFMT / "register", f":{_NAME}:M::{_MAGIC}:{_MASK}:{program}:FPC")
        try:
            yield
        finally:
            _write(BINFMT / _NAME, "-1")
    finally:
        if mounted:
            run(["umount", BINFMT], "unmount it by hand")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); the kernel must know binfmt_misc, or install and start "
            "qemu-user-static's own registration (systemctl restart systemd-binfmt)."
        ) from error
