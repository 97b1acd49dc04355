"""A real web server over a folder that can be told to misbehave: cut, lie about ranges, redirect, change its mind."""

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Site:
    """What the server serves and how.

    cut: per request of a path, after how many bytes the connection ends, in order. drip_s: pause behind each byte.
    redirect: path -> address. ranges: whether it knows them. headers: path -> headers that replace its own.
    asked: (path, Range) of each request.
    """

    folder: Path
    cut: dict[str, list[int]] = field(default_factory=dict)
    redirect: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    drip_s: float = 0.0
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Site]:
    """Serve the folder at 127.0.0.1, with TLS where a certificate and its key are given."""
    site = Site(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            wanted = self.headers.get("Range")
            site.asked.append((path, wanted))
            if path in site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect[path])
                self.end_headers()
                return
            if site.status.get(path):
                self.send_error(site.status[path].pop(0))
                return
            if not (site.folder / path).is_file():
                self.send_error(404)
                return
            data, status, more = (site.folder / path).read_bytes(), 200, {}
            match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
            if match and site.ranges:
                start, whole = int(match[1]), len(data)
                if start >= whole:
                    self.send_error(416)
                    return
                data, status, more = data[start:], 206, {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"}
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | more | site.headers.get(path, {})).items():
                self.send_header(name, value)
            self.end_headers()
            cuts = site.cut.get(path)
            data = data[: cuts.pop(0)] if cuts else data
            if not site.drip_s:
                self.wfile.write(data)
                return
            for byte in data:
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:  # nobody listens any more
                    return
                time.sleep(site.drip_s)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
