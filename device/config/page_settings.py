# ruff: noqa: RUF009 - `key` returns dataclasses.field(...), whose default is immutable
"""The section [page] of the configuration file: the technician's page, and who may see it (docs/page.md)."""

from dataclasses import dataclass
from pathlib import Path

from device.config.field import key
from device.config.quantity import DURATION
from device.live import SOCKET

LANGUAGES = ("en", "fr", "ar")


@dataclass(frozen=True)
class PageSettings:
    """The technician's page, in a browser; a process of its own."""

    enabled: bool = key(False, "flag", "Serve the page, and let the daemon answer it.")
    listen: str = key(
        "127.0.0.1", "listen", "Who can reach it: this machine alone, or with `lan` the Pi's own networks, too."
    )
    port: int = key(8080, "count", "TCP port.", low=1, high=65535)
    socket: Path = key(SOCKET, "path", "The daemon's Unix socket.")
    folder: Path = key(
        Path("/var/lib/busi-kd/page"), "path", "The page's own: its PIN, and settings.toml, which wins over this file."
    )
    local_without_pin: bool = key(False, "flag", "On the Pi's own screen nobody is asked for the PIN.")
    session_idle_s: float = key(1800.0, DURATION, "A session nobody uses ends after so long.", low=60.0, high=86400.0)
    session_longest_s: float = key(43200.0, DURATION, "Each session ends after so long.", low=300.0, high=86400.0)
    watchers: int = key(16, "count", "So many may watch at a time.", low=1, high=64)
    language: str = key("en", "word", "Of the page, until somebody chooses another.", choices=LANGUAGES)
    admin: Path = key(Path("/run/busi-kd-admin.sock"), "path", "Of the helper that sets the clock and starts again.")
