"""The page's side of the helper."""

import json
import socket
from pathlib import Path
from typing import Any

from device.admin.message import MOST, send

ASK_S = 120.0  # a model is tried, and the doctor looks at everything, on a slow card


class NoHelper(Exception):
    """The helper does not answer; str() is a sentence."""


def ask(path: Path, verb: str, descriptor: int | None = None, seconds: float = ASK_S, **values: Any) -> dict[str, Any]:
    """The helper's answer, {"ok": ..., ...}. Waits for it. Raises NoHelper."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(seconds)
            sock.connect(str(path))
            send(sock, {"verb": verb, **values}, descriptor)
            data = sock.recv(MOST)
        said = json.loads(data)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise NoHelper(f"{path}: the helper does not answer ({why}); start it: busi-kd-admin.socket.") from error
    if not isinstance(said, dict):
        raise NoHelper(f"{path}: what answers is not the helper.")
    return said
