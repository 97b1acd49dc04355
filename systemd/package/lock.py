"""Writes the lock files anew: which wheels a package holds, by what device/ needs and constraints.txt pins.

Run it with the Python of `make test` after a pin has changed: .venv/bin/python systemd/package/lock.py. pip cannot do
this for another Python: it reads the conditions of dependencies (PEP 508) as those of the Python that it runs on.
"""

import hashlib
import sys
import tempfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import wheels
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from target import ARCHES, ROOT, SUITES, Suite, Target

from device.errors import UserError

EXTRAS = ("dicom", "fleet")  # of pyproject.toml, what a device may need besides
HEAD = """\
# Every wheel of busi-kd's package for Debian {number} ({name}, Python {python}), with its SHA-256 for {arches}.
# Written by lock.py from pyproject.toml and constraints.txt.
"""


def environment(target: Target) -> dict[str, str]:
    """What conditions of dependencies are read by, on the target."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": target.arch.machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{target.suite.python}.2",
        "python_version": target.suite.python,
        "sys_platform": "linux",
        "extra": "",
    }


def pins(target: Target) -> dict[str, str]:
    """Versions by name, as constraints.txt has them for the target."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line]
    known = environment(target)
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in wanted
        if one.marker is None or one.marker.evaluate(known)
    }


def closure(target: Target, folder: Path) -> dict[str, Path]:
    """The wheel of every distribution that the target needs, by name, fetched into `folder`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    pinned, known, found = pins(target), environment(target), {}
    todo = [Requirement(text) for text in wanted]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker is not None and not one.marker.evaluate(known)):
            continue
        if name not in pinned:
            raise UserError(f"constraints.txt: pins no {name}, which {target} needs; add a line.")
        into = folder / name
        quiet = ("--quiet", "--disable-pip-version-check", "--dest", into)
        wheels.pip("download", *quiet, *wheels.pip_options(target), f"{name}=={pinned[name]}")
        (found[name],) = into.glob("*.whl")
        todo += [Requirement(text) for text in requires(found[name])]
    return found


def requires(wheel: Path) -> list[str]:
    """The dependencies that a wheel names."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA") and one.count("/") == 1)
        return HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []


def write(suite: Suite) -> None:
    """Write the suite's lock file, for all processors."""
    hashes: dict[str, set[str]] = {}
    for arch in ARCHES.values():
        target = Target(suite, arch)
        with tempfile.TemporaryDirectory() as folder:
            for name, wheel in closure(target, Path(folder)).items():
                hashes.setdefault(f"{name}=={pins(target)[name]}", set()).add(
                    hashlib.sha256(wheel.read_bytes()).hexdigest()
                )
    head = HEAD.format(number=suite.number, name=suite.name, python=suite.python, arches=" and ".join(ARCHES))
    lines = [
        " \\\n".join([name, *(f"    --hash=sha256:{one}" for one in sorted(found))]) + "\n"
        for name, found in sorted(hashes.items())
    ]
    suite.lock.write_text(head + "".join(lines))
    print(f"{suite.lock}: {len(lines)} distributions")


if __name__ == "__main__":
    try:
        for suite in SUITES.values():
            write(suite)
    except UserError as error:
        sys.exit(f"lock.py: {error}")
