"""The root file system that a virtual machine starts from: a cpio archive of chosen files, and the modules it needs."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def load_order(tree: Path, wanted: Iterable[str]) -> list[Path]:
    """The kernel modules `wanted` under `tree` with all that they depend on, each behind what it needs.

    Debian's package has no modules.dep before it is installed; every module says itself what it depends on (.modinfo).
    Raises KeyError for a module that is not there.
    """
    files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in tree.rglob("*.ko")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name not in order:
            needs = _DEPENDS.search(files[name].read_bytes())
            for need in filter(None, needs[1].decode().split(",") if needs else ()):
                add(need.replace("-", "_"))
            order[name] = files[name]

    for name in wanted:
        add(name.replace("-", "_"))
    return list(order.values())


def tree(root: Path, tops: Iterable[str], at: str = "") -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of the folders and files `tops` of `root` and of all that lies below them."""
    for top in tops:
        paths = [root / top, *(sorted((root / top).rglob("*")) if not (root / top).is_symlink() else [])]
        yield from ((f"{at}{path.relative_to(root)}", path) for path in paths)


def write_cpio(target: Path, files: Iterable[tuple[str, Path | bytes]]) -> None:
    """Write an archive in the "newc" form (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).

    bytes are a program of that content. Folders above a name are made. Owner is root, times are kept.
    """
    made: set[str] = set()
    with open(target, "wb") as stream:

        def put(name: str, mode: int, data: bytes, time: int = 0) -> None:
            made.add(name)
            words = (len(made), mode, 0, 0, 1, time, len(data), 0, 0, 0, 0, len(name) + 1, 0)
            header = b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
            stream.write(header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4))

        for name, source in files:
            for parent in reversed(Path(name).parents[:-1]):
                if str(parent) not in made:
                    put(str(parent), stat.S_IFDIR | 0o755, b"")
            if name in made:
                continue
            if isinstance(source, bytes):
                put(name, stat.S_IFREG | 0o755, source)
            elif source.is_symlink():
                put(name, stat.S_IFLNK | 0o777, os.readlink(source).encode())
            elif source.is_dir():
                put(name, stat.S_IFDIR | 0o755, b"")
            else:
                told = source.stat()
                put(name, stat.S_IFREG | (told.st_mode & 0o777), source.read_bytes(), int(told.st_mtime))
        put("TRAILER!!!", 0, b"")
