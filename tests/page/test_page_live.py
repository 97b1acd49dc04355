"""What watchers get: pictures and snapshots as they come, an edge of the signal, and nobody held up by a slow one."""

import asyncio
import io
import json
import socket
import threading
import time
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest
from page_served import PATIENCE_S, Clock, play, serving, snapshots

from device.bundle import load_bundle
from device.capture import Frame, NoData, NoSignal
from device.daemon import Daemon
from device.live.client import Client
from device.live.message import encode
from device.live.server import Live
from device.notify import Notifier
from device.page import live as live_page
from device.page.live import MAX_SIDE, STEPS, Hub, encoded
from device.runtime import open_bundle


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that only answers late, on a busy machine, is waited for: it is not away, and no picture comes anew."""
    monkeypatch.setattr(live_page, "ASK_S", PATIENCE_S)


@pytest.mark.usefixtures("patient")
def test_a_watcher_gets_snapshots_and_each_picture_once(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            watcher = await served.signed_in("watcher")
            sequences, last = [], None
            async with watcher.live() as ws:
                head = None
                async for message in ws:
                    if len(sequences) >= 10 and last is not None:
                        break
                    if message.type == aiohttp.WSMsgType.BINARY:
                        picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
                        assert picture.shape[:2] == (head["height"], head["width"]) == (480, 640)
                        sequences.append(head["sequence"])
                    else:
                        said = message.json()
                        head = said if said["type"] == "picture" else head
                        if said["type"] == "snapshot" and said["verdict"] is not None:
                            last = said  # a daemon that is short of time has no young verdict at times, and says so
            assert sequences == sorted(set(sequences))
            assert last["signal"] == {"state": "ok", "detail": ""}
            assert last["synthetic"] is True
            assert last["model"]["name"] == "tiny"
            assert last["verdict"]["label"] in {"benign", "malignant", "normal", "abstain"}
            assert sum(last["verdict"]["probabilities"].values()) == pytest.approx(1.0)
            assert last["recorder"]["on"] is True
            assert (last["held"], last["outline"], last["source"]) == (False, None, "phantom seed 0")

    play(scenario)


@pytest.mark.usefixtures("patient")
def test_each_picture_is_encoded_once_for_all(running, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(about: dict, *more) -> tuple[bytes, int, int]:
        made.append(about["sequence"])
        return encoded(about, *more)

    monkeypatch.setattr(live_page, "encoded", counted)

    async def scenario() -> None:
        async with serving(running.config) as served:
            assert served.page.hub.pictures == 0  # nobody watches, nothing is asked for
            browsers = [await served.signed_in("watcher") for _ in range(4)]
            seen: list[set[int]] = [set() for _ in browsers]

            async def look(browser, mine: set[int]) -> None:
                async with browser.live() as ws:
                    async for message in ws:
                        if message.type == aiohttp.WSMsgType.TEXT and message.json()["type"] == "picture":
                            mine.add(message.json()["sequence"])
                        if len(set.intersection(*seen)) >= 10:  # all four got them, however slow each is
                            return

            await asyncio.gather(*map(look, browsers, seen))
            assert set().union(*seen) <= set(made)
            assert len(made) == len(set(made)), "each once, whoever gets it"
            assert served.page.hub.pictures in (len(made), len(made) - 1)  # one may be in the making

    play(scenario)


def test_the_newest_picture_and_the_last_minute_without_a_websocket(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            watcher = await served.signed_in("watcher")
            while not (await watcher.ask("GET", "/api/timeline"))[1]["points"]:
                await asyncio.sleep(0.05)
            status, said = await watcher.ask("GET", "/api/snapshot")
            assert (status, said["type"]) == (200, "snapshot")
            status, data, headers = await watcher.raw("/api/frame.jpg")
            assert (status, headers["X-Frame-Size"], data[:2]) == (200, "640x480", b"\xff\xd8")
            status, said = await watcher.ask("GET", "/api/frame.jpg?whole=1")
            assert (status, said["code"]) == (403, "role")
            point = (await watcher.ask("GET", "/api/timeline"))[1]["points"][-1]
            assert set(point) == {"at", "label", "malignant", "state"}
            assert (await watcher.ask("GET", "/api/telemetry"))[1]["points"][0]["battery_percent"] is None

    play(scenario)


def test_a_slow_watcher_holds_nobody_up_and_gathers_nothing(running) -> None:
    """It takes no byte; meanwhile another gets picture after picture, and what waits for the slow one stays small."""

    async def scenario() -> None:
        async with serving(running.config) as served:
            slow, fast = await served.signed_in("watcher"), await served.signed_in("watcher")
            async with slow.live() as held, fast.live() as ws:
                transport = held._response.connection.transport
                transport.pause_reading()
                # Else the kernel would take all sixty for it.
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                pictures, most = 0, 0
                async for message in ws:
                    pictures += message.type == aiohttp.WSMsgType.BINARY
                    most = max(most, *(one.get_write_buffer_size() for one in served.page.hub.transports))
                    if pictures == 60:
                        break
                assert 0 < most < 400_000  # one picture, not sixty
                transport.abort()

    play(scenario)


def test_a_watcher_that_takes_nothing_at_all_is_let_go_of(running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, "SLOW_S", 0.2)

    async def scenario() -> None:
        async with serving(running.config) as served:
            slow = await served.signed_in("watcher")
            async with slow.live() as held:
                transport = held._response.connection.transport
                transport.pause_reading()
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                while served.page.hub.watchers:  # until it is noticed, and for PATIENCE_S at most
                    await asyncio.sleep(0.02)
                transport.abort()

    play(scenario)


def test_so_many_watch_and_no_more(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            served.page.hub.most = 2
            browser = await served.signed_in("watcher")
            async with browser.live() as one, browser.live() as two:
                await one.receive()
                await two.receive()
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await browser.live()
                assert refused.value.status == 503
            while served.page.hub.watchers:
                await asyncio.sleep(0.01)
            async with browser.live() as ws:
                await ws.receive()

    play(scenario)


def test_a_websocket_ends_with_its_session(running) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(running.config, clock) as served:
            browser = await served.signed_in("watcher")
            async with browser.live() as ws:
                await ws.receive()
                clock.now += served.page.own.session_idle_s - 1
                async for _ in snapshots(ws):
                    break
                clock.now += served.page.own.session_idle_s - 1  # who watches uses it
                async for _ in snapshots(ws):
                    break
                clock.now += served.page.own.session_longest_s
                async for _ in ws:
                    pass
                assert ws.close_code == 4401

    play(scenario)


def test_without_a_daemon_that_is_said_and_nothing_is_made_up(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            async with browser.live() as ws:
                async for said in snapshots(ws):
                    if "does not answer" in said["signal"]["detail"]:
                        break
            assert said["signal"]["state"] == "no daemon"
            assert [said[name] for name in ("verdict", "frame", "quality", "fps", "age_s", "model")] == [None] * 6
            assert all(value is None or value == [] for value in said["machine"].values())
            for path in ("hold", "save", "mark", "discard"):
                status, answer = await browser.ask("POST", f"/api/{path}", {"held": True} if path == "hold" else {})
                assert (status, answer["code"]) == (503, "no_daemon")
            assert (await browser.ask("GET", "/api/frame.jpg"))[0] == 503

    play(scenario)


class Switched:
    """A source with a switch: `lost` pulls its cable."""

    description, synthetic, live, skipped = "switched", None, True, 0

    def __init__(self) -> None:
        self.lost, self.number = threading.Event(), 0
        self.pause = threading.Event()
        self.pixels = np.random.default_rng(0).integers(100, 150, (96, 128)).astype(np.uint8)

    def open(self) -> None:
        if self.lost.is_set():
            raise NoSignal("the cable was pulled")

    def grab(self, timeout: float) -> Frame:
        if self.lost.is_set():
            raise NoSignal("the cable was pulled")
        if self.pause.wait(0.02):
            raise NoData("paused")
        self.number += 1
        return Frame(np.roll(self.pixels, self.number), self.number - 1, time.monotonic(), "frame")

    def close(self) -> None:
        pass


def test_an_edge_of_the_signal_reaches_the_watcher_and_takes_the_verdict_away(alone: Path, bundle_dir: Path) -> None:
    bundle, source = load_bundle(bundle_dir / "int8-full"), Switched()
    live = Live(alone.parent / "live.sock", say=lambda _: None)
    daemon = Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda _: None, live=live)
    thread = threading.Thread(target=daemon.run)
    thread.start()

    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            async with browser.live() as ws:
                async for said in snapshots(ws):
                    if said["verdict"] is not None:
                        break
                assert said["signal"]["state"] == "ok"
                source.lost.set()
                async for said in snapshots(ws):
                    if said["signal"]["state"] != "ok":
                        break
                assert said["signal"] == {"state": "no signal", "detail": "the cable was pulled"}
                assert [said[name] for name in ("verdict", "frame", "quality")] == [None] * 3
                source.lost.clear()
                async for said in snapshots(ws):
                    if said["verdict"] is not None:
                        break
                assert said["signal"]["state"] == "ok"
                # What a person holds stays, and says so, while the signal goes.
                assert (await browser.ask("POST", "/api/hold", {"held": True}))[0] == 200
                source.lost.set()
                async for said in snapshots(ws):
                    if said["signal"]["state"] == "no signal":
                        break
                assert said["held"] is True
                assert said["verdict"] is not None

    try:
        play(scenario)
    finally:
        daemon.asked_to_stop = "test"
        thread.join()
        live.close()


def test_pictures_are_made_smaller_and_never_larger() -> None:
    for shape, wanted in (((480, 640), (480, 640)), ((1080, 1920, 3), (540, 960)), ((2000, 100), (960, 48))):
        about = {"height": shape[0], "width": shape[1], "channels": 3 if len(shape) == 3 else 1}
        data, width, height = encoded(about, np.zeros(shape, np.uint8).tobytes())
        assert (height, width) == wanted
        assert max(height, width) <= MAX_SIDE
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2] == wanted


def test_the_rings_are_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        hub = Hub(tmp_path / "none.sock", 1)
        for _ in range(3 * STEPS):
            hub._step_at = hub._point_at = -1e9
            await hub._ask()
        assert len(hub.timeline) == STEPS
        assert len(hub.telemetry) <= 360
        json.dump(list(hub.timeline), io.StringIO(), allow_nan=False)

    play(scenario)


def test_a_whole_screen_is_not_asked_of_a_source_that_is_not_cut(running) -> None:
    async def scenario() -> None:
        client = Client(running.folder / "live.sock")
        said = (await client.ask({"ask": "whole"})).said["picture"]
        assert (said["whole"], said["source"], said["width"], said["full_width"]) == (True, None, 640, 640)
        client.close()

    play(scenario)


def test_who_comes_next_sees_no_picture_of_before(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in("watcher")
            async with browser.live() as ws:
                async for message in ws:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        break
            assert served.page.hub.jpeg is not None
            while served.page.hub.jpeg is not None:  # the next question, with nobody there
                await asyncio.sleep(0.02)

    play(scenario)


@pytest.mark.parametrize("said", [{"ok": True}, {"snapshot": {}}, {"snapshot": 3}, {"snapshot": {}, "picture": {}}])
def test_a_daemon_that_is_not_understood_is_said(tmp_path: Path, said: dict) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(encode(said))
        await writer.drain()

    async def scenario() -> None:
        async with await asyncio.start_unix_server(answer, tmp_path / "live.sock"):
            hub = Hub(tmp_path / "live.sock", 1)
            await hub._ask()
            assert hub.snapshot["signal"]["state"] == "no daemon"
            assert "not understood" in hub.snapshot["signal"]["detail"]
            hub.close()

    play(scenario)
