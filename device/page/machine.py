"""What the root helper does for a technician: the clock, starting again, switching off, and models."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from device import installed, trust
from device.admin import client
from device.admin.client import NoHelper
from device.admin.unpack import MOST_ZIP, unpack
from device.errors import UserError
from device.live.client import Away
from device.page.page import Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok
from device.page.upload import ROOM, uploaded
from device.shipped import describe, shipped
from device.store import system_clock


async def helper(page: Page, verb: str, descriptor: int | None = None, **values: Any) -> dict[str, Any]:
    """What the helper answers. Raises Refusal."""

    def ask() -> dict[str, Any]:
        return client.ask(page.own.admin, verb, descriptor, **values)

    try:
        said = await asyncio.get_running_loop().run_in_executor(None, ask)
    except NoHelper as error:
        raise Refusal(503, "no_helper", str(error)) from error
    if not said.pop("ok", False):
        raise Refusal(409, str(said.get("code", "refused")), str(said.get("error", "The helper refused it.")))
    return said


async def start_again(page: Page) -> bool:
    """Have the daemon take its settings up; one that does not run is started by the helper. Whether it does."""
    try:
        return bool((await page.daemon.command("restart")).get("ok"))
    except Away:
        try:
            await helper(page, "restart")
        except Refusal:
            return False
        return True


async def clock(request: web.Request) -> web.Response:
    """What time it is here, and whether somebody has set it."""
    return ok(unix=time.time(), synchronised=system_clock().synchronised)


async def set_clock(request: web.Request) -> web.Response:
    """To a time from the browser: there is no network time in the field."""
    unix = (await body_of(request, "unix")).get("unix")
    if isinstance(unix, bool) or not isinstance(unix, int | float) or not abs(unix) < 1e15:
        raise Refusal(400, "unix", "unix is a number of seconds since 1970.")
    if system_clock().synchronised:
        raise Refusal(409, "synchronised", "The clock is set by the network; it is not set by hand.")
    await helper(page_of(request), "clock", unix=unix)
    return ok(unix=time.time())


async def reboot(request: web.Request) -> web.Response:
    """Start the machine again."""
    await body_of(request)
    await helper(page_of(request), "reboot")
    return ok()


async def poweroff(request: web.Request) -> web.Response:
    """Switch the machine off."""
    await body_of(request)
    await helper(page_of(request), "poweroff")
    return ok()


async def models(request: web.Request) -> web.Response:
    """The model that ships, the installed one and the one before, checked; which of them runs."""
    page = page_of(request)
    folder, whom = await page.value("model.models"), page.now.settings.model.whom()
    listed = asyncio.get_running_loop().run_in_executor(None, _models, folder, whom)
    found, runs = await listed, page.hub.snapshot.get("model")
    by = {one["which"]: one for one in found}
    # Where a link is missing, the model that ships stands in its place (device.installed).
    ships = by.get("shipped") if len({"current", "previous"} & set(by)) == 1 else None
    current = runs or by.get("current") or by.get("shipped")
    return ok(models=found, current=current, previous=by.get("previous") or ships)


def _models(folder: Path, whom: trust.Trust) -> list[dict[str, Any]]:
    found: list[tuple[str, Path]] = [("shipped", one) for one in shipped()]
    said = []
    for name in (installed.CURRENT, installed.PREVIOUS):
        try:
            path = installed.current(folder, name)
        except UserError as error:
            said.append({"which": name, "error": str(error)})
            continue
        if path is not None:
            found.append((name, path))
    for which, path in found:
        try:
            bundle, warning = trust.load(path, whom)
        except UserError as error:
            said.append({"which": which, "error": str(error)})
            continue
        about = {"which": which, "name": bundle.meta.name, "id": bundle.id, "variant": bundle.meta.variant}
        about |= {"signed_by": bundle.signed_by, "warning": warning, "created": bundle.meta.created}
        said.append(about | {"description": describe(bundle), "cautions": list(bundle.meta.cautions)})
    return said


async def install(request: web.Request) -> web.Response:
    """A bundle as ZIP in a multipart form: checked here without root, and again by the helper, which installs it."""
    page = page_of(request)
    async with uploaded(request, "the ZIP file of a model bundle", "A model is a ZIP file", MOST_ZIP) as stream:
        whom = page.now.settings.model.whom()
        await asyncio.get_running_loop().run_in_executor(None, _check, stream, whom)
        said = await helper(page, "install", stream.fileno())
    return ok(**said, restarting=await start_again(page))


def _check(stream: Any, whom: trust.Trust) -> None:
    """Raises UserError for what is no bundle that this machine believes."""
    stream.seek(0)
    with tempfile.TemporaryDirectory() as folder:
        trust.load(unpack(stream, Path(folder)), whom)


async def roll_back(request: web.Request) -> web.Response:
    """To the model before, or forward again."""
    page = page_of(request)
    await body_of(request)
    said = await helper(page, "rollback")
    return ok(**said, restarting=await start_again(page))


ROUTES = (
    Route("GET", "/api/clock", clock, "technician"),
    Route("PUT", "/api/clock", set_clock, "technician"),
    Route("POST", "/api/reboot", reboot, "technician"),
    Route("POST", "/api/poweroff", poweroff, "technician"),
    Route("GET", "/api/models", models, "technician"),
    Route("POST", "/api/models", install, "technician", MOST_ZIP + ROOM),
    Route("POST", "/api/models/rollback", roll_back, "technician"),
)
