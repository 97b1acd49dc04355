"""One connection to the broker: made, used, thrown away. MQTT 3.1.1 (OASIS standard), by paho-mqtt 2.

A new client for each connection, so that nothing of an old one can be sent again behind what is newer.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable

from device.config.fleet import FleetSettings
from device.errors import UserError
from device.fleet import secrets

KEEP_ALIVE_S = 30  # the broker tells the Last Will one and a half times this after the last sign of life
ANSWER_S = 10.0  # within which a broker must answer


class NoConnection(Exception):
    """There is none, or none any more; str() is one sentence that says why and what to do."""


class Connection:
    """A client of the broker, connecting or connected. One thread uses it, and calls `work` again and again."""

    def __init__(
        self,
        settings: FleetSettings,
        unit: str,
        will: tuple[str, bytes],
        acknowledged: Callable[[], None],
    ) -> None:
        """Reach the broker; it has not answered yet. will: topic and payload that the broker tells when we are gone.

        acknowledged: called for each `publish` with `certainly`. Raises NoConnection, and UserError for a file that is
        not as it must be.
        """
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self.where = f"{settings.broker}:{settings.port}"
        self._tls, self._user = settings.tls, settings.user
        self._answer: str | None = None
        self.connected = False
        self._asked = time.monotonic()
        client = Client(CallbackAPIVersion.VERSION2, f"busi-kd-{unit}", protocol=MQTTProtocolVersion.MQTTv311)
        client.connect_timeout = ANSWER_S / 2
        client.will_set(*will, qos=1, retain=True)
        client.on_connect = self._answered
        self._awaited: int | None = None
        self._acknowledged = acknowledged
        client.on_publish = self._taken
        if settings.password_file is not None:
            client.username_pw_set(settings.user, secrets.password(settings.password_file))
        if settings.tls:
            client.tls_set_context(_context(settings))
        self._client = client
        try:
            client.connect(settings.broker, settings.port, KEEP_ALIVE_S)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            raise NoConnection(self._cannot(error)) from error

    def work(self, seconds: float) -> None:
        """Send and receive for at most so long. Raises NoConnection once there is none."""
        from paho.mqtt.enums import MQTTErrorCode

        try:
            said = self._client.loop(seconds)
        except (ValueError, TypeError, LookupError, struct.error) as error:  # paho's, over bytes that it cannot read
            raise NoConnection(self._no_mqtt()) from error
        if self._answer is not None:
            raise NoConnection(self._answer)
        if said == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            raise NoConnection(self._no_mqtt())
        if said != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NoConnection(self._lost())
        if not self.connected and time.monotonic() - self._asked > ANSWER_S:
            raise NoConnection(f"{self.where}: accepts connections but does not answer; is it an MQTT broker?")

    def publish(self, topic: str, payload: bytes, certainly: bool, retain: bool) -> None:
        """Send. certainly: QoS 1, answered by `acknowledged`; else QoS 0, and left out while earlier bytes wait."""
        if certainly or not self._client.want_write():
            sent = self._client.publish(topic, payload, qos=int(certainly), retain=retain)
            self._awaited = sent.mid if certainly else self._awaited

    def close(self) -> None:
        """Take leave, so that the broker keeps the Last Will to itself; harmless after a failure."""
        self._client.disconnect()

    def abandon(self) -> None:
        """Drop it without a word; the broker then tells the Last Will."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _taken(self, _client: object, _data: object, message: int, *_: object) -> None:
        if message == self._awaited:  # paho tells those of QoS 0, too
            self._awaited = None
            self._acknowledged()

    def _answered(self, _client: object, _data: object, _flags: object, reason: object, _more: object) -> None:
        if not reason.is_failure:
            self.connected = True
            return
        word = str(reason)
        if word in ("Bad user name or password", "Not authorized"):
            whom = "without a user" if self._user is None else f"as user {self._user!r}"
            mend = "correct fleet.user and what fleet.password_file holds"
            self._answer = f"{self.where}: the broker does not let this unit in {whom} ({word}); {mend}."
        else:
            self._answer = f"{self.where}: the broker refuses the connection ({word}); look into its log."

    def _no_mqtt(self) -> str:
        return f"{self.where}: answers with what is no MQTT; is this the broker's port?"

    def _lost(self) -> str:
        if self.connected:
            return f"{self.where}: the connection was lost."
        hint = "does it want a certificate of this unit?" if self._tls else "does it want fleet.tls true?"
        return f"{self.where}: closes the connection before it answers; {hint}"

    def _cannot(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            why = error.verify_message.rstrip(".")
            return f"{self.where}: its certificate is not trusted ({why}); give its authority's file as fleet.ca."
        if isinstance(error, ssl.SSLError):
            return f"{self.where}: no encrypted connection ({error.reason or 'broken off'}); is this its port for TLS?"
        if isinstance(error, socket.gaierror):
            return f"{self.where}: no such host is known; correct fleet.broker, or the network's name server."
        if isinstance(error, TimeoutError):
            return f"{self.where}: does not answer; is the network up, and no firewall between?"
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        return f"{self.where}: cannot be reached ({why}); is the broker running?"


def _context(settings: FleetSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:  # no such file; no certificate in it
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{settings.ca}: holds no readable certificate ({why}); correct fleet.ca.") from error
    if settings.certificate is not None:
        key = secrets.found(settings.certificate_key)
        try:
            context.load_cert_chain(settings.certificate, key, password=lambda: "none")  # never ask a terminal
        except (OSError, ssl.SSLError) as error:
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            raise UserError(
                f"{settings.certificate}: certificate and key {settings.certificate_key} cannot be used ({why}); "
                "give PEM files that belong together, the key without a passphrase."
            ) from error
    return context
