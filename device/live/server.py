"""The thread that serves the socket. It never touches what the judging thread works on, and nothing here can grow:
so many clients, requests of so many bytes, one answer under way for each client, so many commands waiting.
"""

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device import log
from device.capture import Frame
from device.errors import UserError
from device.live import commands, snapshot
from device.live.message import ASKED_BYTES, Malformed, Message, Reader, encode

if TYPE_CHECKING:
    from device.daemon import Daemon

CLIENTS = 8  # the page has two connections
WAITING = 16  # commands
MODE = 0o660


@dataclass(eq=False)
class _Client:
    sock: socket.socket
    reader: Reader = field(default_factory=lambda: Reader(ASKED_BYTES))
    asked: deque[Message] = field(default_factory=deque)  # what one read has brought; bounded by its size
    out: list[memoryview] = field(default_factory=list)
    busy: bool = False  # a command of its is being done
    events: int = 0  # that the selector looks for


class Live:
    """The socket of one daemon. settings: (value as TOML text, origin) of every key, for whoever asks."""

    def __init__(
        self, path: Path, settings: dict[str, tuple[str, str]] | None = None, say: Callable[[str], None] = log.say
    ) -> None:
        """Take the address, and answer nobody yet. Raises UserError when it cannot be had."""
        self.path, self._settings, self._say = Path(path), settings or {}, say
        self._waiting: deque[tuple[_Client, commands.Command]] = deque()
        self._answers: deque[tuple[_Client, commands.Answer]] = deque()
        self._clients: set[_Client] = set()
        self._daemon: Daemon | None = None
        self._mine, self._wakes = socket.socketpair()
        self._mine.setblocking(False)
        self._wakes.setblocking(False)
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._socket = _bound(self.path)
        self._selector = selectors.DefaultSelector()

    def start(self, daemon: "Daemon") -> None:
        """Begin to answer."""
        self._daemon = daemon
        self._socket.listen(CLIENTS)
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._mine, selectors.EVENT_READ)
        self._thread.start()

    def serve(self) -> None:
        """For the judging thread, once a turn: do the commands that wait. Nothing when none does."""
        while self._waiting:
            client, command = self._waiting.popleft()
            answer = commands.do(command, self._daemon)
            if isinstance(answer, Future):
                answer.add_done_callback(lambda done, client=client: self._answered(client, done.result()))
            else:
                self._answered(client, answer)

    def close(self, wait_s: float = 0.5) -> None:
        """End the thread; who is connected is let go of. An answer that is under way is given `wait_s`."""
        self._stop = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(wait_s)
        for sock in (self._socket, self._mine, self._wakes, *(client.sock for client in self._clients)):
            sock.close()
        self.path.unlink(missing_ok=True)

    def _answered(self, client: _Client, answer: commands.Answer) -> None:
        self._answers.append((client, answer))  # as many as commands can wait
        self._wake()

    def _wake(self) -> None:
        try:
            self._wakes.send(b"!")
        except OSError:  # full: it wakes already; closed: nobody is to be woken
            return

    def _run(self) -> None:
        while not self._stop:
            for key, events in self._selector.select():
                if key.fileobj is self._socket:
                    self._accept()
                elif key.fileobj is self._mine:
                    self._mine.recv(4096)
                else:
                    self._serve_client(key.data, events)
            while self._answers:
                client, answer = self._answers.popleft()
                client.busy = False
                if client in self._clients:
                    self._serve_client(client, 0, answer)

    def _accept(self) -> None:
        sock, _ = self._socket.accept()
        if len(self._clients) >= CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        client = _Client(sock)
        self._clients.add(client)
        self._listen(client, selectors.EVENT_READ)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        client.out.clear()
        client.asked.clear()
        self._listen(client, 0)
        client.sock.close()

    def _serve_client(self, client: _Client, events: int, answer: commands.Answer | None = None) -> None:
        """What its socket is ready for, the answer to its command if there is one, and what it has asked behind that.
        Whatever it has asked wrongly is the end of this client, and of nobody else."""
        try:
            if answer is not None:
                self._tell(client, answer)
            if events & selectors.EVENT_READ:
                data = client.sock.recv(ASKED_BYTES)
                if not data:
                    self._drop(client)
                    return
                client.asked.extend(client.reader.feed(data))
            if events & selectors.EVENT_WRITE:
                self._flush(client)
            self._go_on(client)
        except ValueError as error:  # Malformed is one
            self._say(f"live: a client was sent away: {error}")
            self._drop(client)
        except OSError:  # it has gone
            self._drop(client)

    def _go_on(self, client: _Client) -> None:
        """Take up what it has asked, unless an answer to it is still under way."""
        while client.asked and not client.out and not client.busy:
            self._answer(client, client.asked.popleft().said)
        # While one answer is under way nothing more is read, so nothing can pile up.
        self._listen(client, selectors.EVENT_WRITE if client.out else 0 if client.busy else selectors.EVENT_READ)

    def _listen(self, client: _Client, events: int) -> None:
        """events: 0 leaves it alone until its command is done; that it has gone is found then."""
        if events == client.events:
            return
        if not events:
            self._selector.unregister(client.sock)
        elif client.events:
            self._selector.modify(client.sock, events, client)
        else:
            self._selector.register(client.sock, events, client)
        client.events = events

    def _answer(self, client: _Client, said: dict[str, Any]) -> None:
        ask, daemon = said.get("ask"), self._daemon
        if ask == "command":
            self._put(client, said)
        elif ask == "live":
            self._tell_live(client, said)
        elif ask == "whole":
            frame = daemon.whole()
            self._tell_picture(client, {"ok": True}, frame, 0, whole=True)
        elif ask == "settings":
            self._tell(client, {"ok": True, "settings": self._settings})
        else:
            raise Malformed("it asks for none of live, whole, settings, command")

    def _put(self, client: _Client, said: dict[str, Any]) -> None:
        try:
            command = commands.parse(said)
        except Malformed as error:
            self._tell(client, {"ok": False, "code": "malformed", "error": f"{error}."})
            return
        if len(self._waiting) >= WAITING:
            self._tell(client, {"ok": False, "code": "busy", "error": "Too many commands wait; try again in a moment."})
            return
        client.busy = True
        self._waiting.append((client, command))

    def _tell_live(self, client: _Client, said: dict[str, Any]) -> None:
        after = said.get("after")
        told, seen = snapshot.of(self._daemon)
        answer = {"ok": True, "snapshot": told}
        if not said.get("picture") or seen is None or seen[1].sequence == after:
            self._tell(client, answer)
            return
        self._tell_picture(client, answer, seen[0], seen[1].sequence)

    def _tell_picture(
        self, client: _Client, answer: dict[str, Any], frame: Frame | None, sequence: int, whole: bool = False
    ) -> None:
        if frame is None:
            self._tell(client, answer | {"picture": None})
            return
        pixels = np.ascontiguousarray(frame.pixels)
        height, width, *channels = pixels.shape
        full_height, full_width = frame.full or (height, width)
        about = {"sequence": sequence, "width": width, "height": height, "channels": channels[0] if channels else 1}
        about |= {"whole": whole, "full_width": full_width, "full_height": full_height}
        about |= {"source": frame.name if whole and frame.full is not None else None}  # of what is cut alone
        self._tell(client, answer | {"picture": about}, memoryview(pixels).cast("B"))

    def _tell(self, client: _Client, answer: dict[str, Any], payload: memoryview | None = None) -> None:
        client.out.append(memoryview(encode(answer, 0 if payload is None else payload.nbytes)))
        if payload is not None:
            client.out.append(payload)
        try:
            self._flush(client)
        except OSError:
            client.out.clear()  # it has gone, which its socket says next

    def _flush(self, client: _Client) -> None:
        while client.out:
            try:
                sent = client.sock.send(client.out[0])
            except BlockingIOError:
                return
            if sent < client.out[0].nbytes:
                client.out[0] = client.out[0][sent:]
                return
            del client.out[0]


def _bound(path: Path) -> socket.socket:
    """A listening socket's address, taken over from a daemon that was killed. Raises UserError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _answers(path):
            raise UserError(f"{path}: another daemon answers there; stop it, or give another page.socket.")
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        os.chmod(path, MODE)  # before listen(), so that nobody gets in earlier
    except OSError as error:
        sock.close()
        raise UserError(f"{path}: cannot be made ({error.strerror or error}); correct page.socket.") from error
    except UserError:
        sock.close()
        raise
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
