"""From folders to file systems, and from those to the image: no loop devices, no mounts."""

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulation import run
from partitions import DATA, FIRMWARE, MIB, ROOT, SECTOR, Layout

from device.errors import UserError

# The same in every image: the unit's own identity is made at its first boot, and is none of these.
UUIDS = {ROOT: "62757369-6b64-4d72-8f6f-740000000002", DATA: "62757369-6b64-4d64-8174-610000000003"}
LABELS = {FIRMWARE: "BUSI-KD", ROOT: "busi-root", DATA: "busi-data"}
_MOST_GROWN = 1 << 29  # blocks of 4 KiB: 2 TiB, the most that an MBR can say; room for their descriptors is kept
_BLOCK = 4 * MIB
_MEND = "see what it said; is there room in the folder for temporary files (TMPDIR)?"


@dataclass(frozen=True)
class Folders:
    """What becomes of which partition."""

    firmware: Path
    root: Path
    data: Path


def fat(source: Path, file: Path, size: int, built: int) -> None:
    """A FAT32 file system of `size` bytes with a folder's files (mkfs.fat(8), mcopy(1)). Raises UserError."""
    _sparse(file, size)
    run(["mkfs.vfat", "-F", "32", "-S", str(SECTOR), "-s", "4", "-n", LABELS[FIRMWARE], "--invariant", file], _MEND)
    files = sorted(source.iterdir())
    for path in files:
        os.utime(path, (built, built))
    more = {"TZ": "UTC", "SOURCE_DATE_EPOCH": str(built), "MTOOLS_SKIP_CHECK": "1"}
    run(["mcopy", "-m", "-i", file, *files, "::"], _MEND, more)


def ext4(source: Path, file: Path, size: int, number: int, built: int) -> None:
    """An ext4 of `size` bytes with a folder's files and their owners (mke2fs(8), -d). Raises UserError.

    Root has no journal: it is never written to, and there is nothing to replay. Data can grow to 2 TiB in place.
    """
    _sparse(file, size)
    identity = f"hash_seed={UUIDS[number]},root_owner=0:0"
    own = ["-m", "0", "-O", "^has_journal", "-E", identity]
    if number == DATA:
        own = ["-m", "1", "-J", "size=16", "-i", "16384", "-e", "remount-ro", "-E", f"{identity},resize={_MOST_GROWN}"]
    more = {"E2FSPROGS_FAKE_TIME": str(built), "SOURCE_DATE_EPOCH": str(built)}
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-L", LABELS[number], "-U", UUIDS[number]]
    run([*command, *own, "-d", source, file], _MEND, more)


def assemble(folders: Folders, layout: Layout, image: Path, work: Path, built: int) -> None:
    """Write the image: table and partitions. Raises UserError."""
    parts = {number: work / f"partition-{number}" for number in (FIRMWARE, ROOT, DATA)}
    fat(folders.firmware, parts[FIRMWARE], layout.of(FIRMWARE).size, built)
    ext4(folders.root, parts[ROOT], layout.of(ROOT).size, ROOT, built)
    ext4(folders.data, parts[DATA], layout.of(DATA).size, DATA, built)
    _sparse(image, layout.size)
    run(["sfdisk", "--quiet", "--no-tell-kernel", "--no-reread", image], _MEND, told=layout.script())
    for number, part in parts.items():
        copy_sparse(part, 0, image, layout.of(number).start, layout.of(number).size)
        part.unlink()


def copy_sparse(source: Path, at: int, target: Path, to: int, size: int) -> None:
    """Copy `size` bytes from one file into another, without the blocks of zeros; the target is as large before."""
    zeros = bytes(_BLOCK)
    with open(source, "rb") as reading, open(target, "r+b") as writing:
        reading.seek(at)
        for start in range(0, size, _BLOCK):
            data = reading.read(min(_BLOCK, size - start))
            if not data:
                break
            if data != zeros[: len(data)]:
                writing.seek(to + start)
                writing.write(data)


def _sparse(file: Path, size: int) -> None:
    file.unlink(missing_ok=True)
    with open(file, "wb") as stream:
        stream.truncate(size)


def compress(image: Path, to: Path) -> None:
    """By xz, with all processors; blocks have one size, so that their number does not show in the bytes."""
    aside = to.with_name(f"{to.name}.new")
    with open(aside, "wb") as stream:
        command = ["xz", "--threads=0", "-6", "--block-size=32MiB", "--stdout", image]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
        stream.flush()
        os.fsync(stream.fileno())
    if done.returncode:
        aside.unlink()
        raise UserError(f"xz failed: {done.stderr.strip()[-300:]}")
    os.replace(aside, to)


def used(superblock: bytes) -> tuple[int, int]:
    """(used, all) bytes of an ext4, from the 1024 bytes of its superblock (Linux, Documentation/filesystems/ext4)."""
    blocks, free, log_size = (struct.unpack_from("<I", superblock, at)[0] for at in (4, 12, 24))
    size = 1024 << log_size
    return (blocks - free) * size, blocks * size
