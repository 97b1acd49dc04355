"""What needs root: through the real helper on a real socket, with a recorder in systemd's and the clock's place."""

import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from page_served import play, serving

from device import installed
from device.admin import client
from device.admin.server import Helper, serve
from device.bundle import META_FILE, load_bundle
from device.errors import UserError
from device.page import machine
from device.signing import SIGNATURE_FILE


@dataclass
class Root:
    """config: the file. ran, set: what the helper has asked the system."""

    config: Path
    models: Path
    ran: list[list[str]] = field(default_factory=list)
    set: list[float] = field(default_factory=list)


@pytest.fixture
def root(alone: Path, trusted_keys: Path) -> Iterator[Root]:
    """The helper, for this test's own user."""
    text = alone.read_text().replace("allow_unsigned = true", f'trusted_keys = "{trusted_keys}"')
    alone.write_text(text)
    found = Root(alone, alone.parent / "models")
    with helping(alone, frozenset({os.geteuid()}), Helper(alone, found.ran.append, found.set.append)):
        yield found


class helping:
    """The helper in a thread, on the socket of the configuration."""

    def __init__(self, config: Path, allowed: frozenset[int], helper: Helper) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(config.parent / "admin.sock"))
        self.socket.listen(4)
        self._thread = threading.Thread(target=self._serve, args=(allowed, helper))

    def _serve(self, allowed: frozenset[int], helper: Helper) -> None:
        try:
            serve(self.socket, allowed, helper)
        except OSError:  # it was shut
            return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()


def packed(bundle: Path, without: tuple[str, ...] = (), more: dict[str, bytes] | None = None) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file in sorted(bundle.iterdir()):
            if file.name not in without:
                archive.writestr(file.name, file.read_bytes())
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return data.getvalue()


async def upload(browser, data: bytes) -> tuple[int, dict]:
    form = aiohttp.FormData()
    form.add_field("bundle", data, filename="bundle.zip", content_type="application/zip")
    headers = {"Origin": browser.base, "X-CSRF": browser.csrf}
    async with browser.http.post(browser.base + "/api/models", data=form, headers=headers) as response:
        return response.status, await response.json()


def test_the_clock_reboot_and_poweroff(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(root.config) as served:
            browser = await served.signed_in()
            said = (await browser.ask("GET", "/api/clock"))[1]
            assert abs(said["unix"] - time.time()) < 60
            assert (await browser.ask("PUT", "/api/clock", {"unix": 1795332055}))[0] == 200
            for wrong in (None, "now", True, [], 1e400):
                assert (await browser.ask("PUT", "/api/clock", {"unix": wrong}))[0] == 400, wrong
            for wrong in (0, -5, 1e12):
                assert (await browser.ask("PUT", "/api/clock", {"unix": wrong}))[0] == 409, wrong
            assert root.set == [1795332055.0]
            assert (await browser.ask("POST", "/api/reboot"))[0] == 200
            assert (await browser.ask("POST", "/api/poweroff", {}))[0] == 200
            assert (await browser.ask("POST", "/api/poweroff", {"now": True}))[0] == 400
            assert root.ran == [["systemctl", "--no-block", verb] for verb in ("reboot", "poweroff")]
            stamp = machine.system_clock()
            monkeypatch.setattr(machine, "system_clock", lambda: type(stamp)(stamp.utc, stamp.monotonic, True))
            status, said = await browser.ask("PUT", "/api/clock", {"unix": 1795332055})
            assert (status, said["code"]) == (409, "synchronised")

    play(scenario)


def test_a_signed_model_is_installed_and_rolled_back(root: Root, bundle_dir: Path) -> None:
    async def scenario() -> None:
        async with serving(root.config) as served:
            browser = await served.signed_in()
            status, said = await upload(browser, packed(bundle_dir / "int8-full"))
            assert (status, said["signed_by"], said["variant"]) == (200, "maker.pub", "int8-full")
            assert load_bundle(installed.current(root.models)).id == said["id"]
            assert root.ran[-1] == ["systemctl", "--no-block", "restart", "busi-kd.service"]  # no daemon runs
            status, other = await upload(browser, packed(bundle_dir / "float16"))
            assert status == 200
            models = (await browser.ask("GET", "/api/models"))[1]
            assert (models["current"]["id"], models["previous"]["id"]) == (other["id"], said["id"])
            status, back = await browser.ask("POST", "/api/models/rollback", {})
            assert (status, back["id"]) == (200, said["id"])
            assert load_bundle(installed.current(root.models)).id == said["id"]

    play(scenario)


def test_a_model_that_nobody_trusts_changes_nothing(root: Root, bundle_dir: Path) -> None:
    good = bundle_dir / "int8-full"
    altered = (good / META_FILE).read_bytes().replace(b'"min_confidence": 0.6', b'"min_confidence": 0.1')
    assert altered != (good / META_FILE).read_bytes()

    async def scenario() -> None:
        async with serving(root.config) as served:
            browser = await served.signed_in()
            for data, word in (
                (packed(good, without=(SIGNATURE_FILE,)), "not signed"),
                (packed(good, without=(META_FILE,), more={META_FILE: altered}), "signed by none"),
                (packed(good, more={"../evil": b""}), "belongs into no bundle"),
                (packed(good)[:-40], "no whole ZIP file"),
                (b"MZ", "no whole ZIP file"),
            ):
                status, said = await upload(browser, data)
                assert (status, word in said["error"]) == (400, True), said
            status, said = await upload(browser, bytes(30_000_001))
            assert (status, said["code"]) == (413, "too_large")
            status, said = await browser.ask("POST", "/api/models", {"bundle": "x"})
            assert (status, said["code"]) == (400, "form")
            assert not root.models.exists()
            assert (await browser.ask("POST", "/api/models/rollback", {}))[0] == 409

    play(scenario)


def test_the_helper_checks_again_what_the_page_says_is_checked(root: Root, bundle_dir: Path, tmp_path: Path) -> None:
    """A page that was taken over could send anything: the helper believes its own check alone."""
    path, file = root.config.parent / "admin.sock", tmp_path / "x.zip"
    file.write_bytes(packed(bundle_dir / "int8-full", without=(SIGNATURE_FILE,)))
    with open(file, "rb") as stream:
        said = client.ask(path, "install", stream.fileno())
    assert (said["ok"], "not signed" in said["error"]) == (False, True)
    assert client.ask(path, "install")["error"] == "A model comes as an open file."
    reading, writing = os.pipe()
    assert client.ask(path, "install", reading)["ok"] is False
    os.close(reading)
    os.close(writing)
    with open("/dev/zero", "rb") as stream:
        assert "ZIP file" in client.ask(path, "install", stream.fileno())["error"]
    for verb in ("exec", "", "install; reboot"):
        assert client.ask(path, verb)["ok"] is False
    assert client.ask(path, "reboot", command="x")["ok"] is False
    assert (root.ran, root.models.exists()) == ([], False)


def test_the_helper_works_for_its_own_user_alone(alone: Path) -> None:
    ran: list[list[str]] = []
    with helping(alone, frozenset({os.geteuid() + 1}), Helper(alone, ran.append)):
        said = client.ask(alone.parent / "admin.sock", "reboot")
    assert (said["ok"], said["code"], ran) == (False, "user", [])


def test_what_the_system_refuses_is_a_sentence(alone: Path) -> None:
    def fails(command: list[str]) -> None:
        raise UserError("systemctl failed (no such unit).")

    def denied(unix: float) -> None:
        raise PermissionError(1, "Operation not permitted")

    with helping(alone, frozenset({os.geteuid()}), Helper(alone, fails, denied)):
        path = alone.parent / "admin.sock"
        assert client.ask(path, "reboot")["error"] == "systemctl failed (no such unit)."
        assert "Operation not permitted" in client.ask(path, "clock", unix=1795332055)["error"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as quiet:
            quiet.connect(str(path))  # says nothing and goes: the next one is served
        assert client.ask(path, "reboot")["ok"] is False


def test_without_a_helper_that_is_said(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            for path in ("/api/reboot", "/api/poweroff", "/api/models/rollback"):
                status, said = await browser.ask("POST", path, {})
                assert (status, said["code"]) == (503, "no_helper")

    play(scenario)


def test_idle_it_ends() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind("")  # an abstract name that the kernel chooses
        listening.listen()
        serve(listening, frozenset(), Helper(), idle_s=0.01)
