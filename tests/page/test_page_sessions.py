"""The parts of the page's access by themselves: lock-out, cookies, the PIN's file, addresses, refusals."""

import json
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from page_served import PIN, Clock

from device.errors import UserError
from device.page import pin
from device.page.access import counted_as
from device.page.lockout import ADDRESSES, FIRST_S, FREE_TOGETHER, LONGEST_S, Lockout
from device.page.refuse import Refusal, refused
from device.page.sessions import KNOWN, Session, Sessions


def test_lockout_counts_a_network_together_in_bounded_memory() -> None:
    clock = Clock()
    lockout = Lockout(clock)
    for number in range(FREE_TOGETHER):
        assert lockout.locked_s(f"10.0.{number}.1") == 0
        lockout.tried(f"10.0.{number}.1")
    assert lockout.locked_s("10.9.9.9") == FIRST_S
    assert lockout.locked_s(None) == 0
    for number in range(10 * ADDRESSES):
        lockout.tried(f"10.1.{number % 250}.{number}")
        clock.now += 2 * LONGEST_S
    assert len(lockout._counts) <= ADDRESSES
    assert lockout._together.until - clock.now <= LONGEST_S


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        *(("127.0.0.1", None), ("127.3.2.1", None), ("::1", None), ("::ffff:127.0.0.1", None)),
        *(("192.168.4.7", "192.168.4.7"), ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3")),
        *(("fe80::1:2:3:4%wlan0", "fe80::/64"), ("fd12:3::9", "fd12:3::/64")),
    ],
)
def test_whose_tries_are_counted_together(text: str, counted: str | None) -> None:
    assert counted_as(text) == counted


@pytest.mark.parametrize("text", ["8.8.8.8", "2001:4860::1", "", "unix", "::ffff:8.8.8.8"])
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        counted_as(text)


def test_a_damaged_file_of_the_pin_is_no_open_door(tmp_path: Path) -> None:
    pin.store(tmp_path, PIN)
    for damage in (b"", b"{}", b"[]", b'{"key": 1, "salt": 2, "hash": 3}', b"\xff", b'{"key":"","salt":"","hash":""}'):
        (tmp_path / pin.FILE).write_bytes(damage)
        with pytest.raises(UserError, match="damaged"):
            pin.load(tmp_path)


@given(st.text(max_size=600))
def test_no_text_but_our_own_is_a_cookie(text: str) -> None:
    assert Sessions(bytes(32), 60, 600, Clock(), "boot").read(text) is None


def test_a_cookie_altered_by_a_character_is_none() -> None:
    sessions = Sessions(bytes(32), 60, 600, Clock(), "boot")
    cookie = sessions.cookie(sessions.begin("watcher"))
    assert sessions.read(cookie).role == "watcher"
    assert all(
        sessions.read(cookie[:n] + chr(ord(cookie[n]) ^ 1) + cookie[n + 1 :]) is None for n in range(len(cookie))
    )
    assert Sessions(bytes(32), 60, 600, Clock(), "another boot").read(cookie) is None


def test_what_is_held_of_sessions_is_bounded() -> None:
    sessions = Sessions(bytes(32), 60, 600, Clock(), "boot")
    for number in range(3 * KNOWN):
        session = Session(str(number), "watcher", 1000.0, 1000.0)
        sessions.use(session)
        sessions.end(session)
    assert len(sessions._used) <= KNOWN
    assert len(sessions._ended) <= KNOWN


def test_refusals_are_json() -> None:
    answer = refused(Refusal(409, "word", "A sentence.", left=3))
    assert isinstance(answer, web.Response)
    assert json.loads(answer.text) == {"ok": False, "error": "A sentence.", "code": "word", "left": 3}
