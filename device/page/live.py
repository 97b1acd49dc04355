"""What the daemon shows, asked once for all watchers, and each picture encoded once; a minute and an hour are kept.

While nobody watches no picture is asked for. A slow watcher gets the newest picture when it has taken the last one;
nothing is queued for it, and one that takes nothing for SLOW_S is let go of.
"""

import asyncio
import json
import socket
import time
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from aiohttp import WSMsgType, web

from device.live.client import Away, Client
from device.live.message import Message
from device.page.access import Access
from device.page.refuse import Refusal
from device.page.sessions import Session

EVERY_S = 1 / 15  # with watchers
IDLE_S = 0.5  # without
ASK_S = 1.0
SAY_S = 0.5  # a snapshot at least as often: the browser calls a second of silence an outage
SLOW_S = 10.0
SEND_BYTES = 1 << 17  # in the kernel for one watcher: a picture or two
MAX_SIDE = 960  # pixels of the pictures shown
QUALITY = 80
STEP_S, STEPS = 0.5, 120
POINT_S, POINTS = 10.0, 360

_NOTHING = dict.fromkeys(
    ("age_s", "sequence", "quality", "verdict", "frame", "synthetic", "outline", "sweep", "fps", "latency_ms", "model")
)
_UNKNOWN = ("temperature_c", "cpu_percent", "memory_mb", "battery_percent", "battery_minutes", "charging")


def away(why: str) -> dict[str, Any]:
    """The snapshot while the daemon does not answer: nothing is known, and that is said."""
    machine = dict.fromkeys((*_UNKNOWN, "throttled", "governor_fps")) | {"limited_by": []}
    recorder = {"on": None, "saved": None, "not_saved": None, "last": None, "study": None}
    said = {"at": time.time(), **_NOTHING, "signal": {"state": "no daemon", "detail": why}, "machine": machine}
    said |= {"region": {"region": None, "by_hand": None}, "recorder": recorder, "held": False}
    return said | {"cautions": [], "source": None}


class Hub:
    """One question at a time to the daemon; text, jpeg: what watchers get, replaced whole."""

    def __init__(self, socket_path: Path, most: int) -> None:
        self._client, self.most = Client(socket_path), most
        self.snapshot = away("it was not asked yet")
        self.text = json.dumps({"type": "snapshot", **self.snapshot})
        self.number = 0  # of the text
        self.jpeg: bytes | None = None
        self.head = ""  # the text before it
        self.pictures = 0  # encoded so far
        self.watchers = 0
        self.transports: set[asyncio.Transport] = set()  # of those who watch
        self.timeline: deque[dict[str, Any]] = deque(maxlen=STEPS)
        self.telemetry: deque[dict[str, Any]] = deque(maxlen=POINTS)
        self._sequence: int | None = None
        self._said_at = self._step_at = self._point_at = -1e9
        self._changed, self._woken = asyncio.Event(), asyncio.Event()

    def close(self) -> None:
        """Let go of the daemon."""
        self._client.close()

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            began = time.monotonic()
            await self._ask()
            pause = (EVERY_S if self.watchers else IDLE_S) - (time.monotonic() - began)
            self._woken.clear()
            try:
                async with asyncio.timeout(max(pause, 0.005)):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> None:
        if not self.watchers:  # whoever comes next must not see a picture of minutes ago
            self._drop_picture()
        wanted = {"ask": "live", "picture": self.watchers > 0, "after": self._sequence}
        try:
            await self._asked(await self._client.ask(wanted, ASK_S))
        except Away as error:
            why = str(error)
        except (KeyError, TypeError, ValueError, cv2.error) as error:
            why = f"what the daemon answers is not understood ({type(error).__name__}); is it of another version?"
        else:
            return
        self._drop_picture()
        self._take(away(why))

    async def _asked(self, message: Message) -> None:
        snapshot, about = message.said["snapshot"], message.said.get("picture")
        if not isinstance(snapshot, dict) or not self.snapshot.keys() <= snapshot.keys():
            raise TypeError("no snapshot")
        if about is not None:
            jpeg, width, height = await asyncio.get_running_loop().run_in_executor(
                None, encoded, about, message.payload
            )
            self._sequence, self.pictures = about["sequence"], self.pictures + 1
            head = {"type": "picture", "sequence": about["sequence"], "width": width, "height": height}
            self.head, self.jpeg = json.dumps(head), jpeg
        elif snapshot["sequence"] is None:  # nor must whoever comes next see one that the daemon has let go of
            self._drop_picture()
        self._take(snapshot, about is not None)

    def _drop_picture(self) -> None:
        self._sequence = self.jpeg = None

    def _take(self, snapshot: dict[str, Any], picture: bool = False) -> None:
        now, before, self.snapshot = time.monotonic(), self.snapshot, snapshot
        changed = any(snapshot[name] != before[name] for name in snapshot if name not in ("at", "age_s"))
        if now - self._step_at >= STEP_S - 0.01:
            self._step_at = now
            self.timeline.append(point(snapshot))
        if now - self._point_at >= POINT_S - 0.1:
            self._point_at = now
            self.telemetry.append(telemetry(snapshot))
        if changed or picture or now - self._said_at >= SAY_S - EVERY_S:
            self._said_at, self.number = now, self.number + 1
            self.text = json.dumps({"type": "snapshot", **snapshot}, allow_nan=False)
            self._changed.set()
            self._changed = asyncio.Event()

    async def newer(self, number: int) -> None:
        """Wait until there is a text after that one."""
        while self.number == number:
            await self._changed.wait()

    async def watch(self, request: web.Request, access: Access, session: Session) -> web.WebSocketResponse:
        """One watcher, until it goes, its session ends, or it takes nothing. Raises Refusal where too many watch."""
        if self.watchers >= self.most:
            raise Refusal(503, "full", f"{self.most} watch already; close the page on another screen.")
        self.watchers += 1
        self._woken.set()
        try:
            return await self._watch(request, access, session)
        finally:
            self.watchers -= 1

    async def _watch(self, request: web.Request, access: Access, session: Session) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=10.0, max_msg_size=1024, compress=False, writer_limit=1, timeout=1.0)
        await ws.prepare(request)
        request.transport.set_write_buffer_limits(high=0)
        raw = request.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        transport = request.transport
        self.transports.add(transport)
        telling = asyncio.create_task(self._tell(ws, transport, access, session))
        try:
            async for said in ws:  # nothing is expected; reading hears pings and the end
                if said.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
        finally:
            self.transports.discard(transport)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        return ws

    async def _tell(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, access: Access, session: Session
    ) -> None:
        told: bytes | None = None
        try:
            while access.sessions.lives(session):
                access.sessions.use(session)
                number, jpeg, head = self.number, self.jpeg, self.head
                async with asyncio.timeout(SLOW_S):
                    await ws.send_str(self.text)
                    if jpeg is not None and jpeg is not told:
                        await ws.send_str(head)
                        await ws.send_bytes(jpeg)
                        told = jpeg
                await self.newer(number)
            await ws.close(code=4401, message=b"the session has ended")
        except (TimeoutError, ConnectionError):  # too slow, or gone
            transport.abort()


def encoded(about: dict[str, Any], payload: bytes, longest: int = MAX_SIDE) -> tuple[bytes, int, int]:
    """JPEG, width, height of a picture as the daemon hands it over, no side longer than `longest` pixels."""
    shape = (about["height"], about["width"]) + ((3,) if about["channels"] == 3 else ())
    pixels = np.frombuffer(payload, np.uint8).reshape(shape)
    share = longest / max(shape[:2])
    if share < 1:
        pixels = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes(), pixels.shape[1], pixels.shape[0]


def point(snapshot: dict[str, Any]) -> dict[str, Any]:
    """One step of the time line."""
    verdict = snapshot["verdict"]
    label = None if verdict is None else verdict["label"]
    malignant = None if verdict is None else verdict["probabilities"].get("malignant")
    return {"at": snapshot["at"], "label": label, "malignant": malignant, "state": snapshot["signal"]["state"]}


def telemetry(snapshot: dict[str, Any]) -> dict[str, Any]:
    """One point of the last hour."""
    machine = snapshot["machine"]
    said = {name: machine[name] for name in _UNKNOWN}
    return {"at": snapshot["at"], **said, "fps": snapshot["fps"], "latency_ms": snapshot["latency_ms"]}
