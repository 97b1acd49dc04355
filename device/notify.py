"""What the daemon tells systemd: the sd_notify protocol, man sd_notify(3) and sd_watchdog_enabled(3).

One datagram per message to the socket that NOTIFY_SOCKET names. Nothing here raises when systemd is not there: a
daemon that dies because nobody listens would be worse than one that nobody hears.
"""

import os
import socket
import time
from collections.abc import Mapping

START_S = 45.0  # TimeoutStartSec of the unit
AGAIN = "BUSI_KD_AGAIN"  # in the environment of a process that has begun anew in place


class Notifier:
    """The way to systemd, or to nobody. environ: where NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID and AGAIN are.

    watchdog_s: within how many seconds systemd wants to hear of progress, None when it does not.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environ)
        self._socket: socket.socket | None = None
        self._fed = -float("inf")
        self._status = ""
        self.is_ready = False
        self._again = AGAIN in environ and self.watchdog_s is not None

    def ready(self) -> None:
        """READY=1, once: start-up is over. A message that could not be sent is sent by the next call."""
        back = f"\nWATCHDOG_USEC={round(self.watchdog_s * 1e6)}" if self._again else ""
        self.is_ready = self.is_ready or self._send(f"READY=1{back}") or self._address is None

    def status(self, text: str) -> None:
        """STATUS=: one line for `systemctl status`; the same line is not sent twice."""
        line = " ".join(text.split())  # a line break would begin another assignment
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def progress(self) -> None:
        """WATCHDOG=1: there was progress just now. Four messages per watchdog period are sent at most."""
        if self.watchdog_s is not None and time.monotonic() - self._fed >= self.watchdog_s / 4:
            if self._send("WATCHDOG=1"):
                self._fed = time.monotonic()

    def stopping(self) -> None:
        """STOPPING=1: the daemon ends of its own will or was told to."""
        self._send("STOPPING=1")

    def starting_again(self) -> None:
        """RELOADING=1: the same process begins anew, with AGAIN in its environment; the watchdog waits as long as a
        start may take, until the next READY=1."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        if self.watchdog_s is not None:
            self._send(f"WATCHDOG=1\nWATCHDOG_USEC={round(START_S * 1e6)}")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)  # a full queue must not hold up a frame
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # gone, full, or not permitted
            return False
        return True


def _address(name: str) -> str | None:
    """The socket's address: `@name` is Linux's abstract name space; None for anything that is no UNIX socket."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds; None when unset, unreadable, or meant for another process."""
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        if microseconds <= 0 or int(environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
    except (KeyError, ValueError):
        return None
    return microseconds / 1e6
