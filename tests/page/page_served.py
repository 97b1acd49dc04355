"""A real daemon, a real page server on a port of its own, and a browser's side of it by aiohttp's client."""

import argparse
import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from device.page import server
from device.page.access import Access
from device.page.page import Page

ROOT = Path(__file__).resolve().parents[2]
PIN = "271828"
PATIENCE_S = 120.0  # a daemon that starts beside other work took longer than a minute


class Clock:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def options(config: Path | None = None) -> argparse.Namespace:
    """The options of `busi-kd device page`."""
    names = ("page_listen", "page_port", "page_folder", "page_socket")
    return argparse.Namespace(config=config, **dict.fromkeys(names))


def configuration(folder: Path, bundle: Path, more: str = "", recorder: bool = True) -> Path:
    """A configuration file whose page, studies and socket lie in `folder`."""
    path = folder / "config.toml"
    path.write_text(f"""
[model]
bundle = "{bundle}"
allow_unsigned = true
models = "{folder}/models"
[page]
enabled = true
folder = "{folder}/page"
socket = "{folder}/live.sock"
admin = "{folder}/admin.sock"
[region]
regions = "{folder}/regions.json"
[recorder]
enabled = {str(recorder).lower()}
folder = "{folder}/studies"
reserve = "0 B"
{more}
""")
    return path


class Started:
    """`busi-kd device run` in a process of its own."""

    def __init__(self, config: Path, *more: str) -> None:
        command = [sys.executable, "-m", "device.main", "device", "run", "--config", str(config), *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def wait_for(self, part: str) -> str:
        """Read its lines until one holds that; a daemon that does not say it is ended, and that is an error."""
        patience = threading.Timer(PATIENCE_S, self.process.kill)
        patience.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line)
                if part in line:
                    return line
        finally:
            patience.cancel()
        raise AssertionError(f"the daemon ended without saying {part!r}: {self.lines[-5:]}")

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()


@dataclass
class Browser:
    """One browser: its cookies and its token. base: http://127.0.0.1:port."""

    base: str
    http: aiohttp.ClientSession
    page: Page
    csrf: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, said: Any = None, **more: Any) -> tuple[int, Any]:
        """(status, JSON) of a request as the page's own script makes it."""
        headers = {"Origin": self.base, **({"X-CSRF": self.csrf} if self.csrf else {}), **self.headers}
        headers |= more.pop("headers", {})
        body = {} if said is None else {"json": said}
        async with self.http.request(method, self.base + path, headers=headers, **body, **more) as response:
            return response.status, await response.json()

    async def raw(self, path: str, **more: Any) -> tuple[int, bytes, Any]:
        """(status, bytes, headers) of a GET."""
        async with self.http.get(self.base + path, **more) as response:
            return response.status, await response.read(), response.headers

    async def until(self, holds: Callable[[], bool]) -> None:
        """Ask until it holds: some things are done once an answer has arrived. One that never does fails in `play`."""
        while not holds():
            await self.ask("GET", "/api/session")

    async def sign_in(self, role: str = "technician", pin: str | None = PIN) -> tuple[int, Any]:
        """With the PIN; keeps the token."""
        status, said = await self.ask("POST", "/api/session", {"pin": pin, "role": role})
        self.csrf = said.get("csrf")
        return status, said

    async def first_pin(self, pin: str = PIN) -> tuple[int, Any]:
        """From the own screen; keeps the token."""
        status, said = await self.ask("POST", "/api/pin", {"new": pin})
        self.csrf = said.get("csrf")
        return status, said

    def live(self, **more: Any):
        """The WebSocket."""
        return self.http.ws_connect(f"{self.base}/api/live", **({"origin": self.base} | more))


class Server:
    """The page's server, and browsers for it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.sessions: list[aiohttp.ClientSession] = []

    def browser(self) -> Browser:
        """A new one, without cookies."""
        http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.sessions.append(http)
        return Browser(self.base, http, self.page)

    async def signed_in(self, role: str = "technician") -> Browser:
        """A new one, signed in; sets the PIN where there is none."""
        browser = self.browser()
        if not self.page.access.pin_set:
            assert (await browser.first_pin())[0] == 200
        assert (await browser.sign_in(role))[0] == 200
        return browser


@asynccontextmanager
async def serving(config: Path, clock: Callable[[], float] | None = None, root: Path | None = None, **own: Any):
    """A Server on any free port. clock: of PINs and sessions. own: attributes of the page."""
    page = server.make_page(options(config))
    if clock is not None:
        settings = page.own
        page.access = Access(
            *(settings.folder, settings.session_idle_s, settings.session_longest_s, settings.local_without_pin, clock)
        )
    if root is not None:
        page.root = root
    for name, value in own.items():
        setattr(page, name, value)
    runner = web.AppRunner(server.make_app(page), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    found = Server(page, f"http://127.0.0.1:{port}")
    try:
        yield found
    finally:
        for session in found.sessions:
            await session.close()
        await runner.cleanup()


def play(scenario: Callable[[], Any]) -> Any:
    """Run a scenario to its end; one that hangs fails."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await scenario()

    return asyncio.run(bounded())


async def snapshots(ws: aiohttp.ClientWebSocketResponse) -> AsyncIterator[dict[str, Any]]:
    """Those that come, pictures left out."""
    async for message in ws:
        if message.type == aiohttp.WSMsgType.TEXT:
            said = message.json()
            if said["type"] == "snapshot":
                yield said
