"""The growing of the data partition: what is written, what is refused, and power that goes at any step of it."""

import json
import os
import random
import signal
import struct
import subprocess
from pathlib import Path

import filesystems
import grow
import partitions
import pytest
from emulation import run
from hypothesis import given
from hypothesis import strategies as st
from partitions import DATA, MIB, SECTOR

DISKS = st.integers(1 << 15, (1 << 33) - 1)  # sectors: 16 MB to 4 TB


def table(*entries: tuple[int, int, int]) -> bytes:
    """An MBR with entries (type, first sector, sectors), put together by hand; the code before them is noise."""
    noise = random.Random(1).randbytes(446)
    packed = b"".join(
        bytes((0x80 if n == 0 else 0, 1, 2, 3, kind, 4, 5, 6)) + struct.pack("<II", first, sectors)
        for n, (kind, first, sectors) in enumerate(entries)
    )
    return noise + packed.ljust(64, b"\0") + b"\x55\xaa"


def read(mbr: bytes) -> list[tuple[int, int, int]]:
    return [(one[2], one[4], one[5]) for one in grow.entries(mbr)]


@given(DISKS, st.data())
def test_the_last_partition_takes_the_rest_and_nothing_else_changes(disk: int, data: st.DataObject) -> None:
    top = min(disk, (1 << 32) - 1)
    first = data.draw(st.integers(8192, top - 1))
    sectors = data.draw(st.integers(1, top - first))
    before = table((0x0C, 2048, 2048), (0x83, 4096, 4096), (0x83, first, sectors))
    after = grow.grown(before, 3, disk)
    assert after[:446] + after[510:] == before[:446] + before[510:]
    assert read(after)[:2] == read(before)[:2]
    kind, start, size = read(after)[2]
    assert (kind, start) == (0x83, first)
    assert sectors <= size
    assert start + size <= disk
    if size > sectors:
        assert (start + size) % 2048 == 0
        assert min(disk, 1 << 32) - (start + size) <= 2 * 2048
    assert grow.grown(after, 3, disk) == after  # once more is nothing more


def test_a_grown_table_by_hand() -> None:
    """Of 64 MiB the last whole MiB is 64; the entry's last eight bytes are then 32768 and 98304, little-endian."""
    before = table((0x0C, 2048, 2048), (0x83, 8192, 8192), (0x83, 32768, 1000))
    after = grow.grown(before, 3, 131072 + 100)
    assert after[478:494] == bytes.fromhex("00010203 83feffff 00800000 00800100".replace(" ", ""))


@pytest.mark.parametrize(
    ("mbr", "disk", "why"),
    [
        (bytes(512), 1 << 20, "no table of partitions"),
        (table((0x0C, 2048, 100))[:100], 1 << 20, "no table of partitions"),
        (table((0x0C, 2048, 100), (0x83, 4096, 100)), 1 << 20, "no partition 3"),
        (table((0x0C, 2048, 100), (0x83, 4096, 100), (0x05, 8192, 100)), 1 << 20, "no partition 3"),
        (table((0xEE, 1, 1 << 20), (0x83, 4096, 100), (0x83, 8192, 100)), 1 << 20, "a GPT"),
        (table((0x0C, 2048, 100), (0x83, 9000, 100), (0x83, 8192, 100)), 1 << 20, "not the last one"),
        (table((0x0C, 2048, 100), (0x83, 4096, 100), (0x83, 8192, 100000)), 1 << 16, "behind the end of the disk"),
    ],
)
def test_what_is_no_table_of_ours_is_left_alone(mbr: bytes, disk: int, why: str, tmp_path: Path) -> None:
    with pytest.raises(grow.Refused, match=why):
        grow.grown(mbr, 3, disk)
    image = tmp_path / "image"
    image.write_bytes(mbr.ljust(512, b"\0"))
    with open(image, "r+b") as stream, pytest.raises(grow.Refused):
        grow.write(stream.fileno(), 3, disk)
    assert image.read_bytes() == mbr.ljust(512, b"\0")


def an_image(folder: Path) -> tuple[Path, partitions.Partition]:
    """An image with a small data partition that holds a file, on a card with 40 MiB more; and the partition."""
    (folder / "data").mkdir()
    (folder / "data/study").write_bytes(b"kept" * 1000)
    made = partitions.layout(4 * MIB, 4 * MIB, 36 * MIB)
    image, part = folder / "image", folder / "part"
    filesystems.ext4(folder / "data", part, made.of(DATA).size, DATA, 1_700_000_000)
    with open(image, "wb") as stream:
        stream.truncate(made.size + 40 * MIB + 12345 * SECTOR)
    run(["sfdisk", "--quiet", image], "no sfdisk", told=made.script())
    filesystems.copy_sparse(part, 0, image, made.of(DATA).start, part.stat().st_size)
    return image, made.of(DATA)


def killed_at(step: int, image: Path) -> bool:
    """Grow in a process of its own that is killed before its `step`th call of the system; whether it was."""
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(call):
            def wrapped(*arguments):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments)

            return wrapped

        for name in ("pread", "pwrite", "fsync"):
            setattr(grow.os, name, counted(getattr(os, name)))
        try:
            disk = os.open(image, os.O_RDWR)
            grow.write(disk, DATA, image.stat().st_size // SECTOR)
            left[0] = 1
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def sound(image: Path, part: partitions.Partition, grown_by_table: bool, folder: Path) -> None:
    """The file system in the partition, as large as the table says, is sound and can take that room."""
    told = json.loads(run(["sfdisk", "--json", image], "no sfdisk"))["partitiontable"]["partitions"][DATA - 1]
    assert told["start"] * SECTOR == part.start
    size = told["size"] * SECTOR
    assert (size > part.size) == grown_by_table
    file = folder / "taken"
    with open(file, "wb") as stream:
        stream.truncate(size)
    filesystems.copy_sparse(image, part.start, file, 0, size)
    run(["e2fsck", "-f", "-n", file], "the file system is not sound")
    run(["resize2fs", file], "it cannot be grown")
    run(["e2fsck", "-f", "-n", file], "the grown file system is not sound")
    with open(file, "rb") as stream:
        stream.seek(1024)
        assert filesystems.used(stream.read(1024))[1] == size // 4096 * 4096
    assert run(["debugfs", "-R", "cat /study", file], "no debugfs") == "kept" * 1000


def test_power_may_go_at_every_step_and_the_next_boot_goes_on(tmp_path: Path) -> None:
    image, part = an_image(tmp_path)
    fresh = image.read_bytes()[:SECTOR]
    sound(image, part, False, tmp_path)
    step, seen = 1, set()
    while True:
        with open(image, "r+b") as stream:
            stream.write(fresh)
        killed = killed_at(step, image)
        with open(image, "rb") as stream:
            now = stream.read(SECTOR)
        seen.add(now)
        assert now in (fresh, grow.grown(fresh, DATA, image.stat().st_size // SECTOR))
        assert not killed_at(99, image)  # the next boot
        with open(image, "rb") as stream:
            assert stream.read(SECTOR) == grow.grown(fresh, DATA, image.stat().st_size // SECTOR)
        if not killed:
            break
        step += 1
    assert step >= 4  # read, written, flushed
    assert len(seen) == 2
    sound(image, part, True, tmp_path)


def test_it_says_why_it_does_nothing(tmp_path: Path) -> None:
    done = subprocess.run(["python3", "-I", grow.__file__, "/proc"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("the data partition was not grown: ")
    assert "Traceback" not in done.stderr
