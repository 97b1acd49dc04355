"""Updates by the page: through the real helper on a real socket, and no further than a signature reaches."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from page_served import configuration, play, serving
from test_page_machine import helping
from test_update_commands import mounted
from update_things import Device, update

from device import signing
from device.admin import client
from device.admin.server import Helper
from device.page import updates
from device.update import archive, manifest


@dataclass
class Page:
    """config: the file. ran: what the helper has asked the system. root: where memory sticks are."""

    config: Path
    root: Path
    ran: list[list[str]] = field(default_factory=list)


@pytest.fixture
def page(machine: Device, bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The helper, for this test's own user, on a machine that the updates are for."""
    (tmp_path / "page").mkdir()
    config = configuration(tmp_path / "page", bundle_dir / "int8-full")
    trusting = f'allow_unsigned = true\ntrusted_keys = "{machine.key.parent}"'  # for models; never for updates
    config.write_text(config.read_text().replace("allow_unsigned = true", trusting))
    found = Page(config, tmp_path / "root")
    monkeypatch.setattr(updates, "PLACE", machine.place)
    monkeypatch.setattr(updates, "RENEW_S", 0.0)
    monkeypatch.setattr(
        manifest, "this_machine", lambda packaged, running: manifest.Machine("bookworm", "arm64", packaged, running)
    )
    helper = Helper(config, found.ran.append, place=machine.place, root=found.root)
    with helping(config, frozenset({os.geteuid()}), helper):
        yield found


async def upload(browser, data: bytes) -> tuple[int, dict]:
    form = aiohttp.FormData()
    form.add_field("update", data, filename="busi-kd.update", content_type="application/octet-stream")
    headers = {"Origin": browser.base, "X-CSRF": browser.csrf}
    async with browser.http.post(browser.base + "/api/update", data=form, headers=headers) as response:
        return response.status, await response.json()


def test_an_update_is_installed_and_rolled_back(page: Page, machine: Device, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(page.config, root=page.root) as served:
            browser = await served.signed_in()
            said = (await browser.ask("GET", "/api/update"))[1]
            assert (said["available"], said["running"]["state"], said["stick"]["file"]) == (True, "packaged", None)
            status, said = await upload(browser, update(tmp_path, "0.2.0", machine.key).read_bytes())
            assert (status, said["version"], said["signed_by"]) == (200, "0.2.0", "maker.pub")
            await served.page.renewing
            again = [["restart", "busi-kd.service"], ["try-restart", "busi-kd-page.service"]]
            assert page.ran == [["systemctl", "--no-block", *words] for words in again]
            assert machine.runs() == "0.2.0"
            said = (await browser.ask("GET", "/api/update"))[1]
            assert (said["running"]["version"], said["running"]["state"]) == ("0.2.0", "trial")
            machine.launch("--begin")
            machine.end("watchdog", "6")
            said = (await browser.ask("GET", "/api/update"))[1]
            assert said["current"]["why"] == "ended before it was healthy (watchdog, 6)"
            status, said = await browser.ask("POST", "/api/update/rollback", {})
            assert (status, said["code"]) == (409, "refused")
            await upload(browser, update(tmp_path, "0.3.0", machine.key).read_bytes())
            status, said = await browser.ask("POST", "/api/update/rollback", {})
            assert (status, said["version"]) == (200, "0.1.0~deb12")
            assert machine.runs() == "0.1.0"

    play(scenario)


def test_the_newest_on_a_memory_stick_is_offered_and_installed(page: Page, machine: Device, tmp_path: Path) -> None:
    folder = mounted(page.root)
    for version in ("0.2.0", "0.3.0"):
        update(tmp_path, version, machine.key).rename(folder / f"{version}.update")

    async def scenario() -> None:
        async with serving(page.config, root=page.root) as served:
            browser = await served.signed_in()
            said = (await browser.ask("GET", "/api/update"))[1]
            assert said["stick"] == {"file": "0.3.0.update", "version": "0.3.0", "signed_by": "maker.pub"}
            status, said = await browser.ask("POST", "/api/update/stick", {})
            assert (status, said["version"]) == (200, "0.3.0")
            assert machine.runs() == "0.3.0"

    play(scenario)


def test_what_nobody_signed_and_what_is_too_old_changes_nothing(page: Page, machine: Device, tmp_path: Path) -> None:
    signing.new_key(tmp_path / "other/key")
    good = update(tmp_path, "0.2.0", machine.key).read_bytes()
    inside = archive.read(io.BytesIO(good), machine.keys).start + 100

    async def scenario() -> None:
        async with serving(page.config, root=page.root) as served:
            browser, watcher = await served.signed_in(), await served.signed_in("watcher")
            for status, word, data in (
                (400, "signed by none", update(tmp_path, "0.2.0", tmp_path / "other/key").read_bytes()),
                (400, "no whole update", b"MZ"),
                (409, "wrong hash", good[:inside] + bytes(16) + good[inside + 16 :]),
                (409, "older than", update(tmp_path, "0.0.9", machine.key).read_bytes()),
                (409, "self-test failed", update(tmp_path, "0.2.1", machine.key, "sys.exit(3)").read_bytes()),
            ):
                found, said = await upload(browser, data)
                assert (found, word in said["error"]) == (status, True), said
            assert (await browser.ask("POST", "/api/update", {"update": "x"}))[0] == 400
            for method, path in (("GET", ""), ("POST", "/stick"), ("POST", "/rollback")):
                assert (await watcher.ask(method, f"/api/update{path}", {}))[0] == 403
            assert page.ran == []
            assert machine.runs() == "0.1.0"

    play(scenario)


def test_the_helper_takes_an_open_file_and_nothing_else(page: Page, machine: Device, tmp_path: Path) -> None:
    socket = page.config.parent / "admin.sock"
    assert "open file" in client.ask(socket, "update")["error"]
    reader, writer = os.pipe()
    assert "at most" in client.ask(socket, "update", reader)["error"]
    os.close(reader)
    os.close(writer)
    assert "knows" in client.ask(socket, "update", file="/etc/passwd")["error"]
    assert machine.runs() == "0.1.0"


def test_without_a_package_the_page_says_so(page: Page, machine: Device) -> None:
    (machine.place.home / "version").unlink()

    async def scenario() -> None:
        async with serving(page.config, root=page.root) as served:
            browser = await served.signed_in()
            said = (await browser.ask("GET", "/api/update"))[1]
            assert (said["available"], "package or image" in said["why"]) == (False, True)

    play(scenario)
