"""Messages on the daemon's socket: two lengths (32 bits each, big-endian), a JSON object, and bytes behind it.

Both sides read with limits: what is longer, or is no JSON object, ends the connection.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

HEAD = struct.Struct(">II")
ASKED_BYTES = 4096  # of a request's JSON; a request has no bytes behind it
TOLD_BYTES = 1 << 20  # of an answer's JSON
PICTURE_BYTES = 64 << 20  # as device.capture.child takes


class Malformed(ValueError):
    """The other side does not speak this protocol; str() says what came."""


@dataclass(frozen=True)
class Message:
    """said: the JSON object. payload: the bytes behind it, mostly none."""

    said: dict[str, Any]
    payload: bytes = b""


@dataclass
class Reader:
    """Bytes as they come -> messages; holds no more than one message and what one read brings.

    json_bytes, payload_bytes: the longest that is taken.
    """

    json_bytes: int
    payload_bytes: int = 0
    _held: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Raises Malformed; nothing can be read any more then."""
        self._held += data
        while len(self._held) >= HEAD.size:
            text, payload = HEAD.unpack_from(self._held)
            if text > self.json_bytes or payload > self.payload_bytes:
                raise Malformed(f"a message of {text} and {payload} bytes is longer than what is taken")
            end = HEAD.size + text + payload
            if len(self._held) < end:
                return
            said = decode_object(bytes(self._held[HEAD.size : HEAD.size + text]))
            message = Message(said, bytes(self._held[end - payload : end]))
            del self._held[:end]
            yield message


def encode(said: dict[str, Any], payload_bytes: int = 0) -> bytes:
    """The bytes of a message up to its payload, which is to follow. Raises ValueError for NaN and infinity."""
    text = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
    return HEAD.pack(len(text), payload_bytes) + text


def decode_object(text: bytes) -> dict[str, Any]:
    """A message's JSON object. Raises Malformed."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("a message is no JSON") from error
    if not isinstance(said, dict):
        raise Malformed("a message is no JSON object")
    return said
