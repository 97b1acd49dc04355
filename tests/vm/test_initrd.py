"""The archive a virtual machine starts from, and the order of kernel modules."""

from pathlib import Path

import initrd
import pytest


def module(path: Path, depends: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")


def test_modules_come_behind_what_they_need_and_once(tmp_path: Path) -> None:
    module(tmp_path / "media" / "vivid.ko", "video-core,tpg")
    module(tmp_path / "media" / "tpg.ko", "")
    module(tmp_path / "video_core.ko", "base")
    module(tmp_path / "base.ko", "")
    module(tmp_path / "unwanted.ko", "")
    order = [path.stem for path in initrd.load_order(tmp_path, ["vivid", "base", "vivid"])]
    assert order == ["base", "video_core", "tpg", "vivid"]
    with pytest.raises(KeyError):
        initrd.load_order(tmp_path, ["missing"])


def test_the_archive_unpacks_to_what_went_in(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "usr" / "lib").mkdir(parents=True)
    (source / "usr" / "lib" / "a.so.1").write_bytes(b"12345")
    (source / "usr" / "lib" / "a.so").symlink_to("a.so.1")
    (source / "usr" / "left out").write_bytes(b"no")
    archive = tmp_path / "archive"
    initrd.write_cpio(archive, [("init", b"#!/bin/sh\n"), ("deep/er/file", b""), *initrd.tree(source, ["usr/lib"])])
    data, found, at = archive.read_bytes(), {}, 0
    while True:  # kernel: buffer-format.rst; 13 words of 8 hexadecimal digits behind the magic number
        assert data[at : at + 6] == b"070701"
        words = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 109 + words[11]].decode()
        begin = (at + 110 + words[11] + 3) & ~3
        if name == "TRAILER!!!":
            break
        found[name] = (oct(words[1]), data[begin : begin + words[6]])
        at = (begin + words[6] + 3) & ~3
    assert found == {
        "init": ("0o100755", b"#!/bin/sh\n"),
        "deep": ("0o40755", b""),
        "deep/er": ("0o40755", b""),
        "deep/er/file": ("0o100755", b""),
        "usr": ("0o40755", b""),
        "usr/lib": ("0o40755", b""),
        "usr/lib/a.so": ("0o120777", b"a.so.1"),
        "usr/lib/a.so.1": ("0o100644", b"12345"),
    }
