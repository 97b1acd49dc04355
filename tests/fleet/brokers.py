"""A real Mosquitto on a port of its own, one who listens to it, certificates, and the fleet process."""

import datetime
import ipaddress
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # for what must come; nothing waits that long unless something is broken


def program(name: str, package: str) -> str:
    """The path of a program; fails with what to install where it is missing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"{name} is missing; run: apt install {package}"
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(true: Callable[[], object], what: str) -> None:
    """Look again and again until it is true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


@dataclass
class Broker:
    """A running Mosquitto. config: its file; one can be stopped and started again at the same port."""

    port: int
    config: Path
    process: subprocess.Popen | None = None

    def start(self) -> None:
        log = open(self.config.with_suffix(".log"), "ab")
        self.process = subprocess.Popen(
            [program("mosquitto", "mosquitto"), "-c", self.config], stdout=log, stderr=subprocess.STDOUT
        )
        log.close()

        def answers() -> bool:
            assert self.process.poll() is None, self.config.with_suffix(".log").read_text()
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", self.port)) == 0

        until(answers, "mosquitto listens")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None


@contextmanager
def broker(folder: Path, *lines: str, anonymous: bool = True, port: int | None = None) -> Iterator[Broker]:
    """A broker with these further lines of configuration behind its listener."""
    port = free_port() if port is None else port
    folder.mkdir(exist_ok=True)
    config = folder / "mosquitto.conf"
    user = [f"user {'root' if os.geteuid() == 0 else os.environ.get('USER', 'nobody')}"]  # its files lie in tmp_path
    head = [*user, f"listener {port} 127.0.0.1", f"allow_anonymous {str(anonymous).lower()}", "log_type all"]
    config.write_text("\n".join([*head, *lines]) + "\n")
    made = Broker(port, config)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@dataclass(frozen=True)
class Heard:
    """One message."""

    topic: str
    body: dict
    retained: bool

    @property
    def leaf(self) -> str:
        return self.topic.rpartition("/")[2]


class Ear:
    """Listens to everything that a broker is told, in the order in which it comes."""

    def __init__(self, port: int, user: tuple[str, str] | None = None, ca: Path | None = None) -> None:
        self._queue: queue.Queue[Heard] = queue.Queue()
        self.all: list[Heard] = []
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(*user)
        if ca is not None:
            self._client.tls_set(str(ca))
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._queue.put(
            Heard(message.topic, json.loads(message.payload), message.retain)
        )
        self._client.reconnect_delay_set(0.1, 0.2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def wait(self, leaf: str, **wanted: object) -> Heard:
        """The next message of this leaf whose body has these values; everything on the way is in `all`."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                heard = self._queue.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {leaf} with {wanted}; heard {self.all}") from None
            self.all.append(heard)
            if heard.leaf == leaf and all(heard.body.get(name) == value for name, value in wanted.items()):
                return heard

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def listening(port: int, **more: object) -> Iterator[Ear]:
    ear = Ear(port, **more)
    try:
        yield ear
    finally:
        ear.close()


@dataclass
class Fleet:
    """The fleet process; lines: what it has said so far."""

    process: subprocess.Popen
    lines: list[str]

    def says(self, text: str) -> str:
        """Wait for a line that holds `text`; returns it."""
        try:
            until(lambda: any(text in line for line in list(self.lines)), text)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.lines}") from None
        return next(line for line in self.lines if text in line)


@contextmanager
def fleet(folder: Path, metrics: Path, **keys: object) -> Iterator[Fleet]:
    """`busi-kd device fleet` with these keys of [fleet], its state in `folder`; ended by SIGTERM at the end."""
    folder.mkdir(exist_ok=True)
    keys = {"enabled": True, "state": folder / "state", "every": "1 s", "tls": False, **keys}
    lines = [f"{name} = {_toml(value)}" for name, value in keys.items()]
    config = folder / "config.toml"
    config.write_text(f"[log]\nmetrics = {_toml(metrics)}\n[fleet]\n" + "\n".join(lines) + "\n")
    command = [sys.executable, "-m", "device.main", "device", "fleet", "--config", config]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
    )
    running = Fleet(process, [])
    reader = threading.Thread(target=lambda: running.lines.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_S)
        reader.join(PATIENCE_S)
        process.stdout.close()


def _toml(value: object) -> str:
    return json.dumps(value if isinstance(value, (bool, int)) else str(value))


def password_file(path: Path, user: str, password: str) -> Path:
    """A file of Mosquitto's own making: `mosquitto_passwd`."""
    command = [program("mosquitto_passwd", "mosquitto"), "-b", *([] if path.exists() else ["-c"]), path, user, password]
    subprocess.run(command, check=True, capture_output=True)
    return path


def certificates(folder: Path, *names: str) -> Path:
    """ca.pem in `folder`, and for each name NAME.pem and NAME.key signed by it, valid for 127.0.0.1; the CA's path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)

    def made(name: str, issuer: tuple | None) -> tuple:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by_name, by_key = (subject, key) if issuer is None else issuer
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(by_name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).add_extension(local, False)
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        signed = builder.sign(by_key, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        (folder / f"{name}.key").chmod(0o600)
        return subject, key

    authority = made("ca", None)
    for name in names:
        made(name, authority)
    return folder / "ca.pem"
