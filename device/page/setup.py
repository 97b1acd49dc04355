"""Settings and sources: what a technician may change, written to the page's own file; the daemon then starts again."""

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiohttp import web

from device import schema
from device.capture.find import NO_SOURCES
from device.config import options, overlay, read
from device.config.field import WrongValue
from device.config.quantity import Kind
from device.config.settings import KEYS, Key, Settings
from device.page.machine import start_again
from device.page.page import Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok

SYS = "sys/class/video4linux"


async def settings(request: web.Request) -> web.Response:
    """Every key that may be changed here, its value and where it comes from."""
    page = page_of(request)
    running = await page.running()
    found = overlay.load(page.own.folder)
    own = {} if found is None else found.values
    return ok(keys=[_said(page, KEYS[dotted], running, dotted in own) for dotted in overlay.SETTABLE])


async def change(request: web.Request) -> web.Response:
    """{dotted key: value as in the configuration file, or null to go back to it}."""
    page = page_of(request)
    given = await body_of(request, *overlay.SETTABLE)
    if not given:
        raise Refusal(400, "nothing", "Name at least one setting.")
    running = await page.running()
    for dotted in given:
        if running is not None and running[dotted][1].startswith("option "):
            raise Refusal(409, "option", f"{dotted} is given by {running[dotted][1]} of this run; end it first.")
    values = changed(page, given)
    overlay.store(page.own.folder, values)
    page.reload()
    page.language = page.own.language
    restarting = await start_again(page)
    return ok(changed=sorted(given), restarting=restarting)


def changed(page: Page, given: dict[str, Any]) -> dict[str, Any]:
    """All that the page has set, once `given` is; checked alone and together. Raises UserError, and Refusal."""
    values = _kept(page)
    for dotted, raw in given.items():
        values.pop(dotted, None)
        if raw is None:
            continue
        try:
            values[dotted] = KEYS[dotted].spec.read(raw)
        except WrongValue as error:
            raise Refusal(400, "value", f"{dotted} is {schema.shown(raw)}, which {error}.", key=dotted) from error
    path = page.own.folder / overlay.NAME
    found = read.parse(overlay.text(values), path)
    now = options.merged(read.read(page.args.config), page.args, found).settings
    _check_path(now)
    return values


def _kept(page: Page) -> dict[str, Any]:
    """What the page has set so far; of a file that is damaged what is right there."""
    path = page.own.folder / overlay.NAME
    found = read.examine(path) if path.is_file() else None
    return {} if found is None else {name: value for name, value in found.values.items() if name in overlay.SETTABLE}


def _check_path(now: Settings) -> None:
    """A source that is not there would keep the daemon from starting."""
    path, kind = now.source.path, now.source.kind
    if path is not None and not (path.is_file() if kind == "video" else path.is_dir()):
        what = "file" if kind == "video" else "folder"
        raise Refusal(400, "value", f"source.path is {path}, which is no {what} here.", key="source.path")


def _said(page: Page, one: Key, running: dict[str, tuple[Any, str]] | None, own: bool) -> dict[str, Any]:
    spec, files = one.spec, page.now
    value = getattr(getattr(files.settings, one.section), one.field)
    origin = files.origins[one.dotted]
    if running is not None:
        value, origin = running[one.dotted]
    quantity = isinstance(spec.kind, Kind)

    def plain(value: Any) -> Any:
        return tomllib.loads(f"v = {spec.write(value)}")["v"]

    def end(number: float | None) -> Any:
        return None if number is None else spec.kind.write(number) if quantity else number

    return {
        "key": one.dotted,
        "section": one.section,
        "kind": spec.kind.name if quantity else spec.kind,
        "value": plain(value),
        "default": plain(one.default),
        "unit": next(iter(spec.kind.units)) if quantity else None,
        "units": list(spec.kind.units) if quantity else None,
        "choices": list(spec.choices) or None,
        "unset": spec.unset,
        "low": end(spec.low),
        "high": end(spec.high),
        "help": spec.about,
        "takes": spec.takes(),
        "from": origin,
        "own": own,
        "fixed": origin.startswith("option "),
    }


async def sources(request: web.Request) -> web.Response:
    """What can be chosen with a finger: the one that runs, the devices that the kernel names, the Pi's camera, the
    phantom. Whether one works, only using it tells. settings: what to PUT to /api/settings to take it."""
    page = page_of(request)
    kind, device = await page.value("source.kind"), await page.value("source.device")
    offered = [_offer("v4l2", one["name"], one["device"], **{"source.device": one["device"]})
               for one in devices(page.root)]  # fmt: skip
    if find_spec("picamera2") is not None:
        offered.append(_offer("picamera2", "Camera 0 of the Pi", None))
    offered.append(_offer("phantom", "Self-test", "shows nobody"))
    path = await page.value("source.path")
    same = [one for one in offered if one["kind"] == kind and (kind != "v4l2" or one["detail"] == str(device))]
    if not same:
        where = str(device or path or "") or None
        own = _offer(kind, page.hub.snapshot["source"] or kind, where)
        own["settings"] = {}
        offered.insert(0, own)
        same = [own]
    same[0]["current"] = True
    return ok(sources=offered)


def _offer(kind: str, name: str, detail: str | None, **settings: Any) -> dict[str, Any]:
    cleared = {dotted: None for dotted in overlay.SETTABLE if KEYS[dotted].section == "source"}
    wanted = cleared | {"source.kind": kind} | settings
    return {"kind": kind, "name": name, "detail": detail, "current": False, "settings": wanted}


def devices(root: Path) -> list[dict[str, Any]]:
    """The capture devices that /sys names, the Pi's own codecs left out. root: stands before sys/ and dev/."""
    found = []
    nodes = (root / SYS).glob("video*") if (root / SYS).is_dir() else ()
    for node in sorted(nodes, key=lambda node: (len(node.name), node.name)):
        try:
            name = " ".join((node / "name").read_text(errors="replace").split())
            index = (node / "index").read_text().strip()
        except OSError:
            continue
        if index == "0" and not name.startswith(NO_SOURCES):  # the others of a grabber carry metadata
            found.append({"kind": "v4l2", "device": f"/dev/{node.name}", "name": name})
    return found


ROUTES = (
    Route("GET", "/api/settings", settings, "technician"),
    Route("PUT", "/api/settings", change, "technician"),
    Route("GET", "/api/sources", sources, "technician"),
)
