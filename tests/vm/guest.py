"""The first program of a virtual machine, and what its scripts call: modules in, modules out.

As /init it mounts what there is to mount, runs the script that the kernel's command line names and switches off.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_MODULES = Path("/modules")
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF
_READ_ONLY = 1
_INIT_MODULE, _DELETE_MODULE = 105, 106  # numbers of the system calls on arm64
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def load(name: str, options: str = "") -> None:
    """Load a kernel module with all that it needs; `options` are its own, as for modprobe."""
    names = (_MODULES / f"{name}.order").read_text().split()
    for file in names:
        loaded = Path("/sys/module", file.partition(".ko")[0].replace("-", "_"))
        if not loaded.exists():
            data = (_MODULES / file).read_bytes()
            own = options if file == names[-1] else ""
            _checked(_libc.syscall(_INIT_MODULE, data, ctypes.c_ulong(len(data)), own.encode()), file)


def unload(name: str) -> None:
    """Take a kernel module out; what it needed stays."""
    _checked(_libc.syscall(_DELETE_MODULE, name.encode(), os.O_NONBLOCK), name)


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    words = [word.encode() for word in (source, target, kind)]
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def _init() -> None:
    for kind, target in (("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/tmp")):
        _mount(kind, target, kind)
    load("boot")
    for tag in ("project", "wheels", "compiled", "answers"):
        flags = 0 if tag in ("compiled", "answers") else _READ_ONLY
        _mount(tag, f"/{tag}", "9p", flags, "trans=virtio,version=9p2000.L,cache=loose,msize=262144")
    words = dict(word.partition("=")[::2] for word in Path("/proc/cmdline").read_text().split())
    environment = {"PYTHONPATH": "/project:/project/tests/vm:/wheels", "PYTHONPYCACHEPREFIX": "/compiled"}
    environment |= {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    script = f"/project/tests/vm/{words['busi.script']}"
    status = subprocess.run([sys.executable, "-u", script], env=environment, cwd="/tmp").returncode
    print(f"the script ended with {status}", flush=True)


if __name__ == "__main__":
    try:
        _init()
    finally:
        os.sync()
        _libc.reboot(ctypes.c_int(_POWER_OFF - (1 << 32) if _POWER_OFF >> 31 else _POWER_OFF))
