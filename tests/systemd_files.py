"""The files of systemd/ and its installer, for the tests of both."""

import configparser
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd" / "busi-kd.service"
INSTALL = ROOT / "systemd" / "install.sh"
INSTALLED_UNIT = "etc/systemd/system/busi-kd.service"
I2C = f"{INSTALLED_UNIT}.d/i2c.conf"


def install(*options: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INSTALL, *map(str, options)], env={**os.environ, **more}, capture_output=True, text=True, check=False
    )


def staged(root: Path, *options: object, **more: str) -> subprocess.CompletedProcess[str]:
    root.mkdir(exist_ok=True)
    return install("--root", root, "--no-venv", *options, **more)


def settings(section: str) -> dict[str, str]:
    """A section of the unit; of a key given twice, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    return dict(unit[section])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def with_i2c(root: Path) -> None:
    """What a machine has whose I2C is switched on."""
    for name, text in (("dev/i2c-1", ""), ("etc/group", "root:x:0:\ni2c:x:998:pi\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
