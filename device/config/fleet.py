# ruff: noqa: RUF009 - `key` returns dataclasses.field(...), whose default is immutable
"""The section `[fleet]`: what a clinic's network is told of a unit, and how."""

from dataclasses import dataclass
from pathlib import Path

from device.config.field import key
from device.config.quantity import DURATION
from device.fleet import identity

_LISTEN = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-fA-F:.]{2,45}\]):[1-9][0-9]{0,4}"


@dataclass(frozen=True)
class FleetSettings:
    """What a clinic's network is told of this unit: health and counts, never pictures; see docs/fleet.md."""

    enabled: bool = key(False, "flag", "Let busi-kd-fleet.service run; the judging daemon itself has no network.")
    broker: str | None = key(
        None,
        "text",
        "Host of the MQTT broker; `none`: nothing is sent.",
        unset="none",
        pattern=r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}",
        shape='a host name or an IP address in quotes, such as "broker.clinic.example"',
    )
    port: int = key(8883, "count", "Of the broker.", low=1, high=65535)
    tls: bool = key(True, "flag", "Encrypted, with the broker's certificate checked.")
    ca: Path | None = key(
        None,
        "path",
        "PEM file of the authority that signed the broker's certificate; `system`: the usual ones.",
        unset="system",
    )
    certificate: Path | None = key(None, "path", "This unit's own certificate, a PEM file.", unset="none")
    certificate_key: Path | None = key(
        None, "path", "Its private key, a PEM file that only its owner may read.", unset="none"
    )
    user: str | None = key(
        None,
        "text",
        "User name at the broker.",
        unset="none",
        pattern=r"[A-Za-z0-9_.@-]{1,64}",
        shape="1 to 64 letters, digits, _ . @ - in quotes",
    )
    password_file: Path | None = key(
        None, "path", "File with its password in one line; only its owner may read it.", unset="none"
    )
    site: str = key(
        "clinic",
        "text",
        "Second word of every topic: busi-kd/SITE/UNIT/...",
        pattern=r"[a-z0-9][a-z0-9-]{0,31}",
        shape="1 to 32 small letters, digits and hyphens in quotes",
    )
    every_s: float = key(30.0, DURATION, "Between two reports; a change of state goes at once.", low=1.0, high=3600.0)
    metrics_listen: str | None = key(
        None,
        "text",
        "Answer Prometheus at http://ADDRESS:PORT/metrics; `none`: nobody listens.",
        unset="none",
        pattern=_LISTEN,
        shape='ADDRESS:PORT in quotes, such as "127.0.0.1:9469" or "[::]:9469"',
    )
    state: Path = key(identity.FOLDER, "path", "Folder of the random id by which this unit is known.")

    def at_home(self) -> bool:
        """Whether the broker is this machine itself, so that nothing crosses a network."""
        return self.broker in ("localhost", "127.0.0.1", "::1")
