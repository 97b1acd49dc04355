"""Files from a static web server: over TLS, from one host, bounded, and resumed where a connection was cut.

HTTP/1.1 ranges: RFC 9110, section 14. Nothing that comes is believed here: who calls checks signature and hash.
"""

import http.client
import re
import shutil
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from device import __version__, files
from device.errors import UserError

TIMEOUT_S = 20.0  # without a byte
WHOLE_S = 3600.0  # for everything: a server must not hold a unit for ever by a byte now and then
SMALL_S = 60.0  # the same for one of the small files
FAILURES = 5  # in a row without a single byte more
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
_BLOCK = 1 << 16
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to the host that a person has named."""

    max_redirections = 5

    def redirect_request(self, req: object, fp: object, code: int, msg: str, headers: object, newurl: str) -> object:
        if _origin(newurl) != _origin(req.full_url):
            raise UserError(
                f"{req.full_url}: is redirected to another host ({urlsplit(newurl).netloc[:100]}), which is refused; "
                "give the address of the server itself."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Server:
    """The folder of a web server that holds index.json. address: its URL with a slash at the end."""

    def __init__(self, url: str, ca: Path | None = None, plain: bool = False) -> None:
        """ca: PEM file of its authority, None: the system's. plain: http:// is allowed, too.

        Raises UserError for an address that is none or not allowed, and for a file without a certificate.
        """
        try:
            parts = urlsplit(url)
            known = bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a broken IPv6 address
            known = False
        if not known or parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
            raise UserError(f"{url[:200]!r}: is no address of an update server; write https://HOST/FOLDER/.")
        if parts.scheme == "http" and not plain:
            raise UserError(f"{url}: is not encrypted; write https://, or allow it with --plain-http.")
        self.address = url.rstrip("/") + "/"
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{ca}: holds no readable certificate ({why}); give another as --ca.") from error
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _SameHost(),
        ):
            self._opener.add_handler(handler)

    def open(self, path: str, start: int = 0) -> http.client.HTTPResponse:
        """Ask for the file `path` below the address, from byte `start` on. Raises OSError, HTTPException, UserError."""
        headers = {"User-Agent": f"busi-kd/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return self._opener.open(urllib.request.Request(self.address + path, headers=headers), timeout=TIMEOUT_S)

    def small(self, path: str, most: int) -> bytes:
        """A whole file of at most so many bytes. Raises UserError when there is none to be had or it is larger."""
        data, until = b"", time.monotonic() + SMALL_S
        try:
            with self.open(path) as answer:
                while len(data) <= most and (more := answer.read1(most + 1 - len(data))):
                    data += more
                    if time.monotonic() > until:
                        raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"{self.address}{path}: {why(error)}; nothing was installed.") from error
        if len(data) > most:
            raise UserError(f"{self.address}{path}: is larger than {most} bytes, so it is not what is wanted.")
        return data


def whole(server: Server, path: str, part: Path, size: int, sha256: str, wait: Callable[[float], None]) -> None:
    """Download a file of `size` bytes into `part`, going on where that ends; wait: sleeps between attempts.

    Raises UserError when the server does not give it (what came stays, for the next time), and when its hash is wrong
    (then nothing stays).
    """
    failures, best, until = 0, 0, time.monotonic() + WHOLE_S
    while (have := part.stat().st_size if part.exists() else 0) != size:
        if have > size:
            part.unlink()
            continue
        if time.monotonic() > until:
            raise UserError(_broken_off(server, path, have, size, f"more than {WHOLE_S / 60:g} minutes"))
        said = "the connection was cut"
        try:
            with server.open(path, have) as answer:
                _append(answer, part, have, size, f"{server.address}{path}", until)
        except HTTPError as error:
            if error.code == 416:  # the server has another file than the one that was begun
                part.unlink(missing_ok=True)
            elif error.code < 500:
                raise UserError(f"{server.address}{path}: {why(error)}; nothing was installed.") from error
            said = why(error)
        except (OSError, http.client.HTTPException) as error:
            said = why(error)
        now = part.stat().st_size if part.exists() else 0
        failures = 0 if now > max(best, have) else failures + 1  # a server that makes us start over gives nothing
        best = max(best, now)
        if failures >= FAILURES:
            raise UserError(_broken_off(server, path, now, size, said))
        if now != size:
            wait(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
    if files.sha256_file(part) != sha256:
        part.unlink()
        raise UserError(f"{server.address}{path}: wrong hash, it is not the file of the index; nothing was installed.")


def room(folder: Path, size: int) -> None:
    """Raise UserError unless the archive, its content and the copy that is installed fit beside what is there."""
    free = shutil.disk_usage(folder).free
    if free < 3 * size + 10_000_000:
        raise UserError(
            f"{folder}: {free / 1e6:.0f} MB free are too few for a bundle of {size / 1e6:.1f} MB; free some."
        )


def why(error: Exception) -> str:
    """What went wrong, in a few words that begin in small letters."""
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {str(error.reason)[:60]}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')})"
    if isinstance(error, TimeoutError):
        return "no answer"
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:100] or type(error).__name__


def _append(answer: http.client.HTTPResponse, part: Path, have: int, size: int, where: str, until: float) -> None:
    """Write what comes behind `have` bytes, or from the start where the server does not go on there."""
    if answer.status == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have or int(match[3]) != size:
            part.unlink(missing_ok=True)  # a range that was not asked for, or of another file
            return
    else:
        have = 0
        length = answer.headers.get("Content-Length", str(size))
        if length != str(size):
            raise UserError(f"{where}: has {length[:20]} bytes where the index says {size}; nothing was installed.")
    with open(part, "ab" if have else "wb") as stream:
        # read1: as it comes, for read would wait for the whole block, however slowly it comes.
        while have < size and (data := answer.read1(min(_BLOCK, size - have))):
            stream.write(data)
            have += len(data)
            if time.monotonic() > until:
                break


def _broken_off(server: Server, path: str, have: int, size: int, said: str) -> str:
    return f"{server.address}{path}: broken off after {have} of {size} bytes ({said}); run it again, it goes on there."


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
