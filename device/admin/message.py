"""One packet each way (SOCK_SEQPACKET): {"verb": ...} and perhaps a file's descriptor; an answer of plain data."""

import array
import json
import os
import socket
from dataclasses import dataclass
from typing import Any

from device.errors import UserError

MOST = 1 << 16  # bytes of a packet
VERBS = {"clock": {"unix"}, "reboot": set(), "poweroff": set(), "restart": set(), "doctor": set()}
VERBS |= {"install": set(), "rollback": set()}
VERBS |= {"update": set(), "update-stick": set(), "update-rollback": set(), "renew": set()}
EARLIEST, LATEST = 1_704_067_200, 4_102_444_800  # 2024 and 2100, seconds since 1970


@dataclass(frozen=True)
class Asked:
    """verb: one of VERBS. unix: of `clock`, seconds since 1970."""

    verb: str
    unix: float | None = None


def parse(data: bytes) -> Asked:
    """A packet -> what is asked. Raises UserError for anything but the closed list."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError("The helper takes JSON alone.") from error
    verb = said.get("verb") if isinstance(said, dict) else None
    if not isinstance(verb, str) or verb not in VERBS or set(said) != {"verb"} | VERBS[verb]:
        raise UserError(f"The helper knows {', '.join(VERBS)}, and no more.")
    if verb != "clock":
        return Asked(verb)
    unix = said["unix"]
    if isinstance(unix, bool) or not isinstance(unix, int | float) or not EARLIEST <= unix <= LATEST:
        raise UserError("A clock is set to a time between 2024 and 2100, in seconds since 1970.")
    return Asked(verb, float(unix))


def send(sock: socket.socket, said: dict[str, Any], descriptor: int | None = None) -> None:
    """Send a packet; an answer that is too long is cut to its sentence."""
    data = json.dumps(said).encode()
    if len(data) > MOST:
        data = json.dumps({"ok": False, "error": "The answer is too long.", "code": "long"}).encode()
    handed = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    sock.sendmsg([data], handed)


def receive(sock: socket.socket) -> tuple[bytes, int | None]:
    """A packet and the descriptor that came with it, the caller's to close; further ones are closed here."""
    size = array.array("i").itemsize
    data, handed, _, _ = sock.recvmsg(MOST, socket.CMSG_SPACE(4 * size), socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, given in handed:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(given[: len(given) - len(given) % size])
    for extra in found[1:]:
        os.close(extra)
    return data, found[0] if found else None
