"""The region drawn on the uncut screen, which nobody else sees: a daemon on drawn screens of a machine."""

import asyncio
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_served import PATIENCE_S, configuration, options, play, serving, snapshots

from device.bundle import load_bundle
from device.capture.process import ProcessSource
from device.config import options as config_options
from device.daemon import Daemon
from device.notify import Notifier
from device.region import stored
from device.region.region import Region
from device.region.screen import Screen
from device.run import open_live
from device.runtime import open_bundle

DRAWN = {"source": "screen_source:Drawn", "arguments": {"scenes": ["300:sweep:100000"], "reduced": True, "paced": True}}
BOX = {"x": 600, "y": 200, "width": 640, "height": 480, "frame_width": 1920, "frame_height": 1080}


@pytest.fixture
def screened(tmp_path: Path, bundle_dir: Path):
    """(configuration file, file of regions) of a daemon that watches a machine's screen."""
    config = configuration(tmp_path, bundle_dir / "int8-full", recorder=False)
    config.write_text(config.read_text().replace("[region]", '[region]\nmode = "auto"'))
    bundle, live = load_bundle(bundle_dir / "int8-full"), open_live(config_options.effective(options(config)))
    regions = tmp_path / "regions.json"
    source = ProcessSource(Screen, source=DRAWN, regions=str(regions))
    first_frame = threading.Event()

    def say(text: str) -> None:
        """Of the first frame no more is told than that nobody knows its region."""
        if text.startswith("signal: ") and " -> no region" in text:
            first_frame.set()

    daemon = Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=say, live=live)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        # How long a process takes to start is the machine's affair; the page waits 3 s for a screen.
        assert first_frame.wait(PATIENCE_S), "no frame has come"
        yield config, regions
    finally:
        daemon.asked_to_stop = "test"
        thread.join()
        live.close()


def test_a_region_is_drawn_on_the_uncut_screen_and_holds(screened) -> None:
    config, regions = screened

    async def scenario() -> None:
        async with serving(config) as served:
            technician, watcher = await served.signed_in(), await served.signed_in("watcher")
            status, data, headers = await technician.raw("/api/frame.jpg?whole=1")
            assert (status, headers["X-Frame-Size"], headers["X-Picture-Size"]) == (200, "1920x1080", "960x540")
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2] == (540, 960)
            assert (await watcher.ask("GET", "/api/frame.jpg?whole=1"))[0] == 403
            for wrong, status in (
                (BOX | {"x": 1500}, 400),
                (BOX | {"width": 8}, 400),
                (BOX | {"x": "600"}, 400),
                (BOX | {"x": 600.5}, 400),
                ({"x": 1}, 400),
                (BOX | {"frame_width": 1280, "frame_height": 720, "x": 0}, 409),
            ):
                assert (await technician.ask("PUT", "/api/region", wrong))[0] == status, wrong
            status, said = await technician.ask("PUT", "/api/region", BOX)
            assert (status, said["source"], said["region"]) == (200, "drawn", "640x480+600+200@1920x1080")
            (kept,) = stored.load(regions).values()
            assert (kept.state, kept.region) == ("set by hand", Region(**BOX))
            assert kept.signature is not None
            async with watcher.live() as ws:
                async for said in snapshots(ws):
                    if said["region"]["by_hand"]:
                        break
            assert {name: said["region"][name] for name in BOX} == BOX
            _, data, headers = await watcher.raw("/api/frame.jpg")
            width, height = map(int, headers["X-Frame-Size"].split("x"))
            assert (width, height) <= (320, 240)  # no more than the region, decoded at a half
            said = (await technician.ask("GET", "/api/region"))[1]
            assert (said["state"], said["mode"], said["in_force"]) == ("set by hand", "auto", True)
            assert {name: said["region"][name] for name in BOX} == BOX
            assert (await technician.ask("POST", "/api/region/confirm"))[0] == 200
            assert next(iter(stored.load(regions).values())).state == "set by hand"
            assert (await technician.ask("DELETE", "/api/region"))[0] == 200
            assert kept not in stored.load(regions).values()
            async with watcher.live() as ws:  # the daemon lets go of it as well, and finds one by itself
                async for said in snapshots(ws):
                    if said["signal"]["state"] == "no region" and said["sequence"] is None:  # none that it has cut
                        break
                async for said in snapshots(ws):
                    if said["region"]["region"] is not None:
                        break
            assert said["region"]["by_hand"] is False
            (found,) = stored.load(regions).values()
            assert (found.state, str(found.region)) == ("found", said["region"]["region"])

    play(scenario)


def test_a_region_that_was_found_is_confirmed(screened) -> None:
    config, regions = screened

    async def scenario() -> None:
        async with serving(config) as served:
            technician = await served.signed_in()
            while not stored.load(regions):
                await asyncio.sleep(0.05)
            assert next(iter(stored.load(regions).values())).state == "found"
            assert (await technician.ask("POST", "/api/region/confirm"))[0] == 200
            assert next(iter(stored.load(regions).values())).state == "confirmed by hand"

    play(scenario)


def test_a_source_that_is_not_cut_has_no_region(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            technician = await served.signed_in()
            said = (await technician.ask("GET", "/api/region"))[1]
            assert (said["region"], said["state"], said["in_force"]) == (None, None, False)
            status, said = await technician.ask("PUT", "/api/region", BOX)
            assert (status, said["code"]) == (409, "uncut")

    play(scenario)
