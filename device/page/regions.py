"""The region of the machine's screen: shown, drawn with a finger, confirmed, forgotten. The daemon reads its file."""

import cv2
import numpy as np
from aiohttp import web

from device.page.page import Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok
from device.page.watching import whole_screen
from device.preprocess import to_luma
from device.region import stored
from device.region.region import Region, parse

NAMES = ("x", "y", "width", "height", "frame_width", "frame_height")


async def show(request: web.Request) -> web.Response:
    """How regions are looked for, the one in force, and all that are kept."""
    page = page_of(request)
    kept = stored.load(await page.value("region.regions"))
    listed = [{"source": one.source, "state": one.state, **_numbers(one.region)} for one in kept.values()]
    now = page.hub.snapshot["region"]["region"]
    # One that does not fit any more is shown, too, so that it can be drawn anew from there.
    current = next((one for one in listed if one["region"] == now), listed[-1] if listed and now is None else None)
    state = None if current is None else current["state"]
    mode = await page.value("region.mode")
    if mode == "fixed":
        current, state = _numbers(parse(await page.value("region.fixed"))), "fixed"
    return ok(mode=mode, region=current, state=state, in_force=now is not None, stored=listed)


async def draw(request: web.Request) -> web.Response:
    """Set a region for the source that runs, at the size of its frames; it holds from the next second on."""
    page = page_of(request)
    said = await body_of(request, *NAMES)
    try:
        region = Region(*(said.get(name) for name in NAMES))
    except ValueError as error:
        raise Refusal(400, "region", f"{str(error)[0].upper()}{str(error)[1:]}") from error
    source, luma, width, height = await _screen(page)
    if (region.frame_width, region.frame_height) != (width, height):
        raise Refusal(409, "size", f"The frames are {width}x{height} now; load the picture again.")
    new = stored.Stored(source, region, "set by hand").signed(luma)
    stored.store(new, await page.value("region.regions"))
    return ok(source=source, **_numbers(region))


async def confirm(request: web.Request) -> web.Response:
    """The region that was found is right."""
    page = page_of(request)
    await body_of(request)
    file, one = await _stored(page)
    if not one.by_hand:
        stored.store(stored.Stored(one.source, one.region, "confirmed by hand", one.signature), file)
    return ok(source=one.source, **_numbers(one.region))


async def forget(request: web.Request) -> web.Response:
    """Look for it anew."""
    page = page_of(request)
    file, one = await _stored(page)
    stored.clear(one.key, file)
    return ok(source=one.source)


async def _stored(page: Page):
    source, _, width, height = await _screen(page)
    file = await page.value("region.regions")
    one = stored.load(file).get((source, width, height))
    if one is None:
        raise Refusal(404, "no_region", "No region is kept for this source.")
    return file, one


async def _screen(page: Page) -> tuple[str, np.ndarray, int, int]:
    """The source's name, its uncut screen as (height, width) luma, and its size. Raises Refusal where nothing is cut,
    or nothing comes."""
    message = await whole_screen(page)
    about = message.said.get("picture")
    if await page.value("region.mode") == "fixed":
        raise Refusal(409, "fixed", "The region stands in the settings (region.fixed); change it there.")
    if about is None:
        raise Refusal(404, "no_picture", "There is no picture now; connect the machine and try again.")
    if not about["source"]:
        raise Refusal(409, "uncut", "This source's frames are judged as they come; see region.mode in the settings.")
    shape = (about["height"], about["width"]) + ((3,) if about["channels"] == 3 else ())
    luma = to_luma(np.frombuffer(message.payload, np.uint8).reshape(shape))
    width, height = about["full_width"], about["full_height"]
    if luma.shape != (height, width):
        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_NEAREST)
    return about["source"], luma, width, height


def _numbers(region: Region) -> dict[str, int | str]:
    return {"region": str(region), **{name: getattr(region, name) for name in NAMES}}


ROUTES = (
    Route("GET", "/api/region", show, "technician"),
    Route("PUT", "/api/region", draw, "technician"),
    Route("DELETE", "/api/region", forget, "technician"),
    Route("POST", "/api/region/confirm", confirm, "technician"),
)
