"""GET /metrics for Prometheus, in prometheus_client's exposition: the same allow-listed samples, and nothing else.

Format: Prometheus documentation, "Exposition formats", text/plain; version=0.0.4. No other path is answered.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from device import __version__
from device.errors import UserError
from device.fleet.allowed import METRICS
from device.fleet.watch import Reading

if TYPE_CHECKING:
    from prometheus_client import Metric

PATH = "/metrics"
OLD_S = 60.0  # a look longer ago is no knowledge any more
AT_ONCE = 8  # connections; further ones are closed unanswered
TIMEOUT_S = 5.0


def families(reading: Reading | None, site: str, unit: str, now: float) -> Iterator["Metric"]:
    """What is exposed: whether the daemon runs (absent while that is not known), this unit, and what may leave.

    now: time.monotonic().
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    me = GaugeMetricFamily("busi_kd_fleet_info", "This unit and the version of its fleet process.", labels=_ME)
    me.add_metric([site, unit, __version__], 1)
    yield me
    if reading is None or reading.state == "unknown" or now - reading.at > OLD_S:
        return
    yield GaugeMetricFamily("busi_kd_up", "1 while the daemon runs, else 0.", int(reading.state == "running"))
    made: dict[str, Metric] = {}
    for name, labels, value in reading.samples:
        if name not in made:
            kind = CounterMetricFamily if METRICS[name].kind == "counter" else GaugeMetricFamily
            made[name] = kind(name, METRICS[name].help, labels=[label for label, _ in labels])
        made[name].add_metric([word for _, word in labels], value)
    yield from made.values()


_ME = ("site", "unit", "version")


class Listener:
    """The server, in threads of its own until `close`. latest: gives the newest reading."""

    def __init__(self, address: str, latest: Callable[[], Reading | None], site: str, unit: str) -> None:
        """Listen at `address`, ADDRESS:PORT. Raises UserError when that cannot be."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.registry import Collector

        class Latest(Collector):
            def collect(self) -> Iterator["Metric"]:
                return families(latest(), site, unit, time.monotonic())

        registry = CollectorRegistry(auto_describe=False)  # none of Python's own metrics
        registry.register(Latest())
        host, _, port = address.rpartition(":")
        host = host.strip("[]")

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            places = threading.Semaphore(AT_ONCE)

            def process_request(self, request: socket.socket, client_address: object) -> None:
                if not self.places.acquire(blocking=False):
                    self.shutdown_request(request)
                    return
                super().process_request(request, client_address)

            def process_request_thread(self, request: socket.socket, client_address: object) -> None:
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    self.places.release()

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that goes away in the midst is no event."""

        class Handler(_Handler):
            def body(self) -> bytes:
                from prometheus_client import generate_latest

                return generate_latest(registry)

        try:
            self._server = Server((host, int(port)), Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UserError(f"fleet.metrics_listen {address}: cannot listen there ({why}); give another.") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One request for one path. `body` gives the text."""

    timeout = TIMEOUT_S
    server_version = "busi-kd"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer /metrics, with or without a query, and refuse everything else."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404)
            return
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

        body = self.body()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Who asks and how often does not belong into the journal."""
