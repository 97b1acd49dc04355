"""A socket in systemd's place, and what daemon tests read from what a run leaves behind."""

import csv
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60  # for what must come; nothing waits that long unless something is broken


@contextmanager
def notify_socket(path: Path) -> Iterator[socket.socket]:
    """The datagram socket that systemd would listen on; NOTIFY_SOCKET is its getsockname()."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(PATIENCE_S)
        yield sock


def wait_for(sock: socket.socket, start: str) -> list[str]:
    """Receive until a message begins with `start`; returns all of them."""
    messages = [sock.recv(4096).decode()]
    while not messages[-1].startswith(start):
        messages.append(sock.recv(4096).decode())
    return messages


def pending(sock: socket.socket) -> list[str]:
    """What lies unread in the socket now."""
    sock.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(sock.recv(4096).decode())
    except BlockingIOError:
        sock.settimeout(PATIENCE_S)
        return messages


def read_rows(path: Path) -> tuple[str, list[dict[str, str]]]:
    """The first comment line and the rows of a file of verdicts."""
    comment, *lines = path.read_text().splitlines()
    return comment, list(csv.DictReader(line for line in lines if not line.startswith("#")))
