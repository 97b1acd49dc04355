"""Doctor, journal and support file, and the command that serves the page."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest
from page_served import PIN, ROOT, Started, play, serving

from device.page.health import without_secrets
from device.page.server import addresses


def test_the_doctors_checks_are_told_once_in_ten_seconds(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            watcher = await served.signed_in("watcher")
            status, said = await watcher.ask("GET", "/api/doctor")
            assert status == 200
            assert {"python", "configuration", "model", "disk"} <= {check["name"] for check in said["checks"]}
            assert sum(said["counts"].values()) == len(said["checks"])
            again = (await watcher.ask("GET", "/api/doctor"))[1]
            assert again["checks"] == said["checks"]
            assert again["age_s"] > said["age_s"]

    play(scenario)


@pytest.mark.parametrize("lines", ["0", "-1", "2001", "1e3", "", "99999999", "١٠", "5;ls"])
def test_the_journal_gives_a_bounded_number_of_lines(alone: Path, lines: str) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            assert (await browser.ask("GET", "/api/journal", params={"lines": lines}))[0] == 400
            status, said = await browser.ask("GET", "/api/journal?lines=5")
            assert (status, isinstance(said["readable"], bool)) == (200, True)
            assert len(said["lines"]) <= 5

    play(scenario)


def test_the_support_file_holds_no_picture_and_no_secret(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            assert (await browser.ask("POST", "/api/save", {"label": "Mrs Example"}))[0] == 200
            status, data, _ = await browser.raw("/api/support.zip")
            assert status == 200
            stored = json.loads((served.page.own.folder / "pin.json").read_text())
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                texts = {name: archive.read(name) for name in archive.namelist()}
            assert {"doctor.json", "journal.txt", "settings.toml", "versions.json"} <= set(texts)
            whole = b"".join(texts.values())
            for forbidden in (
                b"\x89PNG",
                b"\xff\xd8\xff",
                PIN.encode(),
                b"Mrs Example",
                *map(str.encode, stored.values()),
            ):
                assert forbidden not in whole
            assert json.loads(texts["versions.json"])["packages"]["aiohttp"]
            assert f'folder = "{running.folder}/page"'.encode() in texts["settings.toml"]

    play(scenario)


def test_secrets_of_settings_are_left_out() -> None:
    text = 'password = "a"\nkey = "b"\n[x]\n  mqtt_password = "c"  # here\ntoken_file = "d"\nport = 1\n'
    left = without_secrets(text)
    assert left.count("(left out)") == 3
    assert 'key = "b"' in left
    assert "port = 1" in left


def test_what_it_listens_on() -> None:
    assert list(addresses("127.0.0.1")) == ["127.0.0.1"]
    assert list(addresses("::1")) == ["::1"]
    assert list(addresses("192.168.4.1")) == ["127.0.0.1", "192.168.4.1"]  # the own screen reaches it always
    assert list(addresses("lan")) == [None]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "device.main", "device", *map(str, words)]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_port_that_is_taken_is_something_to_mend(alone: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = command("page", "--config", alone, "--page-port", port)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"busi-kd: page: cannot listen on 127.0.0.1, port {port} (")
    for wrong in (["--page-port", "0"], ["--page-listen", "everybody"]):
        done = subprocess.run(command("page", "--config", alone, *wrong), cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr.startswith(f"busi-kd: option {wrong[0]}") or wrong[0] in done.stderr) == (
            2,
            True,
        )


def test_a_pin_is_set_at_a_terminal_for_a_pi_without_screen(alone: Path) -> None:
    for given, status in (("1234", 0), ("12", 2), ("", 2)):
        words = command("page", "--config", alone, "--set-pin")
        done = subprocess.run(words, cwd=ROOT, input=given + "\n", capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert given not in done.stdout or not given

    async def scenario() -> None:
        async with serving(alone) as served:
            assert (await served.browser().sign_in(pin="1234"))[0] == 200

    play(scenario)


def test_a_trial_serves_the_page_beside_the_daemon_and_ends_with_it(alone: Path) -> None:
    port = free_port()
    daemon = Started(alone, "--page", "--page-port", str(port))
    try:
        assert f"http://127.0.0.1:{port}/" in daemon.wait_for("page: http://")

        async def scenario() -> None:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/api/session") as response:
                assert (await response.json())["pin_set"] is False

        play(scenario)
        (page,) = (pid for pid in children(daemon.process.pid) if "--with-parent" in words_of(pid))
        assert os.getpriority(os.PRIO_PROCESS, page) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        while re.search(r"^State:\s+[^ZX]", status_of(page), re.MULTILINE):
            pass
    finally:
        daemon.end()


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
