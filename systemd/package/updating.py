"""From the staged tree to an update file, which a device installs beside what it runs (docs/updates.md).

It holds what the package has below /usr/lib/busi-kd but for the programs there, which stay the package's own.
"""

import io
import json
import lzma
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import staging
from target import PREFIX, Target

from device import RESEARCH_NOTICE, files, schema, signing
from device.bundle import FileEntry, file_entry
from device.errors import UserError
from device.update import archive, manifest
from device.update.manifest import SUFFIX, Manifest

_XZ = {"format": lzma.FORMAT_XZ, "check": lzma.CHECK_CRC64, "preset": 6}


def build(
    target: Target, source: Path, found: list[Path], into: Path, work: Path, built: int, key: Path, minimum: str
) -> Path:
    """One update file from a checkout and its wheels, signed with a private key; minimum: the oldest package below it.

    The same bytes for the same commit and key: Ed25519 signatures are (RFC 8032). Raises UserError.
    """
    version = staging.version_of(source)
    root = work / f"update-{target.suite.name}-{target.arch.name}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        staging.stage(root, source, target, found, f"{version}~deb{target.suite.number}", built)
        return pack(root / PREFIX, into, target, version, minimum, built, key)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def pack(home: Path, into: Path, target: Target, version: str, minimum: str, built: int, key: Path) -> Path:
    """Write `home`'s files as an update file into the folder `into`; returns its path. Raises UserError."""
    names = ["pyvenv.cfg", *(path.relative_to(home).as_posix() for path in sorted((home / "lib").rglob("*"))
                             if path.is_file() and not path.is_symlink())]  # fmt: skip
    payload = _compressed(home, names, built)
    try:
        made = Manifest(
            *(manifest.SCHEMA_VERSION, manifest.KIND, RESEARCH_NOTICE, version),
            *(target.suite.name, target.suite.python, target.arch.name, minimum),
            datetime.fromtimestamp(built, UTC).isoformat(timespec="seconds"),
            FileEntry(len(payload), files.sha256_bytes(payload)),
            {name: file_entry(home / name) for name in names},
        )
    except ValueError as error:
        raise UserError(f"The update cannot be made: {error}") from error
    written = json.dumps(schema.dump(made), indent=1, ensure_ascii=False).encode() + b"\n"
    held = {archive.MANIFEST: written, archive.SIGNATURE: signing.signature_of(written, key), archive.PAYLOAD: payload}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in held.items():
            tar.addfile(_member(name, len(data), built), io.BytesIO(data))
    path = into / f"busi-kd_{version}_{target.suite.name}_{target.arch.name}{SUFFIX}"
    files.write_bytes(path, stream.getvalue())
    return path


def _compressed(home: Path, names: list[str], built: int) -> bytes:
    plain = io.BytesIO()
    with (
        lzma.open(plain, "wb", **_XZ) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in names:
            with open(home / name, "rb") as file:
                tar.addfile(_member(name, (home / name).stat().st_size, built), file)
    return plain.getvalue()


def _member(name: str, size: int, built: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, built
    return member
