"""A model bundle out of a ZIP file: flat, small, plain files and nothing else."""

import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from device.bundle import META_FILE
from device.errors import UserError

MOST_ZIP = 30_000_000  # bytes
MOST_FILES, MOST_BYTES = 32, 64_000_000
_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BLOCK = 1 << 20
# What zipfile and zlib raise on bytes that are none of theirs.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError)


def unpack(stream: BinaryIO, folder: Path) -> Path:
    """Unpack into `folder`, which exists and is empty; returns the bundle's folder, which is `folder` itself.

    The files lie at the top of the ZIP or all in one folder of it. Raises UserError for anything else: other names,
    links, encryption, too much, damage.
    """
    data = stream.read(MOST_ZIP + 1)  # a copy: whoever handed the file over may still write to it
    if len(data) > MOST_ZIP:
        raise UserError(f"A model is a ZIP file of at most {MOST_ZIP} bytes.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Not is_dir(), which fails on a name of no letters (a damaged one).
            files = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
            _check(files)
            left = MOST_BYTES
            for entry in files:
                left -= _write(archive, entry, folder / entry.filename.rpartition("/")[2], left)
    except _DAMAGED as error:
        raise UserError(f"The file is no whole ZIP file ({error}); pack the bundle again.") from error
    return folder


def _check(files: list[zipfile.ZipInfo]) -> None:
    if not 0 < len(files) <= MOST_FILES:
        raise UserError(f"The ZIP file holds {len(files)} files; a bundle has a few (bundle.json, model.tflite, ...).")
    for entry in files:
        mode = entry.external_attr >> 16
        if not _NAME.fullmatch(entry.filename) or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise UserError(f"The ZIP file holds {entry.filename[:80]!r}, which belongs into no bundle.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError("The ZIP file is packed in an unusual way; pack it with zip's usual method.")
        if entry.flag_bits & 0x1:
            raise UserError("The ZIP file is encrypted; pack the bundle without a password.")
    if len({entry.filename.rpartition("/")[0] for entry in files}) != 1:
        raise UserError("The ZIP file has more than one folder; pack the bundle's own files alone.")
    names = [entry.filename.rpartition("/")[2].lower() for entry in files]
    if len(set(names)) != len(names) or META_FILE not in names:
        raise UserError(f"The ZIP file is no model bundle: it has no {META_FILE}, or a name stands in it twice.")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Returns how many bytes; what the ZIP's list says of sizes is not believed."""
    written = 0
    with archive.open(entry) as source, open(path, "xb") as target:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > most:
                raise UserError(f"The ZIP file holds more than {MOST_BYTES} bytes, which no bundle does.")
            target.write(block)
    return written
