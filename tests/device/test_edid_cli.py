"""`busi-kd device edid` before a driver that keeps its EDID as the kernel's do; tests/vm does it before vivid."""

import ctypes
import errno
import fcntl
import os

import pytest
from linuxpy.video import raw

from device import main
from device.capture import edid_cli
from device.capture.edid import default_edid


class Bridge:
    """Answers G_EDID and S_EDID in place of a driver; held: what it shows, None when it knows no EDID at all."""

    def __init__(self, held: bytes | None, refuses: int = 0) -> None:
        self.held, self.refuses = held, refuses
        self.set = 0

    def __call__(self, descriptor: int, request: int, said: object, *rest: object) -> int:
        name = raw.IOC(request).name
        if self.held is None:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if name == "S_EDID":
            if self.refuses:
                raise OSError(self.refuses, os.strerror(self.refuses))
            self.set += 1
            self.held = ctypes.string_at(said.edid, said.blocks * 128)
            return 0
        assert name == "G_EDID"
        if not self.held:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        if said.blocks == 0:  # "if start_block and blocks are both 0, the driver will set blocks" (VIDIOC_G_EDID)
            said.blocks = len(self.held) // 128
        else:
            ctypes.memmove(said.edid, self.held, said.blocks * 128)
        return 0


OTHER = bytes(range(128))


@pytest.mark.parametrize(
    ("held", "replace", "times", "words"),
    [
        (b"", False, 1, "shows busi-kd's EDID of 256 bytes now"),
        (OTHER, False, 0, "shows an EDID of its own of 128 bytes, which stays"),
        (OTHER, True, 1, "shows busi-kd's EDID of 256 bytes now"),
        (default_edid(), True, 0, "shows busi-kd's EDID of 256 bytes already"),
        (None, False, 0, "knows no EDID that could be set"),
    ],
)
def test_who_is_given_one(
    held: bytes | None,
    replace: bool,
    times: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bridge = Bridge(held)
    monkeypatch.setattr(fcntl, "ioctl", bridge)
    assert main.main(["device", "edid", "/dev/null", *["--replace"] * replace]) == 0
    assert bridge.set == times
    assert bridge.held == (default_edid() if times else held)
    assert words in capsys.readouterr().out


def test_what_it_shows_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", Bridge(OTHER))
    assert edid_cli.read(0) == OTHER


def test_a_driver_that_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", Bridge(b"", errno.EBUSY))
    assert main.main(["device", "edid", "/dev/null"]) == 2
    assert "/dev/null: its EDID cannot be set" in capsys.readouterr().err
    assert main.main(["device", "edid", "/dev/no-such-bridge"]) == 2
    assert "/dev/no-such-bridge: cannot be opened" in capsys.readouterr().err
