"""One running page: its settings, access, the daemon and the helper; what the handlers share."""

import argparse
import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from device.config import options
from device.config.settings import KEYS
from device.live.client import Away, Client
from device.page.access import Access, address_of
from device.page.live import Hub
from device.page.refuse import Refusal
from device.page.sessions import Session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_JSON = 16 * 1024


@dataclass(frozen=True)
class Route:
    """who: None anybody, else the least role. body: bytes that a request may have."""

    method: str
    path: str
    handler: Handler
    who: str | None
    body: int = MAX_JSON


class Page:
    """args: the options of this process, so that settings can be read anew."""

    def __init__(self, args: argparse.Namespace, now: options.Effective, access: Access, hub: Hub) -> None:
        self.args, self.now, self.access, self.hub = args, now, access, hub
        self.address = address_of  # of a request
        self.root = Path("/")  # before proc/, sys/ and the folders of memory sticks
        self.daemon = Client(now.settings.page.socket)
        self.language = now.settings.page.language
        self.renewing: asyncio.Task | None = None  # after an update: held, so that it is not forgotten half-way

    @property
    def own(self):
        """The section [page]."""
        return self.now.settings.page

    def reload(self) -> None:
        """Read the files again. Raises UserError."""
        self.now = options.effective(self.args)
        self.language = self.own.language

    def close(self) -> None:
        """Let go of the daemon."""
        self.hub.close()
        self.daemon.close()

    async def running(self) -> dict[str, tuple[Any, str]] | None:
        """(value, origin) of every key as the daemon runs with them; None when it does not answer."""
        try:
            said = (await self.daemon.ask({"ask": "settings"}, 2.0)).said["settings"]
        except Away:
            return None
        found = {}
        for dotted, (text, origin) in said.items():
            if dotted in KEYS:
                found[dotted] = KEYS[dotted].spec.read(tomllib.loads(f"v = {text}")["v"]), origin
        return found

    async def value(self, dotted: str) -> Any:
        """One setting as the daemon runs with it, else as the files have it."""
        running = await self.running()
        one = KEYS[dotted]
        own = getattr(getattr(self.now.settings, one.section), one.field)
        return own if running is None else running[dotted][0]

    async def command(self, do: str, **values: Any) -> dict[str, Any]:
        """A command to the daemon. Raises Refusal when it does not answer."""
        try:
            return await self.daemon.command(do, **values)
        except Away as error:
            raise Refusal(503, "no_daemon", str(error)) from error


PAGE = web.AppKey("page", Page)
SESSION: ContextVar[Session] = ContextVar("session")  # that the request in hand was found to have


def page_of(request: web.Request) -> Page:
    """The page that serves a request."""
    return request.app[PAGE]


def _loads(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


async def body_of(request: web.Request, *names: str) -> dict[str, Any]:
    """The JSON object of a request. names: of the members that it may have. Raises Refusal."""
    try:
        said = await request.json(loads=_loads) if request.can_read_body else {}
        json.dumps(said, ensure_ascii=False).encode()  # half a character ("\\ud800") is no text: it cannot be passed on
    except (ValueError, LookupError, RecursionError) as error:  # LookupError: a charset that there is not
        raise Refusal(400, "json", "The request is no JSON.") from error
    if not isinstance(said, dict) or set(said) - set(names):
        raise Refusal(400, "json", f"The request is a JSON object with {', '.join(names) or 'no members'}.")
    return said
