"""Settings: written to the page's own file, which wins; the daemon takes them up in place, as one process."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from listening import notify_socket, wait_for
from page_served import ROOT, Started, configuration, play, serving

from device.config import options as config_options
from device.config import overlay
from device.config.settings import KEYS
from device.errors import UserError
from device.page.setup import devices


async def keys_of(browser) -> dict[str, dict]:
    return {one["key"]: one for one in (await browser.ask("GET", "/api/settings"))[1]["keys"]}


def test_a_setting_is_kept_in_the_pages_file_which_wins_and_is_named(alone: Path) -> None:
    alone.write_text(alone.read_text() + '[judgement]\nhalf_life = "900 ms"\n')

    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            before = (await keys_of(browser))["judgement.half_life"]
            assert (before["value"], before["default"], before["unit"]) == ("900 ms", "500 ms", "s")
            assert before["from"].startswith(f"{alone}, line ")
            changes = {"judgement.half_life": "250 ms", "source.loop": True, "governor.floor": "3 fps"}
            status, said = await browser.ask("PUT", "/api/settings", changes)
            assert (status, said["restarting"]) == (200, False)  # no daemon runs, and no helper
            file = served.page.own.folder / overlay.NAME
            now = await keys_of(browser)
            for dotted, value in changes.items():
                assert (now[dotted]["value"], now[dotted]["own"]) == (value, True)
                assert now[dotted]["from"].startswith(f"{file}, line ")
            assert (await browser.ask("PUT", "/api/settings", {"judgement.half_life": None}))[0] == 200
            assert (await keys_of(browser))["judgement.half_life"]["value"] == "900 ms"
            assert (await browser.ask("PUT", "/api/settings", dict.fromkeys(changes)))[0] == 200
            assert not file.exists()

    play(scenario)


def test_what_may_not_be_set_here_is_said(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            for given, word in (
                ({"judgement.half_life": "5 C"}, "judgement.half_life is '5 C', which is a temperature"),
                ({"source.fps": "9999 fps"}, "lies outside"),
                ({"recorder.enabled": "yes"}, "true or false"),
                ({"source.kind": "folder"}, "source.kind folder needs source.path"),
                ({"source.kind": "folder", "source.path": "/nowhere"}, "which is no folder here"),
                ({"source.device": "/dev/video0"}, "goes with source.kind v4l2"),
                ({"model.allow_unsigned": True}, "JSON object with"),
                ({"model.trusted_keys": "/tmp"}, "JSON object with"),
                ({"page.listen": "lan"}, "JSON object with"),
                ({"recorder.folder": "/tmp"}, "JSON object with"),
                ({"log.verdicts": "/tmp/x.csv"}, "JSON object with"),
                ({}, "at least one"),
            ):
                status, said = await browser.ask("PUT", "/api/settings", given)
                assert (status, word in said["error"]) == (400, True), said
            assert not (served.page.own.folder / overlay.NAME).exists()

    play(scenario)


def test_what_widens_the_machines_trust_is_for_whoever_has_a_shell() -> None:
    closed = {"model", "log"}
    assert not any(KEYS[dotted].section in closed for dotted in overlay.SETTABLE)
    assert {dotted for dotted in overlay.SETTABLE if dotted.startswith("page.")} == {
        "page.language",
        "page.session_idle",
    }
    assert not {"recorder.folder", "region.regions"} & set(overlay.SETTABLE)


def test_a_key_that_is_not_the_pages_to_set_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / overlay.NAME).write_text("[source]\nloop = true\n[model]\nallow_unsigned = true\n")
    with pytest.raises(UserError, match=r"settings.toml, line 4: model.allow_unsigned cannot be set there"):
        overlay.load(tmp_path)
    (tmp_path / overlay.NAME).write_text("[source]\nlop = true\n")
    with pytest.raises(UserError, match=r"settings.toml, line 2: unknown key 'lop'"):
        overlay.load(tmp_path)


def test_show_and_doctor_name_the_pages_file(alone: Path) -> None:
    folder = alone.parent / "page"
    overlay.store(folder, {"judgement.hysteresis_logits": 0.7})
    command = [sys.executable, "-m", "device.main", "device"]
    shown = subprocess.run([*command, "config", "show", "--config", alone], cwd=ROOT, capture_output=True, text=True)
    (line,) = (line for line in shown.stdout.splitlines() if line.startswith("hysteresis_logits = 0.7"))
    assert line.endswith(f"# {folder / overlay.NAME}, line 4")
    said = subprocess.run([*command, "doctor", "--json", "--config", alone], cwd=ROOT, capture_output=True, text=True)
    (check,) = (one for one in json.loads(said.stdout)["checks"] if one["name"] == "configuration")
    assert f"The page has set 1 ({folder / overlay.NAME}), which win." in check["says"]


def test_every_settable_key_survives_the_file(tmp_path: Path) -> None:
    values = {dotted: KEYS[dotted].default for dotted in overlay.SETTABLE}
    overlay.store(tmp_path, values)
    assert overlay.load(tmp_path).values == values
    found = config_options.merged(None, page=overlay.load(tmp_path))
    assert all(found.origins[dotted].startswith(str(tmp_path)) for dotted in values)


def test_the_daemon_begins_anew_in_place_and_systemd_sees_one_process(
    tmp_path: Path, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    with notify_socket(tmp_path / "notify") as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "10000000")
        daemon = Started(config, "--threads", "1")

        async def scenario() -> None:
            async with serving(config) as served:
                browser = await served.signed_in()
                await browser.ask("POST", "/api/save", {"label": "before"})
                status, said = await browser.ask("PUT", "/api/settings", {"judgement.half_life": "750 ms"})
                assert (status, said["restarting"]) == (200, True)
                await asyncio.get_running_loop().run_in_executor(None, daemon.wait_for, "starting again in place")
                await asyncio.get_running_loop().run_in_executor(None, daemon.wait_for, " -> ok")
                half_life = (await keys_of(browser))["judgement.half_life"]
                assert half_life["from"] == f"{tmp_path}/page/settings.toml, line 4"
                studies = (await browser.ask("GET", "/api/studies"))[1]["studies"]
                assert [(one["label"], one["state"]) for one in studies] == [("before", "ended")]
                status, said = await browser.ask("GET", "/api/session")
                assert said["role"] == "technician"

        try:
            first = wait_for(systemd, "READY=1")
            assert first[-1] == "READY=1"
            daemon.wait_for(" -> ok")
            play(scenario)
            messages = wait_for(systemd, "READY=1")
            assert messages[-1] == "READY=1\nWATCHDOG_USEC=10000000"
            assert any(one.startswith("RELOADING=1\nMONOTONIC_USEC=") for one in messages)
            assert "WATCHDOG=1\nWATCHDOG_USEC=45000000" in messages
            assert not any("STOPPING=1" in one for one in messages)
            assert daemon.process.poll() is None
        finally:
            daemon.end()


def test_an_option_of_the_run_is_not_changed_behind_its_back(tmp_path: Path, bundle_dir: Path) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    daemon = Started(config, "--fps", "20")

    async def scenario() -> None:
        async with serving(config) as served:
            browser = await served.signed_in()
            assert (await keys_of(browser))["source.fps"]["fixed"] is True
            status, said = await browser.ask("PUT", "/api/settings", {"source.fps": "10 fps"})
            assert (status, said["code"]) == (409, "option")
            assert "option --fps" in said["error"]

    try:
        daemon.wait_for(" -> ok")
        play(scenario)
    finally:
        daemon.end()


def test_a_damaged_file_of_the_pages_is_mended_by_the_next_setting(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            served.page.own.folder.mkdir(exist_ok=True)
            (served.page.own.folder / overlay.NAME).write_text("[source]\nloop = true\nspeed = 3\n")
            assert (await browser.ask("GET", "/api/settings"))[0] == 400
            assert (await browser.ask("PUT", "/api/settings", {"quality.assess_every": "1 s"}))[0] == 200
            now = await keys_of(browser)
            assert (now["source.loop"]["own"], now["quality.assess_every"]["value"]) == (True, "1 s")

    play(scenario)


def test_the_language_is_kept_without_starting_anything_again(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            for wrong in ("de", "../en", None, 1, ["ar"]):
                assert (await browser.ask("PUT", "/api/language", {"language": wrong}))[0] == 400
            assert (await browser.ask("PUT", "/api/language", {"language": "ar"}))[0] == 200
            assert (await served.browser().ask("GET", "/api/session"))[1]["language"] == "ar"
        async with serving(alone) as again:
            assert (await again.browser().ask("GET", "/api/session"))[1]["language"] == "ar"

    play(scenario)


def test_sources_are_what_the_kernel_names(alone: Path, tmp_path: Path) -> None:
    for node, name, index in (
        ("video0", "USB3. 0 capture: USB3. 0 captur", "0"),
        ("video1", "USB3. 0 capture: USB3. 0 captur", "1"),
        ("video10", "bcm2835-codec-decode", "0"),
        ("video2", "unicam", "0"),
    ):
        folder = tmp_path / "root/sys/class/video4linux" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "index").write_text(index + "\n")
    assert [one["device"] for one in devices(tmp_path / "root")] == ["/dev/video0", "/dev/video2"]
    assert devices(tmp_path / "none") == []

    async def scenario() -> None:
        async with serving(alone, root=tmp_path / "root") as served:
            browser = await served.signed_in()
            sources = (await browser.ask("GET", "/api/sources"))[1]["sources"]
            assert [(one["kind"], one["current"]) for one in sources] == [
                *(("v4l2", False), ("v4l2", False), ("phantom", True))
            ]
            assert (await browser.ask("PUT", "/api/settings", sources[1]["settings"]))[0] == 200
            after = (await browser.ask("GET", "/api/sources"))[1]["sources"]
            assert [one["current"] for one in after] == [False, True, False]
            assert (await browser.ask("PUT", "/api/settings", sources[2]["settings"]))[0] == 200
            assert os.path.exists(served.page.own.folder / overlay.NAME)

    play(scenario)
