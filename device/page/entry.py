"""Signing in and out, PINs, and the language: what the page asks before anything else."""

from aiohttp import web

from device import __version__
from device.config import overlay
from device.page.access import COOKIE, check_csrf, check_session, set_cookie
from device.page.page import Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok
from device.page.sessions import Session


async def show(request: web.Request) -> web.Response:
    """Who is signed in, if anybody."""
    page = page_of(request)
    session = page.access.sessions.read(request.cookies.get(COOKIE))
    return ok(**_said(page, request, session))


async def sign_in(request: web.Request) -> web.Response:
    """With the PIN, a pairing PIN, or on the own screen without one."""
    page = page_of(request)
    said = await body_of(request, "pin", "role")
    role = said.get("role", "technician")
    session = await page.access.sign_in(said.get("pin"), role, page.address(request))
    return _signed_in(page, request, session)


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    access = page_of(request).access
    session = access.sessions.read(request.cookies.get(COOKIE))
    if session is not None:
        check_csrf(request, access, session)
        access.sessions.end(session)
    response = ok()
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return response


async def first_pin(request: web.Request) -> web.Response:
    """Where there is none, from the own screen."""
    page = page_of(request)
    said = await body_of(request, "new")
    return _signed_in(page, request, await page.access.set_first(said.get("new"), page.address(request)))


async def change_pin(request: web.Request) -> web.Response:
    """With the old one."""
    page = page_of(request)
    said = await body_of(request, "old", "new")
    session = await page.access.change(said.get("old"), said.get("new"), page.address(request))
    return _signed_in(page, request, session)


async def pairing(request: web.Request) -> web.Response:
    """A one-time PIN, for a technician, and for the own screen once a PIN is set."""
    page = page_of(request)
    if page.address(request) is not None or not page.access.pin_set:
        check_session(request, page.access, "technician")
    pin, seconds = page.access.pairing()
    return ok(pin=pin, expires_s=seconds)


async def language(request: web.Request) -> web.Response:
    """Of the page, for everybody and from now on."""
    page = page_of(request)
    chosen = (await body_of(request, "language")).get("language")
    if chosen not in ("en", "fr", "ar"):
        raise Refusal(400, "language", "language is en, fr or ar.")
    found = overlay.load(page.own.folder)
    values = {} if found is None else found.values
    overlay.store(page.own.folder, values | {"page.language": chosen})
    page.reload()
    page.language = chosen
    return ok(language=chosen)


def _signed_in(page: Page, request: web.Request, session: Session) -> web.Response:
    response = ok(**_said(page, request, session))
    set_cookie(response, page.access, session)
    return response


def _said(page: Page, request: web.Request, session: Session | None) -> dict:
    address = page.address(request)
    locked = page.access.lockout.locked_s(address)
    return {
        "role": None if session is None else session.role,
        "csrf": None if session is None else page.access.sessions.csrf(session),
        "pin_set": page.access.pin_set,
        "local": address is None,
        "local_without_pin": page.access.local_without_pin,
        "locked_s": locked or None,
        "language": page.language,
        "version": __version__,
    }


ROUTES = (
    Route("GET", "/api/session", show, None),
    Route("POST", "/api/session", sign_in, None),
    Route("DELETE", "/api/session", sign_out, None),
    Route("POST", "/api/pin", first_pin, None),
    Route("PUT", "/api/pin", change_pin, "technician"),
    Route("GET", "/api/pairing", pairing, None),
    Route("PUT", "/api/language", language, "technician"),
)
