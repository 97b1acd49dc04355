"""Writing so that a power cut leaves the old file or the new one, never half of either."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device.errors import UserError


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk. Raises OSError when that fails."""
    handle = os.open(folder, os.O_RDONLY)  # a rename is on disk only once its folder is
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` aside, flush it to disk, then rename it over `path`; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:  # from before the file is there: Ctrl-C can come between its making and the next line
        with open(aside, "xb", opener=_private) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, 0o644)  # the daemon's user must be able to read it
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """`write_bytes` of `data` as indented JSON; NaN and infinity are refused (unknown is null)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """An empty folder on `target`'s file system, to be filled and then given to `replace_folder`; gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(target)
    try:
        aside.mkdir()
        aside.chmod(0o755)  # whatever the umask: the daemon's user must be able to read it
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    """A hidden name beside `path` that nobody else has: known before it is made, so that it can always be removed."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def replace_folder(new: Path, target: Path) -> None:
    """Put the finished folder `new` in `target`'s place; both stand on the same file system.

    Where the system can swap two names in one step, `target` is a whole folder at every instant. Elsewhere the old
    folder stands as `.NAME.old` between two renames, and stays there if power goes just then. The old folder is
    deleted last. Raises UserError when `target` is a file and OSError when `new` cannot be moved; the old one stays.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: a file stands where a folder is to be written; move it or choose another name.")
    for path in (new, *sorted(new.rglob("*"))):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    if not (target.exists() and swap(new, target)):
        if target.exists():  # else `old` may be all that a power cut has left: it goes only after `new` is in place
            _remove(old)
            os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            if old.exists() and not target.exists():
                os.replace(old, target)
            raise
    sync_folder(target.parent)
    _remove(new)
    _remove(old)


def swap(first: Path, second: Path) -> bool:
    """Exchange two names in one step: renameat2(2) of Linux. False where system, libc or file system cannot."""
    import ctypes  # only here: the daemon replaces nothing

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or a libc without it (glibc before 2.28)
        return False
    renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(folder: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold a folder that is there for oneself. Raises UserError, which names `what` is under way, when another process
    has it; with `wait` it is waited for."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"{folder}: another {what} is under way; try again in a moment.") from None
        yield
    finally:
        os.close(handle)
