"""A file that the browser sends, in a multipart form."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

from aiohttp import BodyPartReader, web

from device.page.refuse import Refusal

ROOM = 1 << 16  # of a multipart body besides the file
_BLOCK = 1 << 16


@asynccontextmanager
async def uploaded(
    request: web.Request, what: str, is_a_file: str, most: int, folder: Path | None = None
) -> AsyncIterator[IO[bytes]]:
    """The file of a form, written to a nameless file that is gone at the end. folder: where, made if missing; None: the
    system's own for such.

    what, is_a_file: for messages, as in "an update file", "An update is a file". most: bytes that it may have. Raises
    Refusal: no multipart form, no file in it, or a longer one.
    """
    if not request.content_type.startswith("multipart/"):
        raise Refusal(400, "form", f"Send {what} as multipart/form-data.")
    with _form(what):
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader) or not part.filename:
            raise Refusal(400, "form", "The form holds no file.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:
        size = 0
        while block := await _block(part, what):
            size += len(block)
            if size > most:
                raise Refusal(413, "too_large", f"{is_a_file} of at most {most // 1_000_000} MB.")
            stream.write(block)
        stream.flush()
        yield stream


async def _block(part: BodyPartReader, what: str) -> bytes:
    with _form(what):
        return await part.read_chunk(_BLOCK)


@contextmanager
def _form(what: str) -> Iterator[None]:
    """aiohttp says so variously that a form is none: no boundary, none in the body, another charset's name."""
    try:
        yield
    except (ValueError, LookupError, RuntimeError, AssertionError) as error:
        raise Refusal(400, "form", f"The form cannot be read; send {what} as multipart/form-data.") from error
