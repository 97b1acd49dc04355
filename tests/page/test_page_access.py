"""Who gets in: PINs, lock-out, sessions, roles, CSRF, origins and names; each good case, and what is refused."""

import asyncio
import stat
from pathlib import Path

import aiohttp
import pytest
from page_served import PIN, Clock, configuration, play, serving
from yarl import URL

from device.page import pin, server
from device.page.access import COOKIE
from device.page.lockout import FREE, Lockout

REMOTE = "192.168.4.7"


def test_the_first_pin_is_set_on_the_own_screen_and_then_signs_in(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            remote, browser = served.browser(), served.browser()
            served.page.address = lambda _: REMOTE
            status, said = await remote.first_pin()
            assert (status, said["code"]) == (403, "local")
            served.page.address = counted_local
            status, said = await browser.ask("GET", "/api/session")
            assert (status, said["role"], said["pin_set"], said["local"]) == (200, None, False, True)
            for wrong in ("12", "1234567890123", "1111", "12a4", "١٢٣٤٥", 123456, None):
                status, said = await browser.ask("POST", "/api/pin", {"new": wrong})
                assert (status, said["code"]) == (400, "wrong"), wrong
            status, said = await browser.first_pin()
            assert (status, said["role"], said["pin_set"]) == (200, "technician", True)
            assert (await browser.ask("GET", "/api/timeline"))[0] == 200
            status, said = await browser.ask("POST", "/api/pin", {"new": "123456"})
            assert (status, said["code"]) == (409, "set")
            file = served.page.own.folder / pin.FILE
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert PIN not in file.read_text()

    play(scenario)


def counted_local(_: object) -> None:
    return None


def test_wrong_pins_lock_for_longer_and_longer_and_not_the_own_screen(alone: Path) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(alone, clock) as served:
            await served.signed_in()
            served.page.address = lambda _: REMOTE
            browser = served.browser()
            for left in range(FREE - 1, -1, -1):
                status, said = await browser.sign_in(pin="9999123")
                assert (status, said["code"], said["left"]) == (403, "wrong", left)
            locked = 30.0
            for _ in range(3):
                status, said = await browser.sign_in()  # the right one, too
                assert (status, said["code"]) == (429, "locked")
                assert said["locked_s"] == pytest.approx(locked)
                assert (await browser.ask("GET", "/api/session"))[1]["locked_s"] == pytest.approx(locked)
                clock.now += locked + 0.1
                assert (await browser.sign_in(pin="0000123"))[0] == 403
                locked *= 2
            served.page.address = lambda _: "192.168.4.8"
            assert (await served.browser().sign_in())[0] == 200
            served.page.address = counted_local
            assert (await served.browser().sign_in())[0] == 200

    play(scenario)


def test_many_tries_at_a_time_are_as_few(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone, Clock()) as served:
            await served.signed_in()
            browser = served.browser()
            answers = await asyncio.gather(*(browser.sign_in(pin=f"5555{n:02d}") for n in range(30)))
            statuses = [status for status, _ in answers]
            assert (statuses.count(403), statuses.count(429)) == (FREE, 30 - FREE)

    play(scenario)


def test_the_pairing_pin_signs_one_person_in_and_ends(alone: Path) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(alone, clock) as served:
            technician = await served.signed_in()
            served.page.address = lambda _: REMOTE
            assert (await served.browser().ask("GET", "/api/pairing"))[0] == 401
            watcher = await served.signed_in("watcher")
            assert (await watcher.ask("GET", "/api/pairing"))[0] == 403
            paired = (await technician.ask("GET", "/api/pairing"))[1]["pin"]
            assert len(paired) == 6
            status, said = await served.browser().sign_in("watcher", paired)
            assert (status, said["role"]) == (200, "watcher")
            assert (await served.browser().sign_in("watcher", paired))[0] == 403
            late = (await technician.ask("GET", "/api/pairing"))[1]
            clock.now += late["expires_s"] + 1
            assert (await served.browser().sign_in("watcher", late["pin"]))[0] == 403
            tried = (await technician.ask("GET", "/api/pairing"))[1]["pin"]
            served.page.access.lockout = Lockout(clock)
            for number in range(5):  # each from another address
                served.page.address = lambda _, n=number: f"10.0.0.{n}"
                assert (await served.browser().sign_in("watcher", "1"))[0] == 403
            assert (await served.browser().sign_in("watcher", tried))[0] == 403

    play(scenario)


def test_a_session_ends_when_nobody_uses_it_and_at_its_longest(alone: Path) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(alone, clock) as served:
            browser = await served.signed_in()
            own = served.page.own
            clock.now += own.session_idle_s - 1
            assert (await browser.ask("GET", "/api/timeline"))[0] == 200
            clock.now += own.session_idle_s - 1
            assert (await browser.ask("GET", "/api/timeline"))[0] == 200
            clock.now += own.session_idle_s + 1
            status, said = await browser.ask("GET", "/api/timeline")
            assert (status, said["code"]) == (401, "session")
            browser = await served.signed_in()
            for _ in range(int(own.session_longest_s // (own.session_idle_s / 2))):
                clock.now += own.session_idle_s / 2
                assert (await browser.ask("GET", "/api/timeline"))[0] == 200
            clock.now += own.session_idle_s / 2
            assert (await browser.ask("GET", "/api/timeline"))[0] == 401

    play(scenario)


def test_signing_out_and_another_pin_end_sessions(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser, other = await served.signed_in(), await served.signed_in()
            cookies = browser.http.cookie_jar.filter_cookies(URL(browser.base))
            kept = cookies[COOKIE].value
            assert (await browser.ask("DELETE", "/api/session", headers={"X-CSRF": "no"}))[0] == 403
            assert (await browser.ask("DELETE", "/api/session"))[0] == 200
            stolen = served.browser()
            stolen.http.cookie_jar.update_cookies({COOKIE: kept})
            assert (await stolen.ask("GET", "/api/timeline"))[0] == 401
            assert (await other.ask("PUT", "/api/pin", {"old": "404040", "new": "314159"}))[0] == 403
            status, said = await other.ask("PUT", "/api/pin", {"old": PIN, "new": "314159"})
            assert status == 200
            assert (await other.ask("GET", "/api/timeline"))[0] == 200  # its new session
            other.csrf = said["csrf"]
            assert (await served.browser().sign_in())[0] == 403
            assert (await served.browser().sign_in(pin="314159"))[0] == 200

    play(scenario)


def test_a_session_outlives_the_pages_process_and_not_its_key(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            kept = browser.http.cookie_jar.filter_cookies(URL(browser.base))[COOKIE].value
        async with serving(alone) as again:
            browser = again.browser()
            browser.http.cookie_jar.update_cookies({COOKIE: kept})
            assert (await browser.ask("GET", "/api/timeline"))[0] == 200
            (again.page.own.folder / pin.FILE).unlink()
        async with serving(alone) as fresh:
            browser = fresh.browser()
            browser.http.cookie_jar.update_cookies({COOKIE: kept})
            assert (await browser.ask("GET", "/api/timeline"))[0] == 401

    play(scenario)


def test_the_own_screen_needs_no_pin_where_that_is_set(tmp_path: Path, bundle_dir: Path) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    config.write_text(config.read_text().replace("[page]", "[page]\nlocal_without_pin = true"))

    async def scenario() -> None:
        async with serving(config) as served:
            browser = served.browser()
            assert (await browser.ask("POST", "/api/session", {"role": "technician"}))[0] == 200
            served.page.address = lambda _: REMOTE
            assert (await served.browser().ask("POST", "/api/session", {"role": "technician"}))[0] == 400

    play(scenario)


OPEN = {("GET", "/"), ("GET", "/static/{name:.+}"), ("GET", "/texts/{name}"), ("GET", "/api/session")}
OPEN |= {("POST", "/api/session"), ("DELETE", "/api/session"), ("POST", "/api/pin"), ("GET", "/api/pairing")}
WATCHED = {"/api/live", "/api/snapshot", "/api/timeline", "/api/telemetry", "/api/frame.jpg", "/api/doctor"}
STUDY = "00000000-0000-0000-0000-000000000000"


def concrete(path: str) -> str:
    study = path.replace("{id:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}}", STUDY)
    return study.replace("{number:[0-9]{1,6}}", "1")


def test_everything_else_needs_a_session_a_role_and_a_token(alone: Path) -> None:
    """Of every route that there is: so that one that is added cannot be forgotten."""

    async def scenario() -> None:
        async with serving(alone) as served:
            technician, watcher = await served.signed_in(), await served.signed_in("watcher")
            nobody = served.browser()
            for route in server.routes():
                key, path = (route.method, route.path), concrete(route.path)
                assert "{" not in path or key in OPEN
                if key in OPEN:
                    continue
                status, said = await nobody.ask(route.method, path)
                assert (status, said["code"]) == (401, "session"), key
                if path not in WATCHED:
                    status, said = await watcher.ask(route.method, path)
                    assert (status, said["code"]) == (403, "role"), key
                if route.method != "GET":
                    for headers in ({"X-CSRF": ""}, {"X-CSRF": watcher.csrf}, {"X-CSRF": "é"}):
                        status, said = await technician.ask(route.method, path, headers=headers)
                        assert (status, said["code"]) == (403, "csrf"), key

    play(scenario)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1", "http://localhost"])
def test_another_site_may_ask_nothing(alone: Path, origin: str) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            foreign = {"Origin": origin}
            for method, path in (("POST", "/api/hold"), ("POST", "/api/session"), ("GET", "/api/timeline")):
                status, said = await browser.ask(method, path, {} if method == "POST" else None, headers=foreign)
                assert (status, said["code"]) == (403, "origin")
            for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
                assert (await browser.ask("GET", "/api/timeline", headers=headers))[1]["code"] == "origin"
            for more in ({"origin": origin}, {"origin": None}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await browser.live(**more)
                assert refused.value.status == 403

    play(scenario)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("evil.example", 421), ("evil.example:8080", 421), ("8.8.8.8", 421), ("", 421), ("a b", 421), ("[::1", 421)),
        *(("localhost:8080", 200), ("192.168.4.1", 200), ("10.0.0.1:8080", 200), ("[fe80::1]:8080", 200)),
        *(("LOCALHOST.", 200), ("127.0.0.1.evil.example", 421), ("[::1]", 200)),
    ],
)
def test_only_names_of_this_machine_are_answered(alone: Path, host: str, status: int) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            found, said = await served.browser().ask(
                "GET", "/api/session", headers={"Host": host, "Origin": f"http://{host}"}
            )
            assert found == status, said

    play(scenario)


def test_every_answer_has_the_headers(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            for path in ("/", "/static/index.html", "/static/none.js", "/api/session", "/api/timeline", "/nowhere"):
                _, _, headers = await browser.raw(path)
                policy = headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Referrer-Policy"] == "no-referrer"
                assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert "Server" not in headers
                assert headers["Cache-Control"] in ("no-store", "no-cache")
            async with browser.http.post(browser.base + "/api/session", json={"pin": PIN}) as response:
                cookie = response.cookies[COOKIE]
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")

    play(scenario)


@pytest.mark.parametrize(
    "name", ["../pin.py", "..%2fpin.py", "%2e%2e/cli.py", "/etc/passwd", "texts/../../cli.py", "", "%00"]
)
def test_nothing_but_the_static_files_is_served(alone: Path, name: str) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            for folder in ("/static/", "/texts/"):
                status, body, _ = await served.browser().raw(folder + name)
                assert status == 404
                assert b"import" not in body

    play(scenario)


def test_a_static_file_that_is_known_is_not_sent_again(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = served.browser()
            status, body, headers = await browser.raw("/")
            assert status == 200
            assert b"<!doctype html>" in body.lower()
            again = await browser.raw("/", headers={"If-None-Match": headers["ETag"]})
            assert again[:2] == (304, b"")

    play(scenario)


def test_bodies_are_bounded_and_json(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            status, said = await browser.ask("POST", "/api/session", {"pin": "1" * 20_000})
            assert (status, said["code"]) == (413, "too_large")

            async def endless():
                yield b"{"

            url, headers = f"{browser.base}/api/session", {"Origin": browser.base}
            async with browser.http.post(url, data=endless(), headers=headers) as response:
                assert response.status == 411
            deep = b"[" * 10_000
            for body in (b"\xff", b"{", b"[]", b'{"pin": "1", "more": 1}', deep, b"1e999"):
                async with browser.http.post(url, data=body, headers=headers) as response:
                    assert (response.status, (await response.json())["code"]) == (400, "json")
            status, said = await browser.ask("POST", "/api/session", {"pin": PIN, "role": "root"})
            assert (status, said["code"]) == (400, "role")
            assert (await browser.ask("POST", "/api/session", {"pin": ["1"]}))[0] == 400

    play(scenario)
