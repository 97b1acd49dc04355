"""Saved studies: listed, shown, exported to the browser or a memory stick, deleted. Each request opens the store."""

import asyncio
import os
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from device import RESEARCH_NOTICE, log
from device.errors import UserError
from device.files import sha256_file, sync_folder
from device.page import arrival, leaving
from device.page.page import PAGE, Page, Route, body_of, page_of
from device.page.refuse import Refusal, ok
from device.page.usb import sticks
from device.store import LEAVING, database, outlines, pictures
from device.store.database import Study
from device.store.store import Store, because, is_open

ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ITEMS = 2000  # of a study that are listed
_BLOCK = 1 << 18


async def listed(request: web.Request) -> web.Response:
    """All studies, the newest first."""

    def read(store: Store) -> list[dict[str, Any]]:
        counts = dict(store.connection.execute("SELECT study, count(*) FROM items GROUP BY study").fetchall())
        sized = [(one, is_open(store, one.study)) for one in reversed(store.sized())]
        return [_study(one.study, is_now) | {"items": counts.get(one.study.id, 0), "bytes": one.bytes}
                for one, is_now in sized]  # fmt: skip

    page = page_of(request)
    try:
        found = await _in_store(page, read)
    except Refusal as refusal:
        if refusal.code != "no_studies":
            raise
        found = []
    free = _free_bytes(await page.value("recorder.folder"))
    room = {"max_bytes": await page.value("recorder.max_size"), "free_bytes": free}
    return ok(studies=found, used_bytes=sum(one["bytes"] for one in found), **room)


async def shown(request: web.Request) -> web.Response:
    """One study with what was saved."""

    def read(store: Store) -> dict[str, Any]:
        study = _found(store, request)
        items = database.items(store.connection, study.id)
        drawn = outlines.of_items(store.connection)
        rows = [
            {k: v for k, v in asdict(item).items() if k != "saved_monotonic"} | {"outline": drawn.get(item.id)}
            for item in items
        ]
        return {"study": _study(study, is_open(store, study)), "items": rows[-ITEMS:], "notice": RESEARCH_NOTICE}

    return ok(**await _in_store(page_of(request), read))


async def picture(request: web.Request) -> web.Response:
    """A saved picture, if it is as it was saved."""

    def read(store: Store) -> bytes:
        study, number = _found(store, request), int(request.match_info["number"])
        for item in database.items(store.connection, study.id):
            if item.number == number and item.file is not None and pictures.look(store.pictures, item) is None:
                return (store.pictures / item.file).read_bytes()
        raise Refusal(404, "no_picture", "There is no such picture, or it is damaged.")

    return web.Response(body=await _in_store(page_of(request), read), content_type="image/png")


async def as_zip(request: web.Request) -> web.StreamResponse:
    """The study as ZIP."""
    return await _sent(request, _zip, "zip")


async def as_dicom(request: web.Request) -> web.StreamResponse:
    """The study as DICOM, in a ZIP."""
    return await _sent(request, _dicom, "dicom.zip")


async def to_stick(request: web.Request) -> web.Response:
    """Write it to a memory stick. {"stick": name, "kind": "zip"|"dicom"}; without a name to the only one there is."""
    page = page_of(request)
    said = await body_of(request, "stick", "kind")
    write = {"zip": _zip, "dicom": _dicom}.get(str(said.get("kind", "zip")))
    there = [stick for stick in sticks(page.root) if said.get("stick") in (None, stick.name)]
    if write is None:
        raise Refusal(400, "kind", "kind is zip or dicom.")
    if len(there) != 1:
        what = "Plug one memory stick in, and wait until it is mounted." if not there else "Say which memory stick."
        raise Refusal(409, "stick", what)
    (stick,) = there
    if not stick.writable:
        raise Refusal(409, "read_only", f"The memory stick {stick.label} is write-protected.")
    await _ended(page, request)

    def export(store: Store) -> str:
        study = _found(store, request)
        ending = "zip" if write is _zip else "dicom.zip"
        path = _free_name(stick.folder, study, ending)
        with leaving.room(store.folder) as folder:
            own = write(store, study, folder)
            aside = path.with_name(f".{path.name}.part")
            try:
                shutil.copyfile(own, aside)
                with open(aside, "rb+") as stream:
                    os.fsync(stream.fileno())
                aside.replace(path)
                sync_folder(path.parent)
            except OSError as error:
                aside.unlink(missing_ok=True)
                raise UserError(f"The memory stick {stick.label} cannot be written ({error.strerror}).") from error
            mark_left(store, study, own, "zip" if write is _zip else "dicom")
        return path.name

    return ok(file=await _in_store(page, export), stick=stick.name)


async def delete(request: web.Request) -> web.Response:
    """Delete it; the audit log keeps that it was there."""
    page = page_of(request)
    await _ended(page, request)

    def gone(store: Store) -> dict[str, Any]:
        study = _found(store, request)
        store.delete(study, "asked for on the page")
        store.settle()
        return {"study": study.id, "exported": study.exported is not None}

    return ok(**await _in_store(page, gone))


async def usb(request: web.Request) -> web.Response:
    """The memory sticks that are there."""
    found = sticks(page_of(request).root)
    return ok(sticks=[{"name": one.name, "label": one.label, "writable": one.writable, "free_bytes": one.free_bytes}
                      for one in found])  # fmt: skip


async def tidy(app: web.Application) -> None:
    """At the start: what exports have left that were killed goes. What cannot be deleted is said."""
    folder = app[PAGE].now.settings.recorder.folder
    try:
        await asyncio.get_running_loop().run_in_executor(None, leaving.clear, folder)
    except OSError as error:
        log.say(f"page: {folder / LEAVING} cannot be cleared ({because(error)}); correct its permissions.")


async def _in_store(page: Page, work: Callable[[Store], Any]) -> Any:
    """What `work` returns, in another thread. Raises Refusal."""
    folder: Path = await page.value("recorder.folder")

    def open_and_work() -> Any:
        if not (folder / "studies.sqlite").is_file():
            raise Refusal(404, "no_studies", "Nothing was saved yet.")
        store = Store(folder)
        try:
            return work(store)
        except sqlite3.Error as error:
            raise Refusal(503, "store", f"The studies cannot be read now ({because(error)}); try again.") from error
        finally:
            store.close()

    return await asyncio.get_running_loop().run_in_executor(None, open_and_work)


def _found(store: Store, request: web.Request) -> Study:
    wanted = request.match_info["id"]
    for study in database.studies(store.connection):
        if study.id == wanted:
            return study
    raise Refusal(404, "no_study", "There is no such study.")


def _study(study: Study, is_now: bool) -> dict[str, Any]:
    said = {name: value for name, value in asdict(study).items() if name not in ("begun_monotonic", "boot")}
    state = "open" if is_now else "ended" if study.ended else "interrupted"
    return said | {"state": state, "open": is_now}


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


async def _ended(page: Page, request: web.Request) -> None:
    """A study that leaves is over: one that the daemon has open ends first."""
    if await _in_store(page, lambda store: is_open(store, _found(store, request))):
        answer = await page.command("end")
        if not answer.get("ok"):
            raise Refusal(409, "open", str(answer.get("error", "The study cannot be ended.")))


async def _sent(request: web.Request, write: Callable[[Store, Study, Path], Path], ending: str) -> web.StreamResponse:
    page = page_of(request)
    await _ended(page, request)
    with ExitStack() as stack:  # the file goes once it has been sent

        def export(store: Store) -> tuple[Path, str]:
            study = _found(store, request)
            return write(store, study, stack.enter_context(leaving.room(store.folder))), _name(study, ending)

        path, name = await _in_store(page, export)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        response = web.StreamResponse(headers=headers)
        response.content_type, response.content_length = "application/zip", path.stat().st_size
        response.force_close()  # so that the browser ends the connection once it has everything
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("The browser has gone.")
        own = stack.enter_context(arrival.alone(transport))
        await response.prepare(request)
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                await response.write(block)
        await response.write_eof()
        if await arrival.arrived(transport, own, arrival.WITHIN_S):
            await _note_left(request, path, "zip" if write is _zip else "dicom")
    return response


async def _note_left(request: web.Request, path: Path, how: str) -> None:
    """What fails now is said in the journal alone: the browser has its answer, and there is no second one."""
    try:
        await _in_store(page_of(request), lambda store: mark_left(store, _found(store, request), path, how))
    except (Refusal, UserError, OSError) as error:
        log.say(f"page: a study has left, and that could not be noted ({error}); export it again.")


def mark_left(store: Store, study: Study, path: Path, how: str) -> None:
    """Note that it was exported, once it has arrived; a study with damaged pictures does not count as exported."""
    if not any(pictures.look(store.pictures, item) for item in database.items(store.connection, study.id)):
        store.mark_exported(study, how, sha256_file(path))


def _zip(store: Store, study: Study, folder: Path) -> Path:
    from device.store.export_zip import export_zip

    export_zip(store, study, folder / "study.zip", mark=False)
    return folder / "study.zip"


def _dicom(store: Store, study: Study, folder: Path) -> Path:
    from device.store.export_dicom import export_dicom

    export_dicom(store, study, folder / "dicom", mark=False)
    path = folder / "study.dicom.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((folder / "dicom").iterdir()):
            archive.write(file, f"busi-kd-{study.id[:8]}/{file.name}")
    return path


def _name(study: Study, ending: str) -> str:
    return f"busi-kd-{re.sub(r'[^0-9]', '', study.begun[:10])}-{study.id[:8]}.{ending}"


def _free_name(folder: Path, study: Study, ending: str) -> Path:
    path, number = folder / _name(study, ending), 1
    while path.exists():
        number += 1
        path = folder / _name(study, f"{number}.{ending}")
    return path


_STUDY = "/api/studies/{id:" + ID + "}"
ROUTES = (
    Route("GET", "/api/studies", listed, "technician"),
    Route("GET", "/api/usb", usb, "technician"),
    Route("GET", _STUDY + ".zip", as_zip, "technician"),
    Route("GET", _STUDY + ".dicom.zip", as_dicom, "technician"),
    Route("GET", _STUDY + "/{number:[0-9]{1,6}}.png", picture, "technician"),
    Route("POST", _STUDY + "/usb", to_stick, "technician"),
    Route("GET", _STUDY, shown, "technician"),
    Route("DELETE", _STUDY, delete, "technician"),
)
