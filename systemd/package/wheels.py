"""The wheels of a package: fetched once by pip, checked by their hashes, unpacked without what a Pi does not need."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from target import Target

from device.errors import UserError

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """A distribution of a lock file. hashes: SHA-256 of its wheels, one for each processor at most."""

    name: str
    version: str
    hashes: frozenset[str]


def read_lock(file: Path) -> list[Pin]:
    """The pins of a lock file, which is a requirements file of pip with a hash for every wheel. Raises UserError."""
    text = re.sub(r"\\\n", " ", "".join(line for line in file.open() if not line.lstrip().startswith("#")))
    pins = []
    for line in filter(None, map(str.strip, text.splitlines())):
        named, hashes = _PIN.match(line), frozenset(_HASH.findall(line))
        if named is None or not hashes:
            raise UserError(f"{file}: '{line[:60]}' is no NAME==VERSION with hashes; write it anew by lock.py.")
        pins.append(Pin(named[1], named[2], hashes))
    return pins


def fetch(target: Target, cache: Path) -> list[Path]:
    """The wheels of the target's lock file, in its order. What is not in `cache` yet is fetched by pip.

    pip takes them from the index that it is configured with. Raises UserError when one cannot be had, or has another
    hash than the lock file says.
    """
    pins, cache = read_lock(target.suite.lock), cache / "wheels"
    cache.mkdir(parents=True, exist_ok=True)
    if any(_kept(target, pin, cache) is None for pin in pins):
        _download(target, target.suite.lock, cache)
    found = [_kept(target, pin, cache) for pin in pins]
    for pin, wheel in zip(pins, found):
        if wheel is None:
            raise UserError(f"{pin.name} {pin.version}: pip fetched no wheel for {target} that the lock file knows.")
    return found


def fits(wheel: Path, target: Target) -> bool:
    """Whether the file name's tags (PEP 427) are of this Python and this processor."""
    python, abi, platforms = wheel.stem.split("-")[-3:]
    if platforms != "any" and not any(one in target.platforms for one in platforms.split(".")):
        return False
    if abi == "none":
        return any(one in ("py3", f"py{target.suite.abi[2:]}", target.suite.abi) for one in python.split("."))
    return abi == target.suite.abi or abi == "abi3"


def _kept(target: Target, pin: Pin, cache: Path) -> Path | None:
    wanted = re.sub(r"[-_.]+", "_", pin.name).lower()
    for wheel in sorted(cache.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if (re.sub(r"[-_.]+", "_", name).lower(), version) == (wanted, pin.version) and fits(wheel, target):
            if hashlib.sha256(wheel.read_bytes()).hexdigest() in pin.hashes:
                return wheel
            wheel.unlink()  # half of one, or another one: fetched anew
    return None


def pip_options(target: Target) -> list[str]:
    """Options of `pip download` for another machine than this one; wheels alone, for nothing can be built for it."""
    options = ["--only-binary=:all:", "--no-deps", "--implementation", "cp", "--python-version", target.suite.python]
    for abi in (target.suite.abi, "abi3", "none"):
        options += ["--abi", abi]
    for platform in target.platforms:
        options += ["--platform", platform]
    return options


def pip(*words: str | Path) -> None:
    """Run pip. Raises UserError with the last of what it said."""
    command = [sys.executable, "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        raise UserError(f"pip {words[0]} failed; it needs its package index. It said: {said}")


def _download(target: Target, lock: Path, cache: Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--require-hashes", "--dest", cache)
    pip("download", *quiet, *pip_options(target), "--requirement", lock)


def unpack(wheel: Path, site: Path, machine: int) -> None:
    """Lay a wheel's modules into `site` (PEP 427): its root and `.data/{purelib,platlib}`; no programs, no data.

    machine: e_machine that all its compiled code must have. Raises UserError when some has another, or a name leaves
    the folder.
    """
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            parts = entry.filename.split("/")
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if entry.is_dir() or not left_in("/".join(parts)):
                continue
            if ".." in parts or not all(parts):
                raise UserError(f"{wheel.name}: the name {entry.filename} leads elsewhere; this is no good wheel.")
            data = archive.read(entry)
            if data[:4] == b"\x7fELF" and int.from_bytes(data[18:20], "little") != machine:
                raise UserError(f"{wheel.name}: {entry.filename} is for another processor.")
            file = site.joinpath(*parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    _correct_record(site, wheel)


def _correct_record(site: Path, wheel: Path) -> None:
    """Take what was left out from RECORD, by which importlib.metadata finds what belongs to whom."""
    name, version = wheel.name.split("-")[:2]
    folders = [one for one in site.glob("*.dist-info") if one.name.lower() == f"{name}-{version}.dist-info".lower()]
    if len(folders) != 1:
        raise UserError(f"{wheel.name}: has no dist-info of its own name; this is no good wheel.")
    record = folders[0] / "RECORD"
    lines = record.read_text().splitlines()
    record.write_text("".join(f"{line}\n" for line in lines if (site / line.split(",")[0]).is_file()))


# Never needed to run: tests, C headers and sources, static libraries, type stubs, and what wheels carry for developers.
_FOLDERS = ("tests", "test", "include", "testing_data", "test_files")
_SUFFIXES = (".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hpp", ".cpp", ".a", ".lib", ".f", ".f90", ".hash", ".pc")
# By path: checked with `busi-kd device doctor`, a recorded study exported as DICOM, and the tests of the package.
_PATHS = (
    r"cv2/data/.*\.xml",  # trained cascades for faces
    r"numpy/(f2py|distutils|_pyinstaller|doc)/.*",
    r"numpy/(core|_core)/lib/.*",
    r"ai_edge_litert/(aot|tools|internal|vendors)/.*",
    r"pydicom/data/(test_files|palettes)/.*",
)
_LEFT_OUT = re.compile("|".join(_PATHS))


def left_in(path: str) -> bool:
    """Whether a file of a wheel, by its path in site-packages, goes into the package."""
    *folders, name = path.split("/")
    if folders and folders[0].endswith(".dist-info"):
        return True  # licences, and what importlib.metadata reads
    return not (any(one in _FOLDERS for one in folders) or name.endswith(_SUFFIXES) or _LEFT_OUT.fullmatch(path))


def remove_empty(folder: Path) -> None:
    """Remove the folders in it that hold nothing."""
    for one in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(one.iterdir()):
            shutil.rmtree(one)
