"""The four packages as they ship, but for their compression: built once for all tests."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import archive
import build
import wheels
from target import ROOT, Target

from device import __version__

NEXT = "9.9.9"


@dataclass(frozen=True)
class Packages:
    """folder: where they are built. Each is built when it is asked for."""

    folder: Path

    def of(self, target: Target) -> Path:
        """The package of a target. Raises UserError when it cannot be built."""
        into = self.folder / str(target)
        return next(into.glob("*.deb")) if into.is_dir() else self.build(target, into)

    def build(self, target: Target, into: Path, source: Path = ROOT) -> Path:
        """Build one of another checkout, or once more."""
        found = wheels.fetch(target, build.CACHE)
        return archive.build(target, source, found, into, self.folder / "work", build.build_date(ROOT), "none")

    def unpacked(self, target: Target) -> Path:
        """The files of a package, in a folder."""
        root = self.folder / "unpacked" / str(target)
        if not root.is_dir():
            import subprocess

            root.mkdir(parents=True)
            subprocess.run(["dpkg-deb", "--extract", self.of(target), root], check=True)
        return root


def later_checkout(folder: Path, version: str = NEXT) -> Path:
    """This checkout, some versions on, with one more line in the shipped configuration."""
    for name in ("device", "systemd"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    init, config = folder / "device/__init__.py", folder / "systemd/config.toml"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{version}"'))
    config.write_text(f"{config.read_text()}\n# A line that came with {version}.\n")
    return folder
