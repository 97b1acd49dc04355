"""The tree of a package: what lies where on the machine. Everything in it comes from the checkout and from wheels."""

import gzip
import os
import re
import shutil
from pathlib import Path

import wheels
from target import HERE, PREFIX, Target

from device.errors import UserError

NAME = "busi-kd"
DOC = f"usr/share/doc/{NAME}"
CONFIG = "etc/busi-kd/config.toml"
UNIT_SUFFIXES = (".service", ".socket", ".timer", ".path", ".target", ".mount")
# Started by the installation; all other units with an [Install] section wait for a person (systemctl enable).
STARTED = ("busi-kd.service", "busi-kd-health.timer")
# The units are written for systemd/install.sh, which puts everything below /opt.
_PATHS = (("/opt/busi-kd/bin/busi-kd", "/usr/bin/busi-kd"), ("/opt/busi-kd/share/doc", f"/{DOC}"))
_EXAMPLES = ("i2c.conf", "picamera2.conf")  # drop-ins that a person may choose
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def units(source: Path) -> list[Path]:
    """The units of a checkout, by name: whatever lies in systemd/ with a unit's suffix."""
    return sorted(path for path in (source / "systemd").iterdir() if path.suffix in UNIT_SUFFIXES)


def installable(source: Path) -> list[str]:
    """The names of the units with an [Install] section."""
    return [path.name for path in units(source) if re.search(r"^\[Install\]$", path.read_text(), re.MULTILINE)]


def version_of(source: Path) -> str:
    """`__version__` of the checkout's device package."""
    found = re.search(r'^__version__ = "([0-9][0-9A-Za-z.+]*)"$', (source / "device/__init__.py").read_text(), re.M)
    if found is None:
        raise UserError(f"{source}/device/__init__.py: names no __version__; run this from a whole checkout.")
    return found[1]


def stage(root: Path, source: Path, target: Target, found: list[Path], version: str, built: int) -> None:
    """Fill the empty folder `root`. found: wheels. version: Debian's. built: the date, in seconds since 1970.

    Raises UserError when a wheel is not good.
    """
    site = root / target.site
    for wheel in found:
        wheels.unpack(wheel, site, target.arch.elf)
    shutil.copytree(source / "device", site / "device", ignore=_NOT_SHIPPED)
    wheels.remove_empty(site)
    _environment(root, source, target)
    _write(root / PREFIX / "version", f"{version} {target} {built}\n")
    _system(root, source, target)
    _documents(root, source, target, version, built)
    _normalise(root, built)


def _environment(root: Path, source: Path, target: Target) -> None:
    """A virtual environment by its definition (PEP 405): pyvenv.cfg, and a link to the Python that Debian has.

    It may be moved as a whole. It sees the system's packages behind its own: picamera2 comes from there alone.
    """
    python = f"/usr/bin/python{target.suite.python}"
    home = root / PREFIX
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").symlink_to(python)
    keys = {"home": "/usr/bin", "include-system-site-packages": "true", "version": target.suite.python}
    keys["executable"] = python
    (home / "pyvenv.cfg").write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
    _copy(HERE / "busi-kd", home / "bin/busi-kd", 0o755)
    _copy(HERE / "launch", home / "launch", 0o755)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/busi-kd").symlink_to("../lib/busi-kd/launch")


def _system(root: Path, source: Path, target: Target) -> None:
    given, lib = source / "systemd", root / target.suite.lib
    for unit in units(source):
        _write(lib / "systemd/system" / unit.name, packaged(unit.read_text()))
    for name, where in (
        ("70-busi-kd.rules", lib / "udev/rules.d/70-busi-kd.rules"),
        ("sysusers.conf", root / "usr/lib/sysusers.d/busi-kd.conf"),
        ("tmpfiles.conf", root / "usr/lib/tmpfiles.d/busi-kd.conf"),
        ("watchdog.conf", root / "usr/lib/systemd/system.conf.d/50-busi-kd-watchdog.conf"),
        ("updates.conf", lib / "systemd/system/busi-kd.service.d/50-updates.conf"),
        ("config.toml", root / CONFIG),
        *((name, root / "usr/share/busi-kd" / name) for name in _EXAMPLES),
    ):
        _copy(given / name, where)
    (root / "etc/busi-kd/trusted-keys").mkdir()


def packaged(text: str) -> str:
    """A unit as it stands in the package: with the package's paths."""
    for old, new in _PATHS:
        text = text.replace(old, new)
    return text


def _documents(root: Path, source: Path, target: Target, version: str, built: int) -> None:
    doc = root / DOC
    _copy(source / "systemd/README.md", doc / "README.md")
    _copy(source / "systemd/config.toml", doc / "examples/config.toml")
    _copy(target.suite.lock, doc / "wheels.txt")
    when = date(built)
    entry = (
        f"{NAME} ({version}) {target.suite.name}; urgency=medium\n\n  * As the repository has it on that date.\n\n"
        f" -- {MAINTAINER}  {when}\n"
    )
    (doc / "changelog.gz").write_bytes(gzip.compress(entry.encode(), 9, mtime=0))
    _copy(HERE / "debian/lintian-overrides", root / "usr/share/lintian/overrides/busi-kd")
    _write(doc / "copyright", copyright_of(root, root / target.site))


MAINTAINER = "busi-kd developers <busi-kd@busi-kd.invalid>"


def date(seconds: int) -> str:
    """As RFC 5322 writes it, in UTC, whatever the language of this machine."""
    from email.utils import formatdate

    return formatdate(seconds)


def copyright_of(root: Path, site: Path) -> str:
    """Whose work is in the package, with the places of the licences that the wheels bring along."""
    head = (HERE / "debian/copyright").read_text()
    parts = [head]
    for folder in sorted(site.glob("*.dist-info"), key=lambda path: path.name.lower()):
        fields = dict(re.findall(r"^(Name|Version|License|License-Expression): (.+)$", _head(folder), re.MULTILINE))
        licence = fields.get("License-Expression") or fields.get("License") or "as its files say"
        texts = sorted(
            str(path.relative_to(site))
            for path in folder.rglob("*")
            if path.is_file() and re.match(r"(licen[cs]e|copying|notice|authors)", path.name, re.IGNORECASE)
        )
        where = "".join(f"  /{site.relative_to(root)}/{text}\n" for text in texts) or "  none in the wheel\n"
        parts.append(f"\n{fields['Name']} {fields['Version']}: {' '.join(licence.split())[:200]}\n{where}")
    return "".join(parts)


def _head(folder: Path) -> str:
    return (folder / "METADATA").read_text(errors="replace").partition("\n\n")[0]


def _copy(source: Path, to: Path, mode: int = 0o644) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)
    to.chmod(mode)


def _write(to: Path, text: str) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)


def _normalise(root: Path, built: int) -> None:
    """One mode for programs and folders, one for files, one time for all: two builds must not differ."""
    programs = {root / PREFIX / "bin/busi-kd", root / PREFIX / "launch"}
    for path in [*sorted(root.rglob("*"), reverse=True), root]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (built, built), follow_symlinks=False)
