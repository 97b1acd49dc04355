"""The other side of the daemon's socket, for asyncio: one connection, one question at a time."""

import asyncio
from pathlib import Path
from typing import Any

from device.live.message import HEAD, PICTURE_BYTES, TOLD_BYTES, Malformed, Message, decode_object, encode

ANSWER_S = 10.0  # a card may take seconds to flush what is saved
CONNECT_S = 2.0


class Away(Exception):
    """The daemon does not answer: it is stopped, starts again, or its socket is elsewhere."""


class Client:
    """Connects when it is first asked, and anew after the daemon has gone. For one event loop."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._alone = asyncio.Lock()
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, said: dict[str, Any], seconds: float = ANSWER_S) -> Message:
        """The answer to one question. Raises Away, also when none came within `seconds`."""
        async with self._alone:
            try:
                async with asyncio.timeout(seconds):
                    return await self._asked(said)
            except (OSError, EOFError, Malformed) as error:  # TimeoutError is an OSError
                self.close()
                raise Away(f"{self.path}: the daemon does not answer ({_why(error)}).") from error
            except asyncio.CancelledError:
                self.close()  # else the next question would get this one's answer
                raise

    async def command(self, do: str, **values: Any) -> dict[str, Any]:
        """What came of a command (device.live.commands). Raises Away."""
        return (await self.ask({"ask": "command", "do": do, **values})).said

    async def _asked(self, said: dict[str, Any]) -> Message:
        if self._stream is None:
            async with asyncio.timeout(CONNECT_S):  # wait_for of Python 3.11 may swallow a cancellation
                self._stream = await asyncio.open_unix_connection(str(self.path), limit=1 << 20)
        reader, writer = self._stream
        writer.write(encode(said))
        await writer.drain()
        head = await reader.readexactly(HEAD.size)
        text, payload = HEAD.unpack(head)
        if text > TOLD_BYTES or payload > PICTURE_BYTES:
            raise Malformed("an answer is too long")
        answer = decode_object(await reader.readexactly(text))
        return Message(answer, await reader.readexactly(payload))

    def close(self) -> None:
        """Let go of the connection; the next question makes a new one."""
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
