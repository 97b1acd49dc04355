"""The PIN in the page's folder, as a scrypt hash that its owner alone can read, and the key that signs sessions.

scrypt: RFC 7914; 16 MiB and some 50 ms of a desktop's core for each try.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from device import files
from device.errors import UserError

FILE = "pin.json"
DIGITS = (4, 12)
MAX_BYTES = 4096
_COST = {"n": 1 << 14, "r": 8, "p": 1}


@dataclass(frozen=True)
class Stored:
    """key: 32 secret bytes that sessions are signed with, new with each PIN. salt, hash: None while no PIN is set."""

    key: bytes
    salt: bytes | None = None
    hash: bytes | None = None


def load(folder: Path) -> Stored:
    """What is stored; of a new folder a key and no PIN. Raises UserError when the file is damaged: without it anybody
    could set a PIN."""
    path = folder / FILE
    try:
        with open(path, "rb") as stream:
            read = json.loads(stream.read(MAX_BYTES))
        key, salt, digest = (base64.b64decode(read[name], validate=True) for name in ("key", "salt", "hash"))
        if len(key) != 32 or len(salt) != 16 or len(digest) != 32:
            raise ValueError("a length is wrong")
        return Stored(key, salt, digest)
    except FileNotFoundError:
        return Stored(secrets.token_bytes(32))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is damaged; delete it as root, then set a new PIN on the device itself.") from error


def store(folder: Path, pin: str) -> Stored:
    """Set the PIN; all sessions end, for they get a new key. Raises UserError for a PIN of another form, or when it
    cannot be written."""
    check_form(pin)
    new = Stored(secrets.token_bytes(32), secrets.token_bytes(16))
    new = Stored(new.key, new.salt, _hash(pin, new.salt))
    text = {name: base64.b64encode(getattr(new, name)).decode() for name in ("key", "salt", "hash")}
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        _write(path, json.dumps(text).encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); correct page.folder.") from error
    return new


def check_form(pin: object) -> None:
    """Raises UserError unless it is of DIGITS ASCII digits, and not one digit repeated."""
    low, high = DIGITS
    good = isinstance(pin, str) and pin.isascii() and pin.isdecimal() and low <= len(pin) <= high
    if not good or len(set(pin)) == 1:
        raise UserError(f"A PIN has {low} to {high} digits that are not all the same; choose another one.")


def right(stored: Stored, pin: str) -> bool:
    """Whether it is the PIN; takes as long when it is not."""
    return stored.salt is not None and hmac.compare_digest(_hash(pin, stored.salt), stored.hash)


def _hash(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, dklen=32, maxmem=64 << 20, **_COST)


def _write(path: Path, data: bytes) -> None:
    """As device.files.write_bytes, but never readable by others, not for an instant."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    files.sync_folder(path.parent)
