"""An update file: a tar of three plain files, manifest.json, manifest.sig and payload.tar.xz, in this order.

Nothing is decompressed before the signature and the payload's hash were checked, and nothing is believed of the tar
that the manifest does not say: its headers are the plain ones of ustar, 512 bytes each, and no others are followed.
"""

import hashlib
import io
import lzma
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device.errors import UserError
from device.update import manifest as manifests
from device.update.manifest import MOST_MANIFEST, MOST_PAYLOAD, Manifest

MANIFEST, SIGNATURE, PAYLOAD = "manifest.json", "manifest.sig", "payload.tar.xz"
_MOST = {MANIFEST: MOST_MANIFEST, SIGNATURE: 1024, PAYLOAD: MOST_PAYLOAD}
_BLOCK = 1 << 18
_DAMAGED = (tarfile.TarError, lzma.LZMAError, EOFError, ValueError)


@dataclass(frozen=True)
class Update:
    """written, signature: the manifest's and its signature's bytes. signed_by: the key's name. start: where in the file
    the payload begins."""

    manifest: Manifest
    written: bytes
    signature: bytes
    signed_by: str
    start: int

    @property
    def id(self) -> str:
        """Short, and another one for any other content."""
        return manifests.id_of(self.written)


def read(stream: BinaryIO, keys: tuple[Path, ...]) -> Update:
    """The head of an update file that can be sought in. keys: folders of trusted keys.

    Raises NotTrusted, and UserError for what is no update file.
    """
    held: dict[str, bytes] = {}
    start = 0
    try:
        for name, most in _MOST.items():
            stream.seek(start)
            size = _size(stream.read(tarfile.BLOCKSIZE), name, most)
            start += tarfile.BLOCKSIZE
            if name != PAYLOAD:
                held[name] = stream.read(size)
                start += _padded(size)
    except _DAMAGED as error:
        raise UserError(f"The file is no whole update of busi-kd ({error}); copy it again.") from error
    stream.seek(start + _padded(size))
    if any(stream.read(tarfile.BLOCKSIZE)):
        raise UserError("The file is no update of busi-kd: it holds more than it should; get it again.")
    manifest, by = manifests.read(held[MANIFEST], held[SIGNATURE], keys)
    if manifest.payload.bytes != size:
        raise UserError("The update's payload has not the size that its manifest says; copy the file again.")
    return Update(manifest, held[MANIFEST], held[SIGNATURE], by, start)


def check_payload(stream: BinaryIO, update: Update) -> None:
    """Raise UserError unless the compressed files are those that were signed."""
    digest, left = hashlib.sha256(), update.manifest.payload.bytes
    stream.seek(update.start)
    while left and (block := stream.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
    if left or digest.hexdigest() != update.manifest.payload.sha256:
        raise UserError("The update's files are cut off or altered (wrong hash); copy the file again.")


def unpack(stream: BinaryIO, update: Update, folder: Path) -> None:
    """Write the files into the empty `folder`, each compared with its hash. Raises UserError, and OSError (card full).

    Anything but plain files of the manifest's names and sizes is refused: links, devices, further files.
    """
    left = dict(update.manifest.files)
    window = io.BufferedReader(_Window(stream, update.start, update.manifest.payload.bytes), _BLOCK)
    try:
        with lzma.open(window) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                entry = left.pop(member.name, None)
                if entry is None or not _plain(member) or member.size != entry.bytes:
                    raise UserError(f"The update holds {member.name[:80]!r}, which its manifest does not; get another.")
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with tar.extractfile(member) as source, open(path, "xb") as target:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        target.write(block)
                path.chmod(0o644)
                if digest.hexdigest() != entry.sha256:
                    raise UserError(f"The update's file {member.name} has a wrong hash; copy the update again.")
    except _DAMAGED as error:
        raise UserError(f"The update's files cannot be unpacked ({error}); copy it again.") from error
    if left:
        raise UserError(f"The update lacks {len(left)} of its files, such as {min(left)}; copy it again.")


def _size(header: bytes, name: str, most: int) -> int:
    """Bytes of the plain file `name`, of its 512 bytes of header. Raises TarError and UserError.

    `tarfile` itself would follow a long name or a PAX header first: it reads them whole, however large, and matches
    them in quadratic time, and nobody has signed them yet.
    """
    member = tarfile.TarInfo.frombuf(header, "ascii", "surrogateescape")
    if member.name != name or not _plain(member) or not 0 < member.size <= most:
        raise UserError(f"The file is no update of busi-kd: {name} is not where it should be; get it again.")
    return member.size


def _padded(size: int) -> int:
    """Bytes that a file of that size takes in a tar."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.pax_headers


class _Window(io.RawIOBase):
    """A part of a file, as a file that can be read from its beginning to its end."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._left = stream, size
        stream.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, into) -> int:
        block = self._stream.read(min(len(into), self._left))
        into[: len(block)] = block
        self._left -= len(block)
        return len(block)
