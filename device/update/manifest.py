"""What an update file says of itself: for which machines and which files. It is signed, and covers all the rest."""

import hashlib
import platform
import re
from dataclasses import dataclass
from typing import Literal

from device import schema, signing
from device.bundle import FileEntry
from device.errors import Refused, UserError
from device.signing import NotTrusted

SCHEMA_VERSION = 1
KIND = "busi-kd-application"
SUFFIX = ".update"
MOST_MANIFEST, MOST_PAYLOAD, MOST_UNPACKED, MOST_FILES = 8_000_000, 250_000_000, 800_000_000, 20_000
MOST_UPDATE = MOST_PAYLOAD + MOST_MANIFEST + 100_000  # bytes of the whole file
VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}[0-9A-Za-z.+]{0,20}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[ -.0-\[\]-~]{1,200}")  # printable ASCII without / and the backslash
_MACHINES = {"aarch64": "arm64", "x86_64": "amd64"}


@dataclass(frozen=True)
class Manifest:
    """version: of busi-kd. suite, arch: Debian's names. python: such as 3.11. minimum_version: of the package or image
    below, whose units and launcher the update needs. created: ISO 8601. payload: the compressed files. files: by path
    below the slot."""

    schema_version: int
    kind: Literal["busi-kd-application"]
    notice: str
    version: str
    suite: str
    python: str
    arch: str
    minimum_version: str
    created: str
    payload: FileEntry
    files: dict[str, FileEntry]

    def __post_init__(self) -> None:
        for name in ("version", "minimum_version"):
            if VERSION.fullmatch(getattr(self, name)) is None:
                raise ValueError(f"the key {name!r} must be a version such as 0.2.0.")
        if re.fullmatch(r"3\.[0-9]{1,2}", self.python) is None:
            raise ValueError("the key 'python' must be a version such as 3.11.")
        if not 0 < len(self.files) <= MOST_FILES:
            raise ValueError(f"the key 'files' must name 1 to {MOST_FILES} files.")
        for entry in (self.payload, *self.files.values()):
            if entry.bytes < 0 or _SHA256.fullmatch(entry.sha256) is None:
                raise ValueError("a file has no size and SHA-256 as it should.")
        if self.payload.bytes > MOST_PAYLOAD or self.unpacked_bytes > MOST_UNPACKED:
            raise ValueError(f"it holds more than {MOST_PAYLOAD} bytes, or {MOST_UNPACKED} unpacked.")
        below = f"lib/python{self.python}/site-packages/"
        for path in self.files:
            parts = path.split("/")
            if path != "pyvenv.cfg" and not path.startswith(below):
                raise ValueError(f"the file {path[:80]!r} lies neither in {below} nor is it pyvenv.cfg.")
            if len(path) > 240 or any(one in (".", "..") or _PART.fullmatch(one) is None for one in parts):
                raise ValueError(f"the file name {path[:80]!r} leads elsewhere.")
        if f"{below}device/main.py" not in self.files or "pyvenv.cfg" not in self.files:
            raise ValueError("the files are no busi-kd.")

    @property
    def unpacked_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files.values())


@dataclass(frozen=True)
class Machine:
    """What runs an update. suite, arch: Debian's names; None where they are not known. packaged: version of the package
    or image, running: of the code that is in force."""

    suite: str | None
    arch: str | None
    packaged: str
    running: str


def this_machine(packaged: str, running: str) -> Machine:
    """The machine this runs on."""
    try:
        suite = platform.freedesktop_os_release().get("VERSION_CODENAME")
    except OSError:
        suite = None
    return Machine(suite, _MACHINES.get(platform.machine()), packaged, running)


def read(written: bytes, signature: bytes, keys: tuple) -> tuple[Manifest, str]:
    """The manifest and the name of the trusted key behind it. The signature is looked at before anything else.

    Raises NotTrusted, and UserError for what is signed and yet no manifest of this schema.
    """
    by = signing.signer(written, signature, keys)
    if by is None:
        raise NotTrusted(
            f"The update is signed by none of the keys in {' and '.join(map(str, keys))}, or was altered since; get "
            "the file again."
        )
    what, matching = "The update's manifest", "install an update in between, or the package"
    return schema.parse(Manifest, written, what, SCHEMA_VERSION, "have the file made again", matching), by


def id_of(written: bytes) -> str:
    """12 hexadecimal digits that change with any byte of the manifest, and so with any of the files."""
    return hashlib.sha256(written).hexdigest()[:12]


def numbers(version: str) -> tuple[int, ...]:
    """The numbers at the head of a version, to compare: 1.2.3+git -> (1, 2, 3, 0). () where there are none."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    parts = [] if found is None else [int(part) for part in found[0].split(".")[:4]]
    return tuple(parts + [0] * (4 - len(parts))) if parts else ()


def fits(manifest: Manifest, machine: Machine, older: bool = False) -> None:
    """Raise UserError where the update is for another machine, and Refused where it is older or needs a newer base."""
    for name, mine, its in (("arch", machine.arch, manifest.arch), ("suite", machine.suite, manifest.suite)):
        if mine != its:
            raise UserError(f"The update is for {name} {its}, and this machine is {mine or 'unknown'}; get its own.")
    if numbers(machine.packaged) < numbers(manifest.minimum_version):
        raise Refused(
            f"Update {manifest.version} needs the package or image of {manifest.minimum_version} or newer, and here is "
            f"{machine.packaged}; install that first."
        )
    if numbers(manifest.version) < numbers(machine.running) and not older:
        raise Refused(f"Update {manifest.version} is older than {machine.running}, which runs; allow it with --older.")
