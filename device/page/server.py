"""The web server: every request is checked here before a handler sees it, and every answer gets its headers here."""

import argparse
import asyncio
import contextlib
import ipaddress
from collections.abc import Iterator

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from device import log
from device.config import options
from device.errors import UserError
from device.live.client import Away
from device.page import entry, health, machine, regions, setup, static_files, studies, updates, watching
from device.page.access import (
    COOKIE,
    REFRESH_S,
    Access,
    check_host,
    check_origin,
    check_session,
    own_names,
    set_cookie,
)
from device.page.live import Hub
from device.page.page import PAGE, SESSION, Page, Route
from device.page.refuse import Refusal, refused

CONNECTIONS = 64
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_CHANGING = ("POST", "PUT", "DELETE")


def routes() -> tuple[Route, ...]:
    """All that the page answers."""
    live = (*entry.ROUTES, *watching.ROUTES, *studies.ROUTES, *setup.ROUTES, *regions.ROUTES)
    return (*live, *machine.ROUTES, *updates.ROUTES, *health.ROUTES, *static_files.ROUTES)


def make_app(page: Page) -> web.Application:
    """The application; the hub runs as long as it does."""
    names = own_names()
    own: dict[tuple[str, str], Route] = {}

    @web.middleware
    async def guard(request: web.Request, handler) -> web.StreamResponse:
        try:
            check_host(request, names)
            page.address(request)
            resource = request.match_info.route.resource
            route = own.get((request.method, "" if resource is None else resource.canonical))
            if route is None:
                raise Refusal(404, "not_found", "There is no such thing here.")
            return await _allowed(page, request, route)
        except Refusal as refusal:
            return refused(refusal)
        except UserError as error:
            return refused(Refusal(400, "wrong", str(error)))
        except Away as error:
            return refused(Refusal(503, "no_daemon", str(error)))
        except web.HTTPRequestEntityTooLarge:
            return refused(Refusal(413, "too_large", "The request is too large."))
        except (web.RequestPayloadError, HttpProcessingError):  # no such encoding, a header that is none
            return refused(Refusal(400, "http", "The request cannot be read."))
        except web.HTTPException as error:
            return refused(Refusal(error.status, "http", f"{error.reason}."))
        except OSError as error:
            return refused(Refusal(500, "system", f"The system refused it ({error.strerror or type(error).__name__})."))

    app = web.Application(middlewares=[guard], client_max_size=max(route.body for route in routes()))
    app[PAGE], app[health.DOCTOR] = page, health.Doctor()
    for route in routes():
        added = app.router.add_resource(route.path).add_route(route.method, route.handler)
        own[route.method, added.resource.canonical] = route
    app.on_response_prepare.append(_add_headers)
    app.on_startup.append(studies.tidy)
    app.cleanup_ctx.append(_hub)
    return app


async def _allowed(page: Page, request: web.Request, route: Route) -> web.StreamResponse:
    """The handler's answer, if it may be asked."""
    changing = request.method in _CHANGING
    check_origin(request, must=False)
    if changing and (request.content_length is None and request.can_read_body):
        raise Refusal(411, "length", "Say how long the request is.")
    if (request.content_length or 0) > route.body:
        raise Refusal(413, "too_large", "The request is too large.")
    session = None
    if route.who is not None:
        session = check_session(request, page.access, route.who)
        SESSION.set(session)
        page.access.sessions.use(session)
    response = await route.handler(request)
    if session is not None and not response.prepared and COOKIE not in response.cookies:
        if page.access.sessions.age_s(session) > REFRESH_S and page.access.sessions.lives(session):
            set_cookie(response, page.access, session)
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    response.headers.pop("Server", None)


async def _hub(app: web.Application):
    task = asyncio.create_task(app[PAGE].hub.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    app[PAGE].close()


def addresses(listen: str) -> Iterator[str | None]:
    """What to listen on: always this machine itself; None is every address."""
    if listen == "lan":
        yield None
        return
    if not ipaddress.ip_address(listen).is_loopback:
        yield "127.0.0.1"
    yield listen


def make_page(args: argparse.Namespace) -> Page:
    """A page with the settings of the options and files. Raises UserError."""
    now = options.effective(args)
    own = now.settings.page
    access = Access(own.folder, own.session_idle_s, own.session_longest_s, own.local_without_pin)
    return Page(args, now, access, Hub(own.socket, own.watchers))


async def serve(page: Page) -> None:
    """Serve until cancelled; says its addresses. Raises UserError when it cannot listen."""
    runner = web.AppRunner(make_app(page), access_log=None, keepalive_timeout=30.0, shutdown_timeout=0.5)
    await runner.setup()
    loop, servers = asyncio.get_running_loop(), []

    def bounded() -> asyncio.Protocol:
        return runner.server() if len(runner.server.connections) < CONNECTIONS else _Full()

    try:
        for address in addresses(page.own.listen):
            try:
                servers.append(await loop.create_server(bounded, address, page.own.port, backlog=32))
            except OSError as error:
                what = f"{address or 'any address'}, port {page.own.port}"
                raise UserError(f"page: cannot listen on {what} ({error.strerror}); correct page.port.") from error
        host = "127.0.0.1" if page.own.listen == "lan" else page.own.listen
        shown = f"[{host}]" if ":" in host else host
        log.say(f"page: http://{shown}:{page.own.port}/" + (" and the Pi's own networks" * (page.own.listen == "lan")))
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()


class _Full(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()
