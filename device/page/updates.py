"""A new version of busi-kd itself: what runs, one more from a file or a memory stick, and back to the one before."""

import asyncio
from typing import Any

from aiohttp import web

from device import log
from device.errors import UserError
from device.page.machine import helper
from device.page.page import Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok
from device.page.upload import ROOM, uploaded
from device.update import archive, manifest, slots, stick
from device.update.manifest import MOST_UPDATE
from device.update.slots import Place

PLACE = Place()
INSTALL_S = 1800.0  # thousands of files on a slow card, compiled and tested
RENEW_S = 1.0  # so that the answer reaches the browser before this process ends


async def status(request: web.Request) -> web.Response:
    """Versions and their states as device.update.slots.status has them; what a stick offers; why there can be none."""
    page = page_of(request)
    return ok(**await asyncio.get_running_loop().run_in_executor(None, _status, page))


def _status(page: Page) -> dict[str, Any]:
    try:
        said = slots.status(PLACE)
    except UserError as error:
        return {"available": False, "why": str(error)}
    keys = page.now.settings.model.whom().folders
    machine = manifest.this_machine(said["packaged"], said["running"]["version"])
    try:
        path, found = stick.find(keys, machine, root=page.root)
        offered = {"file": path.name, "version": found.manifest.version, "signed_by": found.signed_by}
    except UserError as error:
        offered = {"file": None, "why": str(error)}
    return {"available": True, "stick": offered} | said


async def install(request: web.Request) -> web.Response:
    """An update file in a multipart form: its head is checked here without root, and all of it by the helper."""
    page = page_of(request)
    keys, folder = page.now.settings.model.whom().folders, page.own.folder  # /tmp may be memory, and this is large
    async with uploaded(request, "an update file", "An update is a file", MOST_UPDATE, folder) as stream:
        await asyncio.get_running_loop().run_in_executor(None, archive.read, stream, keys)
        said = await helper(page, "update", stream.fileno(), seconds=INSTALL_S)
    return _renewed(page, said)


async def from_stick(request: web.Request) -> web.Response:
    """The newest that fits on a memory stick; the helper itself finds it."""
    page = page_of(request)
    await body_of(request)
    return _renewed(page, await helper(page, "update-stick", seconds=INSTALL_S))


async def roll_back(request: web.Request) -> web.Response:
    """To the version before, or forward again."""
    page = page_of(request)
    await body_of(request)
    return _renewed(page, await helper(page, "update-rollback"))


def _renewed(page: Page, said: dict[str, Any]) -> web.Response:
    """The answer; soon after it daemon and page are started anew, for a process keeps the code that it began with."""

    async def renew() -> None:
        await asyncio.sleep(RENEW_S)
        try:
            await helper(page, "renew")
        except Refusal as refusal:
            log.say(f"page: the new version could not be started ({refusal}); start the machine again.")

    page.renewing = asyncio.get_running_loop().create_task(renew())
    return ok(**said, restarting=True)


ROUTES = (
    Route("GET", "/api/update", status, "technician"),
    Route("POST", "/api/update", install, "technician", MOST_UPDATE + ROOM),
    Route("POST", "/api/update/stick", from_stick, "technician"),
    Route("POST", "/api/update/rollback", roll_back, "technician"),
)
