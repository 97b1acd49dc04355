"""Whether an answer has arrived: that its bytes were handed to the kernel says nothing of it, for megabytes wait there.

The last answer of a connection is followed by its end, and the other side then ends it, too (RFC 9112, 9.6). A system
that ends one with bytes that nobody has read resets it instead (RFC 1122, 4.2.2.13: Linux, Android and Windows do), so
an orderly end says that the browser has read everything. Apple's systems may not reset: there it is known that all
of it has reached the machine, and no more.
"""

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

WITHIN_S = 120.0  # after the last byte was handed over: what the kernels hold, on a slow radio link
_LOOK_S = 0.05


@contextmanager
def alone(transport: asyncio.Transport) -> Iterator[socket.socket]:
    """The connection's socket, from which nobody else reads from now on: the server would take its end away unseen."""
    transport.pause_reading()
    with transport.get_extra_info("socket").dup() as own:
        yield own


async def arrived(transport: asyncio.Transport, own: socket.socket, within_s: float) -> bool:
    """Whether the other side acknowledges all that was sent and then ends the connection in order, within that time.

    Nothing can be sent on it any more. own: of `alone`, since before the first byte was sent.
    """
    transport.write_eof()
    closed, until = False, asyncio.get_running_loop().time() + within_s
    while not transport.is_closing() and asyncio.get_running_loop().time() < until:
        try:
            closed = closed or _closed(own)
            acknowledged = not transport.get_write_buffer_size() and _unacknowledged(own) == 0
        except OSError:  # it was reset
            return False
        if own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # after the end that it had seen already
            return False
        if closed and acknowledged:
            return True
        await asyncio.sleep(_LOOK_S)
    return False


def _closed(own: socket.socket) -> bool:
    try:
        while own.recv(1 << 16):
            pass  # it was told that nothing more is answered here
    except BlockingIOError:
        return False
    return True


def _unacknowledged(own: socket.socket) -> int:
    """Bytes that the other side has not acknowledged (SIOCOUTQ of tcp(7), which is TIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(own, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
