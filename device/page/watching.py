"""The live view: the WebSocket, the newest picture, the last minute, and the commands under it."""

import asyncio
import json

from aiohttp import web

from device.live.client import Away
from device.live.message import Message
from device.page.access import check_origin, check_session
from device.page.live import POINT_S, STEP_S, encoded
from device.page.page import SESSION, Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok, told

WHOLE_SIDE = 1920
WHOLE_TRIES, WHOLE_PAUSE_S = 20, 0.15


async def live(request: web.Request) -> web.StreamResponse:
    """Snapshots and pictures as they come."""
    check_origin(request, must=True)
    page = page_of(request)
    return await page.hub.watch(request, page.access, SESSION.get())


async def snapshot(request: web.Request) -> web.Response:
    """The newest snapshot, for who cannot have a WebSocket."""
    return ok(**json.loads(page_of(request).hub.text))


async def timeline(request: web.Request) -> web.Response:
    """The last 60 s."""
    return ok(step_s=STEP_S, points=list(page_of(request).hub.timeline))


async def telemetry(request: web.Request) -> web.Response:
    """The last hour."""
    return ok(step_s=POINT_S, points=list(page_of(request).hub.telemetry))


async def frame(request: web.Request) -> web.Response:
    """The newest picture as JPEG; with ?whole=1 the uncut screen, for a technician: names may be on it."""
    page, whole = page_of(request), request.query.get("whole") == "1"
    if whole:
        check_session(request, page.access, "technician")
    try:
        message = await (whole_screen(page) if whole else page.daemon.ask({"ask": "live", "picture": True}, 5.0))
    except Away as error:
        raise Refusal(503, "no_daemon", str(error)) from error
    about = message.said.get("picture")
    if about is None:
        raise Refusal(404, "no_picture", "There is no picture now.")
    data, width, height = encoded(about, message.payload, WHOLE_SIDE)
    size = (about["full_width"], about["full_height"])
    headers = {"X-Frame-Size": "{}x{}".format(*size), "X-Picture-Size": f"{width}x{height}"}
    return web.Response(body=data, content_type="image/jpeg", headers=headers)


async def whole_screen(page: Page) -> Message:
    """The uncut screen: the daemon asks the source's process for it, which hands it over with its next frame."""
    for _ in range(WHOLE_TRIES):
        message = await page.daemon.ask({"ask": "whole"}, 5.0)
        if message.said.get("picture") is not None:
            break
        await asyncio.sleep(WHOLE_PAUSE_S)
    return message


async def hold(request: web.Request) -> web.Response:
    """Freeze what is shown, or let it go; judging goes on."""
    held = (await body_of(request, "held")).get("held")
    if not isinstance(held, bool):
        raise Refusal(400, "held", "held is true or false.")
    return told(await page_of(request).command("hold", held=held))


async def mark(request: web.Request) -> web.Response:
    """Begin a sweep, or end and save it."""
    await body_of(request)
    return told(await page_of(request).command("mark"))


async def save(request: web.Request) -> web.Response:
    """Save the held picture, or the newest."""
    label = (await body_of(request, "label")).get("label")
    return told(await page_of(request).command("save", **({} if label is None else {"label": label})))


async def discard(request: web.Request) -> web.Response:
    """Let go of a held picture, else delete what was saved last of the open study."""
    await body_of(request)
    return told(await page_of(request).command("discard"))


ROUTES = (
    Route("GET", "/api/live", live, "watcher"),
    Route("GET", "/api/snapshot", snapshot, "watcher"),
    Route("GET", "/api/timeline", timeline, "watcher"),
    Route("GET", "/api/telemetry", telemetry, "watcher"),
    Route("GET", "/api/frame.jpg", frame, "watcher"),
    Route("POST", "/api/hold", hold, "technician"),
    Route("POST", "/api/mark", mark, "technician"),
    Route("POST", "/api/save", save, "technician"),
    Route("POST", "/api/discard", discard, "technician"),
)
