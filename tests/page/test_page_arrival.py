"""A study counts as exported once the browser has read all of it and ended the connection, and not before."""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from page_served import Browser, play, serving
from test_page_studies import exported

from device.page import arrival
from device.store import LEAVING
from tests.device.store_things import picture, recorder, snapshot

SMALL, LARGE = 1, 20  # pictures of 120 kB: all of it fits into the kernel's buffers, and not all


def rest(client: socket.socket, length: int) -> None:
    """Read so many bytes."""
    while length:
        got = client.recv(min(length, 1 << 16))
        assert got
        length -= len(got)


def reset(client: socket.socket, length: int) -> None:
    """A phone that leaves at once: what it has not read it never will."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def leave(client: socket.socket, length: int) -> None:
    """A download that is cancelled: the browser ends the connection like any other."""
    client.close()


def leave_at_the_end(client: socket.socket, length: int) -> None:
    """All but the last bytes."""
    rest(client, length - 100)
    client.close()


def stay(client: socket.socket, length: int) -> None:
    """A phone that sleeps: its kernel still acknowledges what it has room for."""


def read_and_stay(client: socket.socket, length: int) -> None:
    """One that never ends the connection: nobody knows whether it has read."""
    rest(client, length)


def read_and_leave(client: socket.socket, length: int) -> None:
    """As browsers do."""
    rest(client, length)
    client.close()


def read_to_the_end_and_leave(client: socket.socket, length: int) -> None:
    """As programs do that wait for the server's end."""
    rest(client, length)
    assert client.recv(1) == b""
    client.close()


def asked(browser: Browser, path: str, then: Callable[[socket.socket, int], None]) -> socket.socket:
    """Ask for a file over a socket of one's own, read the answer's head, and then do that with (socket, bytes left)."""
    (cookie,) = browser.http.cookie_jar
    host = browser.base.removeprefix("http://")
    client = socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), 30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie.key}={cookie.value}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 200")
    (length,) = (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    then(client, length)
    return client


@pytest.mark.parametrize("pictures", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("then", "counts"),
    [
        (reset, False),
        (leave, False),
        (leave_at_the_end, False),
        (stay, False),
        (read_and_stay, False),
        (read_and_leave, True),
        (read_to_the_end_and_leave, True),
    ],
)
def test_a_study_counts_as_exported_once_all_of_it_was_read(
    alone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pictures: int,
    then: Callable[[socket.socket, int], None],
    counts: bool,
) -> None:
    with recorder(tmp_path / "studies", reserve_bytes=0) as one:
        for number in range(pictures):
            one.save_frame(picture(number, 300, 400), snapshot(), True)
        study = one.study.id
    if then in (stay, read_and_stay):
        monkeypatch.setattr(arrival, "WITHIN_S", 0.3)

    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            path = f"/api/studies/{study}.zip"
            client = await asyncio.get_running_loop().run_in_executor(None, asked, browser, path, then)
            with client:
                if then is stay and pictures == LARGE:
                    client.close()  # it wakes up, and has given up: until then the rest could not even be handed over
                # The file goes when the server has done with the answer.
                await browser.until(lambda: not any((tmp_path / "studies" / LEAVING).iterdir()))
            assert (exported(tmp_path, study) is not None) is counts

    play(scenario)


def test_what_could_not_be_noted_spoils_no_answer_that_has_left(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recorder(tmp_path / "studies", reserve_bytes=0) as one:
        one.save_frame(picture(0, 300, 400), snapshot(), True)
        study = one.study.id

    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            whole = (await browser.raw(f"/api/studies/{study}.zip"))[1]

            def read_and_hide(client: socket.socket, length: int) -> None:
                read = b""
                while len(read) < length:
                    read += client.recv(1 << 16)
                assert read == whole
                (tmp_path / "studies/studies.sqlite").rename(tmp_path / "hidden")
                assert client.recv(1) == b""

            path = f"/api/studies/{study}.zip"
            client = await asyncio.get_running_loop().run_in_executor(None, asked, browser, path, read_and_hide)
            client.close()
            await browser.until(lambda: not any((tmp_path / "studies" / LEAVING).iterdir()))

    play(scenario)
    assert "could not be noted (Nothing was saved yet.)" in capsys.readouterr().out
