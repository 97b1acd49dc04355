"""What a technician's buttons do, and what they are told: by HTTP, through the real daemon, to the card."""

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_served import Started, configuration, play, serving

from device.store import database
from device.store.check import check
from device.store.store import Store


def rows(folder: Path) -> list[database.Item]:
    store = Store(folder / "studies")
    try:
        assert check(store).wrong == []
        return database.items(store.connection)
    finally:
        store.close()


def test_what_is_held_is_shown_and_saved_while_judging_goes_on(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            assert (await browser.ask("POST", "/api/hold", {"held": True})) == (200, {"ok": True, "held": True})
            _, first, _ = await browser.raw("/api/frame.jpg")
            held = await newest(browser)
            age = held["age_s"]
            while (now := await newest(browser))["age_s"] == age:
                await asyncio.sleep(0.02)
            assert (now["held"], now["sequence"], now["verdict"]) == (True, held["sequence"], held["verdict"])
            assert (await browser.raw("/api/frame.jpg"))[1] == first
            status, saved = await browser.ask("POST", "/api/save", {"label": "left breast"})
            assert (status, saved["kind"]) == (200, "frame")
            item = rows(running.folder)[-1]
            assert (item.number, item.study, item.sequence) == (saved["number"], saved["study"], held["sequence"])
            assert item.shown == held["verdict"]["label"]
            assert item.shown_probabilities == held["verdict"]["probabilities"]
            _, data, _ = await browser.raw(f"/api/studies/{item.study}/{item.number}.png")
            kept, shown = (cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_GRAYSCALE) for one in (data, first))
            assert np.abs(kept.astype(int) - shown).mean() < 6  # of JPEG
            # Discarding lets go of the held one first; then of what was saved.
            assert (await browser.ask("POST", "/api/discard"))[1]["dropped"] == "held"
            assert rows(running.folder)[-1] == item
            status, gone = await browser.ask("POST", "/api/discard")
            assert (status, gone["dropped"], gone["number"]) == (200, "saved", item.number)
            assert item not in rows(running.folder)
            assert not (running.folder / "studies/pictures" / item.file).exists()
            while (await newest(browser))["recorder"]["last"] is not None:
                await asyncio.sleep(0.02)

    play(scenario)


async def newest(browser) -> dict:
    return (await browser.page.daemon.ask({"ask": "live"})).said["snapshot"]


def test_a_sweep_is_marked_twice(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            assert (await browser.ask("POST", "/api/mark"))[1] == {"ok": True, "running": True}
            while not (await newest(browser))["sweep"]["frames"]:
                await asyncio.sleep(0.02)
            status, said = await browser.ask("POST", "/api/mark")
            assert (status, said["running"], said["kind"]) == (200, False, "sweep")
            item = rows(running.folder)[-1]
            assert (item.kind, item.number) == ("sweep", said["number"])
            assert (await newest(browser))["sweep"] == {"running": False, "frames": None}

    play(scenario)


def test_another_label_begins_another_study(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            one = (await browser.ask("POST", "/api/save", {"label": "one"}))[1]
            same = (await browser.ask("POST", "/api/save", {}))[1]
            again = (await browser.ask("POST", "/api/save", {"label": "one"}))[1]
            two = (await browser.ask("POST", "/api/save", {"label": "two"}))[1]
            assert one["study"] == same["study"] == again["study"] != two["study"]
            for label in ("x" * 65, "a\nb", 5):
                status, said = await browser.ask("POST", "/api/save", {"label": label})
                assert (status, said["code"]) == (409, "malformed")
            assert (await browser.ask("POST", "/api/save", {"labels": "x"}))[0] == 400
            assert (await browser.ask("POST", "/api/hold", {"held": "yes"}))[0] == 400
            assert (await browser.ask("POST", "/api/hold", {}))[0] == 400

    play(scenario)


@pytest.mark.parametrize("recorder", [False, True])
def test_what_cannot_be_saved_is_told(tmp_path: Path, bundle_dir: Path, recorder: bool) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full", recorder=recorder)
    config.write_text(config.read_text().replace('reserve = "0 B"', 'reserve = "900 TB"'))
    daemon = Started(config)

    async def scenario() -> None:
        async with serving(config) as served:
            browser = await served.signed_in()
            for path in ("save", "mark", "discard"):
                status, said = await browser.ask("POST", f"/api/{path}")
                if recorder and path == "mark":
                    assert said["running"] is True  # a mark alone takes no room
                    continue
                assert status == 409
                assert said["code"] == ("not_saved" if recorder else "recorder_off")
                assert said["error"].endswith(".")
            # A picture is held without a recorder, too.
            assert (await browser.ask("POST", "/api/hold", {"held": True}))[0] == 200
            assert (await browser.ask("POST", "/api/discard"))[1]["dropped"] == "held"

    try:
        daemon.wait_for(" -> ok")
        play(scenario)
    finally:
        daemon.end()
