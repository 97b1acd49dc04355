"""A 64-bit Arm userland to run the device's code in, emulated by QEMU: fetched once, kept in `.cache/arm`.

Nothing is installed and no root is needed: apt unpacks Debian's arm64 Python and the emulator into the cache with
folders of its own, pip adds the aarch64 wheels that constraints.txt pins.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fetching import ROOT, apt_get, download, kept, recipe_name, run, unpack

from device.errors import UserError

CACHE = ROOT / ".cache" / "arm"
OFF = "BUSI_KD_SKIP_ARM"  # the environment variable that skips these tests
MEND = f"see docs/arm.md, or set {OFF}=1 to go without"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# apt adds what they depend on: some 40 packages, 16 MB.
DEBIAN = (f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib", "libstdc++6", "zlib1g")
EMULATOR = "qemu-user-static"
WHEELS = ("ai-edge-litert", "linuxpy", "numpy", "opencv-python-headless")
_GLIBC = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")

# QEMU 7.2 shows the host's /proc/cpuinfo, on which LiteRT crashes: part number, revision and features as the boards
# say them, for four cores.
CPUS = {
    "cortex-a72": ("0xd08", "r0p3", "fp asimd evtstrm crc32 cpuid"),  # Raspberry Pi 4
    "cortex-a76": (  # Raspberry Pi 5
        "0xd0b",
        "r4p1",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
_CORES = 4


@dataclass(frozen=True)
class Machine:
    """A prepared userland: `folder` holds the emulator, the unpacked packages, the wheels and a view per CPU."""

    folder: Path

    def run(self, cpu: str, *arguments: str | Path) -> str:
        """Run the Arm's Python on the CPU model `cpu` with this project and the wheels at hand; what it printed.

        Raises UserError with what it said when it ends with another status than 0.
        """
        command = [self.folder / "qemu-aarch64-static", "-cpu", cpu, "-L", self.folder / cpu]
        command += [self.folder / "userland" / "usr" / "bin" / PYTHON, *arguments]
        search = f"{ROOT}{os.pathsep}{self.folder / 'wheels'}"
        environment = {"PYTHONPATH": search, "LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")}
        environment |= {"PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        return run(f"the emulated {cpu}", command, MEND, environment)


def prepare(cache: Path = CACHE) -> Machine:
    """The userland in `cache`, fetched when it is not there yet. Raises UserError with what to do when it cannot be."""
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise UserError(f"Arm and x86-64 are compared on x86-64 Linux only; set {OFF}=1 on this machine.")
    return Machine(kept(cache, recipe_name(Path(__file__)), _fetch))


def _fetch(folder: Path) -> None:
    _unpack_debian(folder)
    fetch_wheels(folder / "wheels", WHEELS, ("--constraint", ROOT / "constraints.txt"))
    for cpu, (part, revision, features) in CPUS.items():
        view = folder / cpu  # what QEMU looks a path up in first; a path that is not there is the host's
        (view / "proc").mkdir(parents=True)
        for name in ("etc", "lib", "usr"):
            (view / name).symlink_to(Path("..", "userland", name))
        (view / "proc" / "cpuinfo").write_text(_cpuinfo(part, revision, features))
        # Without these, as in some containers, LiteRT leaves XNNPACK out and says nothing.
        known = view / "sys" / "devices" / "system" / "cpu"
        known.mkdir(parents=True)
        for name in ("possible", "present", "online"):
            (known / name).write_text(f"0-{_CORES - 1}\n")


def fetch_wheels(folder: Path, packages: Sequence[str], options: Sequence[str | Path]) -> None:
    """aarch64 wheels for the Arm's Python into `folder`. options: more of pip's. Raises UserError when pip fails."""
    tags = [word for platform in _GLIBC for word in ("--platform", platform)]
    tags += [word for abi in (f"cp{PYTHON[6:].replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    pip += ["--implementation", "cp", "--python-version", PYTHON[6:], *tags, "--no-compile"]
    pip += ["--target", folder, *options, *packages]
    run("pip, which fetches the aarch64 wheels", pip, MEND)


def _unpack_debian(folder: Path) -> None:
    apt = folder / "apt"
    command = apt_get(apt, MEND)
    unpack(command, apt, DEBIAN, folder / "userland", MEND)
    (package,) = download(command, apt, f"{EMULATOR}:amd64", MEND)
    run("dpkg-deb", ["dpkg-deb", "--extract", package, apt / "emulator"], MEND)
    os.replace(apt / "emulator" / "usr" / "bin" / "qemu-aarch64-static", folder / "qemu-aarch64-static")
    shutil.rmtree(apt)


def _cpuinfo(part: str, revision: str, features: str) -> str:
    variant, patch = revision[1:].split("p")
    core = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x{variant}\nCPU part\t: {part}\nCPU revision\t: {patch}\n\n"
    )
    return "".join(f"processor\t: {number}\n{core}" for number in range(_CORES))
