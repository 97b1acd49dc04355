"""What is built for whom: Debian's suites with their Python, and the processors."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PREFIX = "usr/lib/busi-kd"


@dataclass(frozen=True)
class Suite:
    """number: Debian's. python: its only Python 3. glibc: minor version of its C library, 2.x, which wheels ask for.

    lib: where units and udev rules lie: below /lib until Debian 12, while trixie's packages hold nothing in /lib.
    """

    name: str
    number: int
    python: str
    glibc: int
    lib: str

    @property
    def lock(self) -> Path:
        """The file that names every wheel with its version and hashes."""
        return HERE / f"{self.name}.txt"

    @property
    def abi(self) -> str:
        """As in the names of wheels, such as cp311."""
        return f"cp{self.python.replace('.', '')}"


@dataclass(frozen=True)
class Arch:
    """name: Debian's. machine: the kernel's and the wheels'. elf: e_machine of its programs (elf.h)."""

    name: str
    machine: str
    elf: int


@dataclass(frozen=True)
class Target:
    """One package."""

    suite: Suite
    arch: Arch

    def __str__(self) -> str:
        return f"{self.suite.name}/{self.arch.name}"

    @property
    def site(self) -> str:
        """Where the Python packages lie in the package."""
        return f"{PREFIX}/lib/python{self.suite.python}/site-packages"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there (PEP 600), newest first, and the old names of three of them."""
        versions = [f"manylinux_2_{minor}_{self.arch.machine}" for minor in range(self.suite.glibc, 4, -1)]
        return (*versions, f"manylinux2014_{self.arch.machine}", f"linux_{self.arch.machine}")


SUITES = {
    "bookworm": Suite("bookworm", 12, "3.11", 36, "lib"),
    "trixie": Suite("trixie", 13, "3.13", 41, "usr/lib"),
}
ARCHES = {"amd64": Arch("amd64", "x86_64", 62), "arm64": Arch("arm64", "aarch64", 183)}
