"""A USB HDMI grabber for the virtual machine, 534d:2109, MJPEG only: `vhci-hcd` and `uvcvideo` take it for a real one.

A Grabber speaks USB/IP (kernel: Documentation/usb/usbip_protocol.rst) over a socket pair whose other end it gives to
the virtual host controller. Descriptors and the stream are those of the USB Device Class Definition for Video Devices
1.0, over a bulk endpoint, since the emulated bus has no isochronous transfers.
"""

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path

SIZES = ((1280, 720), (640, 480))
_PAYLOAD = 16384  # bytes of one transfer, with the two of its header
_INTERVAL = 333333  # 100 ns units: 30 frames a second
_HOST = Path("/sys/devices/platform/vhci_hcd.0")
_HIGH_SPEED, _BUS_AND_NUMBER = 3, 0x10002
_STALL, _UNLINKED = -32, -104


def _described(*data: int | bytes) -> bytes:
    """A descriptor: its length, then `data`."""
    body = b"".join(piece if isinstance(piece, bytes) else bytes((piece,)) for piece in data)
    return bytes((len(body) + 1,)) + body


def _frame(number: int, width: int, height: int) -> bytes:
    rates = struct.pack("<IIIIB", width * height * 8, width * height * 480, width * height * 2, _INTERVAL, 1)
    sizes = struct.pack("<BBHH", number, 0, width, height)
    return _described(0x24, 7, sizes + rates + struct.pack("<I", _INTERVAL))


def _configuration() -> bytes:
    frames = b"".join(_frame(number, *size) for number, size in enumerate(SIZES, 1))
    form = _described(0x24, 6, bytes((1, len(SIZES), 1, 1, 0, 0, 0, 0))) + frames + _described(0x24, 13, 1, 1, 4)
    streaming = _described(0x24, 1, 1, struct.pack("<H", 14 + len(form)), bytes((0x81, 0, 2, 0, 0, 0, 1, 0))) + form
    units = _described(0x24, 2, 1, struct.pack("<HB", 0x0201, 0), 0, bytes((0,) * 6), bytes((3, 0, 0, 0)))
    units += _described(0x24, 3, 2, struct.pack("<HBBB", 0x0101, 0, 1, 0))
    control = _described(0x24, 1, struct.pack("<HHI", 0x100, 13 + len(units), 48_000_000), 1, 1) + units
    body = _described(11, 0, 2, 14, 3, 0, 0) + _described(4, 0, 0, 0, 14, 1, 0, 0) + control
    body += _described(4, 1, 0, 1, 14, 2, 0, 0) + streaming + _described(5, 0x81, 2, struct.pack("<H", 512), 0)
    return _described(2, struct.pack("<H", 9 + len(body)), 2, 1, 0, 0x80, 250) + body


_DEVICE = _described(1, struct.pack("<HBBBBHHH", 0x200, 0xEF, 2, 1, 64, 0x534D, 0x2109, 0x2100), 1, 2, 3, 1)
_STRINGS = ("", "MACROSILICON", "USB Video (emulated)", "0001")


def _string(index: int) -> bytes:
    return _described(3, struct.pack("<H", 0x409) if index == 0 else _STRINGS[index].encode("utf-16le"))


class Grabber:
    """frames: JPEG pictures, sent in turn for as long as the host asks for them; may be replaced at any time. None: the
    grabber falls silent, as on a lost signal."""

    def __init__(self, frames: list[bytes] | None) -> None:
        self.frames = frames
        self._probe = struct.pack("<HBBIHHHHHII", 1, 1, 1, _INTERVAL, 0, 0, 0, 0, 32, 1280 * 720 * 2, _PAYLOAD)
        self._wanted: list[tuple[int, int]] = []  # (number, length) of transfers that the host waits for
        self._more = threading.Condition()
        self._writing = threading.Lock()
        self._ended = False
        mine, theirs = socket.socketpair()
        self._socket = mine
        for work in (self._listen, self._send):
            threading.Thread(target=work, daemon=True).start()
        ports = [line.split() for line in (_HOST / "status").read_text().splitlines()]
        self._port = next(int(port[1]) for port in ports if port[0] == "hs" and port[2] == "004")  # 4: nothing there
        (_HOST / "attach").write_text(f"{self._port} {theirs.fileno()} {_BUS_AND_NUMBER} {_HIGH_SPEED}\n")
        theirs.close()

    def unplug(self) -> None:
        """Take the plug out of the host."""
        (_HOST / "detach").write_text(str(self._port))

    def _listen(self) -> None:
        with self._socket.makefile("rb") as stream:
            while len(head := stream.read(48)) == 48:
                command, number, _, inward, endpoint, _, length = struct.unpack(">7I", head[:28])
                if command == 1:  # a transfer
                    out = stream.read(length) if not inward else b""
                    if endpoint:
                        with self._more:
                            self._wanted.append((number, length))
                            self._more.notify()
                        continue
                    status, data = self._control(head[40:48], out)
                    self._answer(number, status, data, len(data) if inward else len(out))
                elif command == 2:  # takes one back
                    with self._more:  # an answer must not follow that to its withdrawal
                        other = struct.unpack(">I", head[20:24])[0]
                        left = [item for item in self._wanted if item[0] != other]
                        status = _UNLINKED if len(left) < len(self._wanted) else 0
                        self._wanted = left
                        with self._writing:
                            self._socket.sendall(struct.pack(">5Ii24x", 4, number, 0, 0, 0, status))
        with self._more:
            self._ended = True
            self._more.notify()

    def _answer(self, number: int, status: int, data: bytes, length: int) -> None:
        with self._writing:
            self._socket.sendall(struct.pack(">5IiI20x", 3, number, 0, 0, 0, status, length) + data)

    def _control(self, setup: bytes, out: bytes) -> tuple[int, bytes]:
        """The answer to a request on endpoint 0: (status, data)."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if (kind, request) == (0x80, 6):
            what, which = value >> 8, value & 0xFF
            if what == 3 and which < len(_STRINGS):
                return 0, _string(which)[:length]
            found = {1: _DEVICE, 2: _configuration()}.get(what)
            return (0, found[:length]) if found else (_STALL, b"")
        if kind in (0, 1, 2) and request in (1, 3, 9, 11):  # features, configuration, interface
            return 0, b""
        if kind & 0x80 and request in (0, 10) and not kind & 0x60:
            return 0, bytes(2)[:length]
        if kind & 0x7F == 0x21 and index & 0xFF == 1 and value >> 8 in (1, 2):  # probe and commit
            if request == 1:
                frame = min(max(out[3], 1), len(SIZES))
                width, height = SIZES[frame - 1]
                self._probe = self._probe[:3] + bytes((frame,)) + self._probe[4:18]
                self._probe += struct.pack("<II", width * height * 2, _PAYLOAD)
                return 0, b""
            if request in (0x81, 0x82, 0x83, 0x87):
                return 0, self._probe[:length]
            if request in (0x85, 0x86):
                return 0, struct.pack("<H", 26)[:length] if request == 0x85 else b"\x03"
        return _STALL, b""

    def _send(self) -> None:
        """Frame after frame in payloads: a header of two bytes whose low bit tells frames apart."""
        toggle, count = 0, 0
        while True:
            frames = self.frames
            if frames is None:
                if self._pause():
                    return
                continue
            frame = frames[count % len(frames)]
            at = 0
            while at < len(frame):
                with self._more:
                    while not self._wanted and not self._ended:
                        self._more.wait()
                    if self._ended:
                        return
                    number, length = self._wanted.pop(0)
                    piece = frame[at : at + min(length, _PAYLOAD) - 2]
                    at += len(piece)
                    head = bytes((2, 0x80 | toggle | (2 if at >= len(frame) else 0)))
                    try:
                        self._answer(number, 0, head + piece, len(piece) + 2)
                    except OSError:
                        return
            toggle, count = toggle ^ 1, count + 1
            if self._pause():
                return

    def _pause(self) -> bool:
        """A thirtieth of a second; True when the host is gone."""
        with self._more:
            return self._more.wait_for(lambda: self._ended, 1 / 30)


def node() -> str | None:
    """The capture node of the grabber, once the driver has made it; None again when it has gone."""
    for path in Path("/sys/class/video4linux").iterdir():
        with contextlib.suppress(OSError):  # it goes while it is looked at
            if "USB Video" in (path / "name").read_text() and (path / "index").read_text().strip() == "0":
                return os.path.join("/dev", path.name)
    return None


def without_tables(data: bytes) -> bytes:
    """A JPEG picture without its Huffman tables, as cheap grabbers send it: those of T.81, annex K.3 are meant."""
    out, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        out += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return bytes(out + data[at:])
