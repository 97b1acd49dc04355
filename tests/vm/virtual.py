"""A virtual Arm machine with Debian's own kernel, for what needs real drivers: fetched once, kept in `.cache/vm`.

Nothing is installed and no root is needed: apt unpacks the kernel and the emulator into the cache. The userland is the
one of tests/arm. The machine starts from memory, sees the project and the wheels over 9p, runs one script of this
folder and switches itself off; what the script writes into /answers lies in a folder of the host.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
import parts
from fetching import ROOT, kept, recipe_name
from initrd import load_order, tree, write_cpio
from parts import MODULES, OFF

from device.errors import UserError

CACHE = ROOT / ".cache" / "vm"
HERE = Path(__file__).parent
CPU = "cortex-a72"
DEADLINE_S = 400.0  # twenty times what it takes on a quiet machine


@dataclass(frozen=True)
class VirtualMachine:
    """folder: emulator, kernel and modules. arm: the userland."""

    folder: Path
    arm: machine.Machine

    def run(self, script: str, answers: Path, modules: Sequence[str] = ()) -> str:
        """Boot, run tests/vm/`script` with `answers` as /answers, and switch off; what the console said.

        modules: of parts.OFFERED, loaded when the script asks for them (guest.load). Raises UserError when the machine
        does not come to an end, or the script fails.
        """
        image = answers / "initrd"
        write_cpio(image, self._files(modules))
        (self.folder / "compiled").mkdir(exist_ok=True)
        command = [
            *program(self.folder, "qemu-system-aarch64"),
            "-L",
            self.folder / "emulator" / "usr" / "share" / "qemu",
        ]
        command += ["-M", "virt", "-cpu", CPU, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536"]
        command += ["-nographic", "-no-reboot", "-nic", "none", "-kernel", self.folder / "vmlinuz", "-initrd", image]
        command += ["-append", f"console=ttyAMA0 loglevel=4 panic=-1 busi.script={script}"]
        shares = {"project": ROOT, "wheels": self.arm.folder / "wheels", "compiled": self.folder / "compiled"}
        for tag, path in (shares | {"answers": answers}).items():
            lock = "" if tag in ("compiled", "answers") else ",readonly=on"
            command += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none{lock}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")[-3000:]
            raise UserError(f"the virtual machine did not end within {DEADLINE_S:g} s; it said: {said}") from error
        finally:
            image.unlink()
        said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        if done.returncode or "the script ended with 0" not in said:
            raise UserError(f"the virtual machine's {script} failed; the console said: {said[-6000:]}")
        return said

    def _files(self, modules: Sequence[str]) -> list:
        wanted = {"boot": MODULES, **{name: (name,) for name in modules}}
        orders = {name: load_order(self.folder / "modules", names) for name, names in wanted.items()}
        files = [("init", (f"#!/usr/bin/{machine.PYTHON} -BS\n" + (HERE / "guest.py").read_text()).encode())]
        for name, order in orders.items():
            files.append((f"modules/{name}.order", "\n".join(path.name for path in order).encode()))
            files += [(f"modules/{path.name}", path) for path in order]
        return [*files, *tree(self.arm.folder / "userland", ("usr/bin", "usr/lib", "lib"))]


def program(folder: Path, name: str) -> list[str | Path]:
    """The beginning of a command that runs a program of the emulator's packages in `folder`.

    They come with all their libraries, the linker included: nothing of it need fit this machine's.
    """
    root = folder / "emulator"
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    return [root / "lib64" / "ld-linux-x86-64.so.2", "--library-path", libraries, root / "usr" / "bin" / name]


def prepare(cache: Path = CACHE) -> VirtualMachine:
    """The machine in `cache`, fetched when it is not there yet. Raises UserError with what to do when it cannot be."""
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise UserError(f"the virtual Arm machine runs on x86-64 Linux only; set {OFF}=1 on this machine.")
    return VirtualMachine(kept(cache, recipe_name(Path(parts.__file__)), parts.fetch), machine.prepare())
