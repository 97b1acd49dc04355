"""Gives the data partition the rest of the card: busi-kd-grow.service runs it at every boot, before systemd-growfs.

One sector is written, the first one, and with it the whole table: wherever power goes, the old table is there or the
new one, and the next boot goes on. A table that needs no change is not written. What the kernel knows of the partition
is then brought up to date while its file system is in use (<linux/blkpg.h>). It needs Python's own library alone.
"""

import ctypes
import fcntl
import os
import struct
import sys
from pathlib import Path

SECTOR = 512
ALIGN = 2048  # sectors
_ENTRIES, _ENTRY = 446, struct.Struct("<B3sB3sII")  # status, first CHS, type, last CHS, first sector, sectors
_BLKPG, _RESIZE = 0x1269, 3
_EXTENDED = (0x05, 0x0F, 0x85)


class Refused(Exception):
    """The table or the disk is not what this program is for; the message says why."""


def entries(table: bytes) -> list[tuple]:
    """The four entries of an MBR, as they are stored. table: its sector. Raises Refused when it is no MBR."""
    if len(table) != SECTOR or table[510:] != b"\x55\xaa":
        raise Refused("the first sector holds no table of partitions")
    return [_ENTRY.unpack_from(table, _ENTRIES + 16 * n) for n in range(4)]


def grown(table: bytes, number: int, disk_sectors: int) -> bytes:
    """The MBR with partition `number` (1 to 4) up to the last whole ALIGN of the disk; the same where it has that.

    disk_sectors: sectors of 512 bytes. Raises Refused when it is not the last partition, or leaves the disk.
    """
    found = entries(table)
    status, first_chs, kind, _, first, sectors = found[number - 1]
    if kind in (0, *_EXTENDED) or not sectors:
        raise Refused(f"there is no partition {number}")
    if kind == 0xEE or any(one[2] == 0xEE for one in found):
        raise Refused("the disk has a GPT")
    if any(one[2] and one[4] >= first for n, one in enumerate(found, 1) if n != number):
        raise Refused(f"partition {number} is not the last one")
    end = min(disk_sectors, (1 << 32) - 1) // ALIGN * ALIGN
    if first + sectors > disk_sectors:
        raise Refused(f"partition {number} ends behind the end of the disk")
    if end <= first + sectors:
        return table
    # CHS cannot say where anything of today lies; these three bytes mean: see the sectors.
    new = _ENTRY.pack(status, first_chs, kind, b"\xfe\xff\xff", first, end - first)
    at = _ENTRIES + 16 * (number - 1)
    return table[:at] + new + table[at + 16 :]


def write(disk: int, number: int, disk_sectors: int) -> tuple[int, int]:
    """Grow partition `number` in the table of an open disk or image file: (first, sectors) as the table then has it."""
    table = os.pread(disk, SECTOR, 0)
    new = grown(table, number, disk_sectors)
    if new != table:
        os.pwrite(disk, new, 0)
        os.fsync(disk)
    return entries(new)[number - 1][4:]


class _Partition(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),
        ("pno", ctypes.c_int),
        ("devname", ctypes.c_char * 64),
        ("volname", ctypes.c_char * 64),
    )


class _Argument(ctypes.Structure):
    _fields_ = (("op", ctypes.c_int), ("flags", ctypes.c_int), ("datalen", ctypes.c_int), ("data", ctypes.c_void_p))


def tell_kernel(disk: int, number: int, first: int, sectors: int) -> None:
    """Have the kernel take the partition's new size, while it is mounted."""
    one = _Partition(first * SECTOR, sectors * SECTOR, number)
    argument = _Argument(_RESIZE, 0, ctypes.sizeof(one), ctypes.addressof(one))
    fcntl.ioctl(disk, _BLKPG, argument)


def main(mounted: str) -> None:
    """Grow the partition that is mounted there."""
    device = os.stat(mounted).st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve(strict=True)
    if not (place / "partition").exists():
        raise Refused(f"{mounted} lies on {place.name}, which is no partition")
    number, whole = int((place / "partition").read_text()), place.parent
    if (whole / "queue/logical_block_size").read_text().strip() != str(SECTOR):
        raise Refused(f"{whole.name} has no sectors of {SECTOR} bytes")
    disk = os.open(f"/dev/{whole.name}", os.O_RDWR | os.O_CLOEXEC)
    try:
        first, sectors = write(disk, number, int((whole / "size").read_text()))
        if int((place / "size").read_text()) != sectors:
            tell_kernel(disk, number, first, sectors)
            print(f"{place.name} has {sectors * SECTOR // 1_000_000} MB now, up to the end of the card.")
    finally:
        os.close(disk)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (Refused, OSError) as error:
        sys.exit(f"the data partition was not grown: {error}.")
