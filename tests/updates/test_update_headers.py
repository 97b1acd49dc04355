"""What stands before the signature costs nothing, whatever it says of its size: anybody can write it on a stick."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from test_update_commands import mounted
from update_things import Device, update

from device.errors import UserError
from device.update import archive, stick
from device.update.manifest import MOST_MANIFEST, MOST_PAYLOAD, MOST_UPDATE

LARGE = 300_000_000
MOST_BYTES = 4_000_000  # of memory: one block of each kind, and the interpreter's own


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def refusal(stream, machine: Device) -> str:
    """What it is refused with, once no more than MOST_BYTES of memory were taken for it."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            archive.read(stream, machine.keys)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_says_it_is_huge_is_not_read(kind: bytes, machine: Device, tmp_path: Path) -> None:
    """The file is sparse: it takes a kilobyte of the stick, and would take all memory of a Pi."""
    with open(tmp_path / "huge", "w+b") as stream:
        stream.write(header("manifest.json", LARGE, kind))
        stream.truncate(LARGE + 10_240)
        assert "manifest.json is not where it should be" in refusal(stream, machine)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (tarfile.XHDTYPE, b"1" * 20_000),  # a length without an end: tarfile looks for one from each digit on
        (tarfile.XHDTYPE, b"22 path=manifest.json\n"),
        (tarfile.XGLTYPE, b"13 mtime=700\n"),
        (tarfile.GNUTYPE_LONGNAME, b"manifest.json\0"),
    ],
)
def test_a_good_update_behind_a_further_header_is_refused(
    kind: bytes, data: bytes, machine: Device, tmp_path: Path
) -> None:
    good = update(tmp_path, "0.2.0", machine.key).read_bytes()
    before = header("manifest.json", len(data), kind) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    assert "manifest.json is not where it should be" in refusal(io.BytesIO(before + good), machine)


@pytest.mark.parametrize("size", [0, -1, MOST_MANIFEST + 1, 2**60])
def test_a_size_that_no_manifest_has_is_refused(size: int, machine: Device) -> None:
    stream = io.BytesIO(header("manifest.json", size) + bytes(10_240))
    assert "manifest.json is not where it should be" in refusal(stream, machine)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, b"?"])
def test_what_is_no_plain_file_is_refused(kind: bytes, machine: Device, tmp_path: Path) -> None:
    good = update(tmp_path, "0.2.0", machine.key).read_bytes()
    as_it_is = tarfile.TarInfo.frombuf(good[:512], "ascii", "strict")
    spoilt = header("manifest.json", as_it_is.size, kind) + good[512:]
    assert "manifest.json is not where it should be" in refusal(io.BytesIO(spoilt), machine)


def test_a_fourth_file_is_refused(machine: Device, tmp_path: Path) -> None:
    good = update(tmp_path, "0.2.0", machine.key).read_bytes()
    found = archive.read(io.BytesIO(good), machine.keys)
    end = found.start + -(-found.manifest.payload.bytes // 512) * 512
    assert "more than it should" in refusal(io.BytesIO(good[:end] + header("more", 1) + bytes(1024)), machine)
    assert archive.read(io.BytesIO(good[:end]), machine.keys) == found  # a tar's end says nothing


def test_headers_are_the_ones_that_the_maker_writes(machine: Device, tmp_path: Path) -> None:
    """So that nothing is made that is not read, not even the largest."""
    path = update(tmp_path, "0.2.0", machine.key)
    with tarfile.open(path) as tar:
        names = [member.name for member in tar]
    assert names == [archive.MANIFEST, archive.SIGNATURE, archive.PAYLOAD]
    with open(path, "rb") as stream:
        found = archive.read(stream, machine.keys)
    assert path.read_bytes()[257:265] == tarfile.POSIX_MAGIC
    assert found.start % tarfile.BLOCKSIZE == 0
    largest = tarfile.TarInfo(archive.PAYLOAD)
    largest.size = MOST_PAYLOAD
    assert len(largest.tobuf(tarfile.USTAR_FORMAT)) == tarfile.BLOCKSIZE


def test_a_file_larger_than_any_update_is_left_on_the_stick(machine: Device, tmp_path: Path) -> None:
    folder = mounted(tmp_path / "root")
    file = update(tmp_path, "0.2.0", machine.key).rename(folder / "busi-kd.update")
    assert stick.find(machine.keys, machine.machine(), root=tmp_path / "root")[0] == file
    with open(file, "r+b") as stream:
        stream.truncate(MOST_UPDATE + 1)
    with pytest.raises(UserError, match=r"busi-kd\.update: The file is larger than any update \(258100000 bytes\)"):
        stick.find(machine.keys, machine.machine(), root=tmp_path / "root")
    with open(file, "r+b") as stream:
        stream.truncate(MOST_UPDATE)
    assert stick.find(machine.keys, machine.machine(), root=tmp_path / "root")[0] == file
