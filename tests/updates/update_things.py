"""A machine in a folder: what was packaged with the real launcher, and update files whose program is a few lines."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import updating
from target import ARCHES, HERE, Arch, Suite, Target

from device.update.manifest import Machine
from device.update.slots import Place

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
SUITE = Suite("bookworm", 12, PYTHON, 36, "lib")
TARGET = Target(SUITE, ARCHES["arm64"])
MAIN = """
import sys
if sys.argv[1:] == ["device", "selftest"]:
    {selftest}
else:
    print("{version}", *sys.argv[1:])
"""


@dataclass(frozen=True)
class Device:
    """A machine with version 0.1.0 packaged."""

    place: Place
    key: Path

    @property
    def keys(self) -> tuple[Path, ...]:
        return (self.key.parent,)

    def machine(self, running: str = "0.1.0") -> Machine:
        return Machine(SUITE.name, "arm64", "0.1.0", running)

    def launch(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The launcher, as systemd and people call it."""
        own = {**os.environ, **more}
        own["PATH"] = f"{self.place.home}/programs:{own['PATH']}"
        return subprocess.run([self.place.home / "launch", *words], capture_output=True, text=True, env=own, check=True)

    def runs(self) -> str:
        """The version that is started now, as it says itself."""
        return self.launch("which", "version").stdout.split()[0]

    def end(self, result: str = "exit-code", status: str = "1") -> str:
        """What the launcher says when the service has ended so."""
        return self.launch("--ended", SERVICE_RESULT=result, EXIT_STATUS=status).stdout

    def become_healthy(self) -> None:
        """Start the service, and let a minute pass."""
        self.launch("--begin")
        assert "UPDATE HEALTHY" in self.launch("--healthy").stdout


def program(folder: Path, version: str, selftest: str = "sys.exit(0)", more: dict[str, bytes] | None = None) -> Path:
    """What a slot holds, of a program of that version."""
    site = folder / f"lib/python{PYTHON}/site-packages"
    (site / "device").mkdir(parents=True)
    (site / "device/__init__.py").write_text("")
    (site / "device/main.py").write_text(MAIN.format(version=version, selftest=selftest))
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, data in (more or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def device(folder: Path, key: Path) -> Device:
    """A machine on which nothing was updated yet. Its `systemctl` writes down what it is asked."""
    home, app = folder / "packaged", folder / "state/app"
    program(home, "0.1.0")
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to(f"/usr/bin/python{PYTHON}")
    (home / "version").write_text("0.1.0~deb12 bookworm/arm64 1\n")
    text = (HERE / "launch").read_text()
    text = text.replace("/var/lib/busi-kd/app", str(app)).replace("owner=0", f"owner={os.geteuid()}")
    assert str(app) in text
    (home / "launch").write_text(text)
    (home / "launch").chmod(0o755)
    (home / "programs").mkdir()
    (home / "programs/systemctl").write_text(f'#!/bin/sh\necho "$@" >>{home}/asked\n')
    (home / "programs/systemctl").chmod(0o755)
    return Device(Place(app, home), key)


def update(
    folder: Path,
    version: str,
    key: Path,
    selftest: str = "sys.exit(0)",
    more: dict[str, bytes] | None = None,
    arch: Arch = TARGET.arch,
    minimum: str = "0.1",
) -> Path:
    """A signed update file of a program of that version."""
    home = program(folder / f"tree-{version}-{len(list(folder.glob('tree-*')))}", version, selftest, more)
    return updating.pack(home, folder / home.name / "out", Target(SUITE, arch), version, minimum, 1_700_000_000, key)
