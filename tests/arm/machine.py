"""A 64-bit Arm userland to run the device's code in, emulated by QEMU: fetched once, kept in `.cache/arm`.

Nothing is installed and no root is needed: apt unpacks Debian's arm64 Python and the emulator into the cache with
folders of its own, pip adds the aarch64 wheels that constraints.txt pins.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from device.files import folder_beside

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "arm"
OFF = "BUSI_KD_SKIP_ARM"  # the environment variable that skips these tests
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# apt adds what they depend on: some 40 packages, 16 MB.
DEBIAN = (f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib", "libstdc++6", "zlib1g")
EMULATOR = "qemu-user-static"
WHEELS = ("ai-edge-litert", "numpy", "opencv-python-headless")
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
        return _run(
            f"the emulated {cpu}", command, environment | {"PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        )


def prepare(cache: Path = CACHE) -> Machine:
    """The userland in `cache`, fetched when it is not there yet. Raises UserError with what to do when it cannot be."""
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise UserError(f"Arm and x86-64 are compared on x86-64 Linux only; set {OFF}=1 on this machine.")
    recipe = [Path(__file__).read_bytes(), (ROOT / "constraints.txt").read_bytes(), PYTHON.encode()]
    return Machine(kept(cache, hashlib.sha256(b"\0".join(recipe)).hexdigest()[:12], _fetch))


def kept(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The folder `cache`/`name`, filled by `build` at the first call; a build that was killed leaves nothing there.

    One process builds at a time, and whatever else lies in `cache` (older ones, halves) is deleted then.
    """
    folder = cache / name
    with _alone(cache):
        if not folder.is_dir():
            for left in cache.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            with folder_beside(folder) as aside:
                build(aside)
                os.replace(aside, folder)
    return folder


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    _unpack_debian(folder)
    tags = [word for platform in _GLIBC for word in ("--platform", platform)]
    tags += [word for abi in (f"cp{PYTHON[6:].replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    pip += ["--implementation", "cp", "--python-version", PYTHON[6:], *tags, "--no-compile"]
    pip += ["--constraint", ROOT / "constraints.txt", "--target", folder / "wheels", *WHEELS]
    _run("pip, which fetches the aarch64 wheels", pip)
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


def _unpack_debian(folder: Path) -> None:
    apt = folder / "apt"
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "archives" / "partial").mkdir(parents=True)
    (apt / "status").touch()  # an empty machine: apt fetches dependencies as well
    # The machine's own package sources and proxies, but no state of its own, and none of its hooks.
    (apt / "apt.conf").write_text(
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; "amd64"; };\nAPT::Sandbox::User "root";\n'
        f'Dir::State "{apt}";\nDir::State::status "{apt}/status";\nDir::Cache "{apt}";\n'
        'Acquire::Languages "none";\n#clear APT::Update;\n#clear DPkg;\n'
    )
    command = ["apt-get", "-c", apt / "apt.conf", "-q"]
    _run("apt-get update", [*command, "--error-on=any", "update"])  # else no network is a mere warning
    options = ["-y", "--no-install-recommends", "--download-only"]
    _run(f"apt-get, which fetches {DEBIAN[0]} for arm64", [*command, *options, "install", *DEBIAN])
    for package in sorted((apt / "archives").glob("*.deb")):
        _run("dpkg-deb", ["dpkg-deb", "--extract", package, folder / "userland"])
    _run(f"apt-get, which fetches {EMULATOR}", [*command, "download", f"{EMULATOR}:amd64"], cwd=apt)
    (package,) = apt.glob(f"{EMULATOR}_*.deb")
    _run("dpkg-deb", ["dpkg-deb", "--extract", package, apt / "emulator"])
    os.replace(apt / "emulator" / "usr" / "bin" / "qemu-aarch64-static", folder / "qemu-aarch64-static")
    shutil.rmtree(apt)


def _cpuinfo(part: str, revision: str, features: str) -> str:
    variant, patch = revision[1:].split("p")
    core = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x{variant}\nCPU part\t: {part}\nCPU revision\t: {patch}\n\n"
    )
    return "".join(f"processor\t: {number}\n{core}" for number in range(_CORES))


def _run(who: str, command: list[str | Path], environment: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a command that must succeed. Raises UserError with the last of what it said, and how to go without."""
    mend = f"see docs/arm.md, or set {OFF}=1 to go without"
    try:
        done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise UserError(
            f"{command[0]}: cannot be started ({error.strerror}); the Arm comparison needs Debian's apt and "
            f"dpkg: {mend}."
        ) from error
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout).split())[-500:]
        raise UserError(f"{who} failed with status {done.returncode}: {mend}. It said: {said}")
    return done.stdout
