"""The sd_notify protocol against real datagram sockets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from listening import pending

from device.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """NOTIFY_SOCKET's value and the socket behind it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@busi-kd-{os.getpid()}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        yield name, sock


def test_messages_are_those_of_the_protocol(listener: tuple[str, socket.socket]) -> None:
    name, sock = listener
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.status("waiting")
    notifier.ready()
    notifier.progress()
    notifier.stopping()
    notifier.close()
    assert pending(sock) == ["STATUS=waiting", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_nothing_is_repeated_that_needs_no_repeating(listener: tuple[str, socket.socket]) -> None:
    name, sock = listener
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(3600 * 10**6)})
    for _ in range(3):
        notifier.ready()
        notifier.status("the same")
        notifier.progress()
    assert pending(sock) == ["READY=1", "STATUS=the same", "WATCHDOG=1"]


def test_the_watchdog_is_fed_again_after_a_quarter_of_its_time(
    listener: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sock = listener
    now = 50.0
    monkeypatch.setattr("device.notify.time.monotonic", lambda: now)
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "8000000"})
    for now in (50.0, 51.9, 52.0, 53.0, 54.1):  # noqa: B007 read by the stand-in clock above
        notifier.progress()
    assert pending(sock) == ["WATCHDOG=1"] * 3


def test_a_status_cannot_smuggle_in_another_assignment(listener: tuple[str, socket.socket]) -> None:
    name, sock = listener
    Notifier({"NOTIFY_SOCKET": name}).status("no device: /x\nREADY=1")
    assert pending(sock) == ["STATUS=no device: /x READY=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "me"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(listener: tuple[str, socket.socket], environ: dict[str, str]) -> None:
    name, sock = listener
    notifier = Notifier({"NOTIFY_SOCKET": name, **environ})
    assert notifier.watchdog_s is None
    notifier.progress()
    assert pending(sock) == []


@pytest.mark.parametrize("name", [None, "", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_without_systemd_nothing_happens(name: str | None) -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"} | ({} if name is None else {"NOTIFY_SOCKET": name}))
    notifier.ready()
    notifier.status("running")
    notifier.progress()
    notifier.stopping()
    notifier.close()


def test_ready_is_said_again_until_it_was_heard(tmp_path: Path) -> None:
    name = str(tmp_path / "late")
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("running")
    assert not notifier.is_ready
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        notifier.ready()
        notifier.ready()
        notifier.status("running")
        assert pending(sock) == ["READY=1", "STATUS=running"]
    assert notifier.is_ready


def test_a_full_queue_does_not_hold_up_the_daemon(listener: tuple[str, socket.socket]) -> None:
    name, sock = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for number in range(5000):  # more than any queue holds; a blocking send would hang here
        notifier.status(str(number))
    notifier.ready()
    assert not notifier.is_ready
    assert 0 < len(pending(sock)) < 5000
    notifier.ready()
    assert pending(sock) == ["READY=1"]
