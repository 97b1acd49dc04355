"""What the doctor knows, the journal's end, and a file for support; never a picture, and no secret."""

import asyncio
import io
import json
import platform
import re
import shutil
import sys
import time
import zipfile
from typing import Any

from aiohttp import web

from device import RESEARCH_NOTICE, __version__
from device.config import overlay, write
from device.page.machine import helper
from device.page.page import Page, Route, page_of
from device.page.refuse import Refusal, ok

CACHED_S = 10.0
DOCTOR_S, JOURNAL_S = 120.0, 10.0
LINES = 2000
MOST = 4_000_000  # bytes of a program's answer
UNITS = ("busi-kd", "busi-kd-page", "busi-kd-admin")
_SECRET = re.compile(r'^(\s*\w*(?:password|secret|token|pin)\w*\s*=\s*)"[^"]*"', re.MULTILINE | re.IGNORECASE)


class Doctor:
    """The last examination, and one at a time. at: time.monotonic() of it."""

    def __init__(self) -> None:
        self.alone, self.at, self.checks = asyncio.Lock(), -1e9, []


DOCTOR = web.AppKey("doctor", Doctor)


async def doctor(request: web.Request) -> web.Response:
    """Every check of the machine."""
    return ok(**await examined(page_of(request), request.app[DOCTOR]))


async def examined(page: Page, last: Doctor) -> dict[str, Any]:
    """By the helper, who may look at everything, else by this process's own user. Raises Refusal."""
    async with last.alone:
        if time.monotonic() - last.at > CACHED_S:
            try:
                last.checks = (await helper(page, "doctor"))["checks"]
            except Refusal:
                last.checks = await _examine(page)
            last.at = time.monotonic()
    states = [check["state"] for check in last.checks]
    counts = {state: states.count(state) for state in ("ok", "note", "problem", "unknown")}
    return {"checks": last.checks, "counts": counts, "age_s": time.monotonic() - last.at, "notice": RESEARCH_NOTICE}


async def _examine(page: Page) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "device.main", "device", "doctor", "--json"]
    command += [] if page.args.config is None else ["--config", str(page.args.config)]
    said = await _output(command, DOCTOR_S)
    try:
        return json.loads(said or "")["checks"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(503, "doctor", "The doctor does not answer; try busi-kd device doctor on the device.") from error


async def journal(request: web.Request) -> web.Response:
    """The last lines of the service's units; none, and readable false, where there is no journal to be read."""
    text = request.query.get("lines", "200")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= LINES):
        raise Refusal(400, "lines", f"lines is a number from 1 to {LINES}.")
    lines = await _journal(int(text))
    return ok(lines=lines or [], readable=lines is not None)


async def _journal(lines: int) -> list[str] | None:
    program = shutil.which("journalctl")
    if program is None:
        return None
    command = [program, "--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}"]
    said = await _output([*command, *(f"--unit={unit}" for unit in UNITS)], JOURNAL_S)
    return None if said is None else said.splitlines()[-lines:]


async def _output(command: list[str], seconds: float) -> str | None:
    """What a program prints; None when it cannot be started or takes too long."""
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=null, stdout=asyncio.subprocess.PIPE, stderr=null
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(seconds):
            said = await process.stdout.read(MOST)
            while len(said) < MOST and (more := await process.stdout.read(MOST - len(said))):
                said += more
            if len(said) < MOST:
                await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")


async def support(request: web.Request) -> web.Response:
    """For whoever is asked for help: doctor, journal, settings, versions, the last hour."""
    page = page_of(request)
    try:
        found = await examined(page, request.app[DOCTOR])
    except Refusal as refusal:
        found = {"error": str(refusal)}
    own = page.own.folder / overlay.NAME
    texts = {
        "README.txt": f"{RESEARCH_NOTICE}\nThis file holds no picture and no study.\n",
        "doctor.json": json.dumps(found, indent=2),
        "journal.txt": "\n".join(await _journal(LINES) or ["there is no journal to be read"]) + "\n",
        "settings.toml": without_secrets(write.shown(page.now)),
        "page-settings.toml": without_secrets(own.read_text(errors="replace")) if own.is_file() else "",
        "versions.json": json.dumps(_versions(), indent=2),
        "snapshot.json": json.dumps(page.hub.snapshot, indent=2),
        "telemetry.json": json.dumps(list(page.hub.telemetry)),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    headers = {"Content-Disposition": f'attachment; filename="busi-kd-support-{time.strftime("%Y%m%d-%H%M")}.zip"'}
    return web.Response(body=data.getvalue(), content_type="application/zip", headers=headers)


def without_secrets(text: str) -> str:
    """TOML with the values of keys that sound like a secret left out."""
    return _SECRET.sub(r'\1"(left out)"', text)


def _versions() -> dict[str, Any]:
    from importlib import metadata

    packages = {}
    for name in ("aiohttp", "ai-edge-litert", "cryptography", "linuxpy", "numpy", "opencv-python-headless"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {"busi-kd": __version__, "python": sys.version, "machine": platform.platform(), "packages": packages}


ROUTES = (
    Route("GET", "/api/doctor", doctor, "watcher"),
    Route("GET", "/api/journal", journal, "technician"),
    Route("GET", "/api/support.zip", support, "technician"),
)
