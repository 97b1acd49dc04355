"""The outline on its way to the page: with the picture it was found in, and away when the verdict is."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from page_served import configuration, play, serving, snapshots
from tiny_bundle import lesion_picture

from device.bundle import load_bundle
from device.capture import Frame, NoSignal
from device.daemon import Daemon
from device.live.client import Away, Client
from device.live.server import Live
from device.notify import Notifier
from device.runtime import open_bundle

BOX = (0.25, 0.125, 0.5, 0.5)
SIZE = (96, 160)


def wandering(number: int) -> tuple[float, float, float, float]:
    """A box that goes on by half its width with each frame."""
    left = (number % 5) / 8
    return left, 0.25, left + 0.25, 0.75


class Showing:
    """A live source of whatever `picture(number)` gives; None: the cable is pulled."""

    description, synthetic, live, skipped = "showing", None, True, 0

    def __init__(self, picture: Callable[[int], np.ndarray | None]) -> None:
        self.picture, self.number = picture, 0
        self._pace = threading.Event()

    def open(self) -> None:
        if self.picture(0) is None:
            raise NoSignal("the cable was pulled")

    def grab(self, timeout: float) -> Frame:
        self._pace.wait(0.02)
        pixels = self.picture(self.number)
        if pixels is None:
            raise NoSignal("the cable was pulled")
        self.number += 1
        return Frame(pixels, self.number - 1, time.monotonic(), "frame")

    def close(self) -> None:
        pass


@contextmanager
def judging(source: Showing, bundle_folder: Path, folder: Path) -> Iterator[Path]:
    """A daemon on the source; gives the socket's path."""
    bundle = load_bundle(bundle_folder)
    live = Live(folder / "live.sock", say=lambda _: None)
    daemon = Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda _: None, live=live)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield folder / "live.sock"
    finally:
        daemon.asked_to_stop = "test"
        thread.join()
        live.close()


async def answering(path: Path) -> Client:
    """A client of a daemon that has begun to listen."""
    client = Client(path)
    while True:
        try:
            await client.ask({"ask": "live"})
            return client
        except Away:
            await asyncio.sleep(0.02)


def test_an_outline_goes_with_its_own_picture(mask_bundle_dir: Path, tmp_path: Path) -> None:
    """The lesion wanders from frame to frame; in every answer outline and picture show it at the same place."""
    source = Showing(lambda number: lesion_picture("benign", wandering(number), SIZE))

    async def scenario(path: Path) -> None:
        client, after, seen = await answering(path), None, set()
        while len(seen) < 12:
            answer = await client.ask({"ask": "live", "picture": True, "after": after})
            about, said = answer.said.get("picture"), answer.said["snapshot"]
            if about is None or not said["outline"]:
                await asyncio.sleep(0.005)
                continue
            after = about["sequence"]
            assert after == said["sequence"]
            pixels = np.frombuffer(answer.payload, np.uint8).reshape(about["height"], about["width"])
            columns = np.flatnonzero((pixels == 255).any(axis=0))
            x = [point[0] * about["width"] for point in said["outline"][0]]
            assert (min(x), max(x)) == pytest.approx((columns[0], columns[-1] + 1), abs=3 * about["width"] / 64)
            seen.add(after)
        client.close()

    with judging(source, mask_bundle_dir / "int8-full", tmp_path) as path:
        play(lambda: scenario(path))


def test_the_page_says_where_and_nothing_once_there_is_no_verdict(mask_bundle_dir: Path, tmp_path: Path) -> None:
    source = Showing(lambda _: lesion_picture("malignant", BOX, SIZE))
    normal = lesion_picture("normal", (0.5, 0.5, 0.6, 0.6), SIZE)

    async def until(ws, wanted: Callable[[dict], bool]) -> dict:
        async for said in snapshots(ws):
            if wanted(said):
                return said
        raise AssertionError("the connection ended")

    async def scenario() -> None:
        async with serving(configuration(tmp_path, mask_bundle_dir / "int8-full")) as served:
            browser = await served.signed_in()
            async with browser.live() as ws:
                said = await until(ws, lambda said: said["verdict"] is not None)
                assert (said["verdict"]["label"], said["model"]["outlines"]) == ("malignant", True)
                (polygon,) = said["outline"]
                x, y = zip(*polygon, strict=True)
                assert (min(x), min(y), max(x), max(y)) == pytest.approx(BOX, abs=3 / 64)

                source.picture = lambda _: normal
                said = await until(ws, lambda said: said["verdict"] and said["verdict"]["label"] == "normal")
                assert said["outline"] is None

                source.picture = lambda _: lesion_picture("benign", BOX, SIZE)
                await until(ws, lambda said: bool(said["outline"]))
                assert (await browser.ask("POST", "/api/hold", {"held": True}))[0] == 200
                source.picture = lambda _: None
                said = await until(ws, lambda said: said["signal"]["state"] == "no signal")
                assert said["held"], "what is held stays, with its outline"
                assert said["outline"]
                assert (await browser.ask("POST", "/api/hold", {"held": False}))[0] == 200
                said = await until(ws, lambda said: not said["held"])
                assert (said["verdict"], said["outline"]) == (None, None)

    with judging(source, mask_bundle_dir / "int8-full", tmp_path):
        play(scenario)


def test_a_model_that_outlines_nothing_says_so(bundle_dir: Path, tmp_path: Path) -> None:
    source = Showing(lambda _: lesion_picture("malignant", BOX, SIZE))

    async def scenario(path: Path) -> None:
        client = await answering(path)
        while (said := (await client.ask({"ask": "live"})).said["snapshot"])["verdict"] is None:
            await asyncio.sleep(0.01)
        assert (said["outline"], said["model"]["outlines"]) == (None, False)
        client.close()

    with judging(source, bundle_dir / "int8-full", tmp_path) as path:
        play(lambda: scenario(path))
