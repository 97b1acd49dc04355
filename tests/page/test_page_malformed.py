"""Requests that are none are answered with 400 and a sentence, and leave nothing in the journal."""

import logging
from pathlib import Path
from typing import Any

import pytest
from page_served import Browser, configuration, play, serving

from tests.device.store_things import one_sentence

HALF = '"\\ud800"'  # of a character, as JSON has it
NONE = "00000000-0000-0000-0000-000000000000"
PART = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
CHARSET = b'--XX\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n'


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, bundle_dir: Path) -> Path:
    """A configuration file with which no daemon runs."""
    return configuration(tmp_path_factory.mktemp("malformed"), bundle_dir / "int8-full")


def answered(own: Path, signed: bool, method: str, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    """(status, JSON) of a request with these headers, `_` for `-`."""

    async def scenario() -> tuple[int, Any]:
        async with serving(own) as served:
            browser: Browser = await served.signed_in() if signed else served.browser()
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return await browser.ask(method, path, data=body, headers=given)

    return play(scenario)


@pytest.mark.parametrize("charset", ["foo", "hex", "utf-16", "undefined"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/session"), ("POST", "/api/pin"), ("PUT", "/api/settings")])
def test_a_charset_that_the_body_has_not_is_no_json(
    own: Path, caplog: pytest.LogCaptureFixture, method: str, path: str, charset: str
) -> None:
    kind = f"application/json; charset={charset}"
    status, said = answered(own, path == "/api/settings", method, path, b'{"a": "b"}', Content_Type=kind)
    assert (status, said["code"], one_sentence(said["error"])) == (400, "json", True)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/session", f'{{"pin": {HALF}}}'),
        ("POST", "/api/session", f'{{"pin": "1", "role": {HALF}}}'),
        ("POST", "/api/session", f"{{{HALF}: 1}}"),
        ("POST", "/api/pin", f'{{"new": {HALF}}}'),
        ("PUT", "/api/pin", f'{{"old": {HALF}, "new": "314159"}}'),
        ("PUT", "/api/settings", f'{{"source.path": {HALF}}}'),
        ("PUT", "/api/settings", f'{{"source.path": ["a", {{"b": {HALF}}}]}}'),
        ("POST", "/api/save", f'{{"label": {HALF}}}'),
        ("POST", f"/api/studies/{NONE}/usb", f'{{"stick": {HALF}}}'),
    ],
)
def test_half_a_character_is_no_json(
    own: Path, caplog: pytest.LogCaptureFixture, method: str, path: str, body: str
) -> None:
    signed = (method, path) not in (("POST", "/api/session"), ("POST", "/api/pin"))
    status, said = answered(own, signed, method, path, body.encode(), Content_Type="application/json")
    assert (status, said["code"], one_sentence(said["error"])) == (400, "json", True)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_a_whole_character_of_two_halves_is_one(own: Path) -> None:
    body = b'{"pin": "\\ud83d\\ude00", "role": "watcher"}'
    status, said = answered(own, False, "POST", "/api/session", body, Content_Type="application/json")
    assert (status, said["code"]) == (403, "wrong")


@pytest.mark.parametrize("kind", ["[1]", "{}", "1", "null"])
def test_another_kind_of_export_is_refused_whatever_it_is(own: Path, kind: str) -> None:
    path, body = f"/api/studies/{NONE}/usb", f'{{"kind": {kind}}}'.encode()
    status, said = answered(own, True, "POST", path, body, Content_Type="application/json")
    assert (status, said["code"]) == (400, "kind")


@pytest.mark.parametrize("path", ["/api/models", "/api/update"])
@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("multipart/form-data", b"x", "form"),
        ("multipart/form-data; boundary=", b"x", "form"),
        (f"multipart/form-data; boundary={'y' * 80}", b"x", "form"),
        ("multipart/form-data; boundary=XX", b"", "form"),
        ("multipart/form-data; boundary=XX", b"--YY\r\n", "form"),
        ("multipart/form-data; boundary=XX", b"--XX\r\nContent-Type: multipart/mixed\r\n\r\n", "form"),
        ("multipart/form-data; boundary=XX", CHARSET + b"z" * 40 + b"\r\n--XX--", "form"),
        ("multipart/form-data; boundary=XX", CHARSET + b"\xff\r\n--XX--", "form"),
        ("multipart/form-data; boundary=XX", b"--XX\r\nbad header\r\n\r\nx", "http"),
        ("multipart/form-data; boundary=XX", PART + b"X: " + b"y" * 9000 + b"\r\n\r\nx\r\n--XX--", "http"),
    ],
)
def test_a_form_that_is_none_is_refused(
    own: Path, caplog: pytest.LogCaptureFixture, path: str, kind: str, body: bytes, code: str
) -> None:
    status, said = answered(own, True, "POST", path, body, Content_Type=kind)
    assert (status, said["code"], one_sentence(said["error"])) == (400, code, True)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_a_content_encoding_that_the_body_has_not_is_refused(own: Path) -> None:
    headers = {"Content_Type": "application/json", "Content_Encoding": "gzip"}
    status, said = answered(own, False, "POST", "/api/session", b"{}", **headers)
    assert (status, said["code"], one_sentence(said["error"])) == (400, "http", True)
