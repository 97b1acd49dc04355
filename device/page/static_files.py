"""The browser's files, package data in static/; nothing else of the disk can be asked for."""

import hashlib
from pathlib import Path

from aiohttp import web

from device.page.page import Route
from device.page.refuse import Refusal

FOLDER = Path(__file__).resolve().parent / "static"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


async def index(request: web.Request) -> web.Response:
    """The page itself; without a session it asks for the PIN."""
    return _file(request, "index.html")


async def static(request: web.Request) -> web.Response:
    """A file of static/."""
    return _file(request, request.match_info["name"])


async def texts(request: web.Request) -> web.Response:
    """The texts of a language."""
    return _file(request, f"texts/{request.match_info['name']}")


def _file(request: web.Request, name: str) -> web.Response:
    # Looked up among the names that are there: no path of the request is ever opened.
    known = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.suffix in TYPES}
    path = known.get(name)
    if path is None or not path.is_file():
        raise Refusal(404, "not_found", "There is no such file.")
    data = path.read_bytes()
    tag = hashlib.sha256(data).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if any(one.value == tag for one in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    kind = TYPES[path.suffix]
    text = kind.startswith("text/") or kind.endswith("json")
    return web.Response(body=data, content_type=kind, charset="utf-8" if text else None, headers=headers)


ROUTES = (
    Route("GET", "/", index, None),
    Route("GET", "/static/{name:.+}", static, None),
    Route("GET", "/texts/{name}", texts, None),
)
