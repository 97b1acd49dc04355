"""PiSugar's server: a line of text per request over a UNIX socket.

Protocol: README of PiSugar/pisugar-power-manager-rs, "Unix Domain Socket": `get battery` is answered by
`battery: 84.52`. The server also tells every client of pressed buttons, so other lines are passed over.
"""

import socket
import time
from pathlib import Path

SOCKET = "tmp/pisugar-server.sock"
TIMEOUT_S = 0.15  # for everything together: the frames wait meanwhile
_NAMES = ("battery", "battery_v", "battery_i", "battery_charging", "battery_power_plugged")
_MOST = 4096  # bytes; the answers take some 120


def ask(path: Path, timeout_s: float = TIMEOUT_S) -> dict[str, str] | None:
    """Answers by name, such as {"battery": "84.52"}; those that did not come in time are missing.

    None when there is no server. Never takes longer than `timeout_s` seconds.
    """
    until = time.monotonic() + timeout_s
    said = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(timeout_s)  # a server that accepts nobody blocks here
            server.connect(str(path))
            server.sendall("".join(f"get {name}\n" for name in _NAMES).encode())
            while len(answers := parse(said)) < len(_NAMES) and len(said) < _MOST:
                left = until - time.monotonic()
                if left <= 0:
                    return answers
                server.settimeout(left)
                block = server.recv(_MOST)
                if not block:
                    return answers
                said += block
    except TimeoutError:
        return parse(said)
    except (OSError, ValueError):  # not there, gone meanwhile; a path too long or with a NUL
        return None
    return answers


def parse(said: bytes) -> dict[str, str]:
    """The whole lines of `said` that answer a question of ours, by name; the last one of a name counts."""
    lines = said.decode(errors="replace").split("\n")[:-1]  # what has no end yet may go on
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip() in _NAMES}
