"""Passwords and private keys: read from files that only their owner may read, never said anywhere."""

import os
import stat
from pathlib import Path

from device.errors import UserError

MAX_BYTES = 1024
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=: root's files for a service without root


def found(path: Path) -> Path:
    """The file to read for `path`: of the same name in systemd's folder of credentials, else `path` itself.

    What systemd hands over is guarded by it. Of any other file its rights are checked: raises UserError where it is
    missing, no ordinary file, or others than its owner may read it.
    """
    folder = os.environ.get(CREDENTIALS)
    if folder:
        handed = Path(folder) / path.name
        if handed.is_file() and handed.read_bytes().strip():  # an empty one stands for a file that is not there
            return handed
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it, or correct [fleet].") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is no ordinary file; correct [fleet].")
    if mode & 0o077:
        raise UserError(f"{path}: others than its owner may use it; run: chmod 600 {path}")
    return path


def password(path: Path) -> str:
    """The one line of the file. Raises UserError as `found` does, and where it is empty, has more lines or no text."""
    file = found(path)
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); the service is handed only {path.name} of /etc/busi-kd."
        ) from error
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""  # not shown, whatever it is
    if not text or len(data) > MAX_BYTES or len(text.splitlines()) != 1:
        raise UserError(f"{path}: holds no password in one line of at most {MAX_BYTES} bytes; write it anew.")
    return text
