"""The fleet process with a real Mosquitto: what it tells, who may read it, and what happens when either goes away."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import (
    PATIENCE_S,
    ROOT,
    Broker,
    broker,
    certificates,
    fleet,
    free_port,
    listening,
    password_file,
    until,
)
from metrics_text import SECRET, full_text

from device import RESEARCH_NOTICE, files
from device.bundle import load_bundle
from device.fleet import payload, publisher
from device.fleet.connection import KEEP_ALIVE_S
from device.fleet.publisher import BACK_OFF_S, pause_s


@pytest.fixture(scope="module")
def text(bundle_dir: Path) -> str:
    return full_text(bundle_dir / "int8-full")


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "busi-kd.prom"


def secret(path: Path, word: str) -> Path:
    path.write_text(f"{word}\n")
    path.chmod(0o600)
    return path


def test_a_real_daemons_figures_arrive_and_its_end_is_told(bundle_dir: Path, metrics: Path, tmp_path: Path) -> None:
    """The daemon judges phantoms; the fleet process tells of it; then the daemon is killed, and its file stays."""
    folder = bundle_dir / "int8-full"
    command = [sys.executable, "-m", "device.main", "device", "run", "--config", "none", "--allow-unsigned"]
    command += ["--bundle", str(folder), "--source", "phantom", "--metrics", str(metrics)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with broker(tmp_path / "broker") as there, listening(there.port) as ear:
        with fleet(tmp_path / "fleet", metrics, broker="127.0.0.1", port=there.port):
            first = ear.wait("status")
            assert (first.body["online"], first.body["daemon"]) == (True, "not running")
            assert first.body["why"] == "no metrics file"
            daemon = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            try:
                ear.wait("status", daemon="running")
                about = ear.wait("about")
                health, counts = ear.wait("health", signal="ok"), ear.wait("counts")
            finally:
                daemon.kill()
                daemon.wait(PATIENCE_S)
            assert metrics.exists()
            told = ear.wait("status", daemon="not running")
            assert told.body["why"] == "metrics file not renewed"
            heard = len(ear.all)
            ear.wait("about")
        last = ear.wait("status", online=False)
    assert last.body["why"] == "stopped"
    assert {one.leaf for one in ear.all[heard:]} == {"status", "about"}, "no figures of a dead daemon"
    unit = (tmp_path / "fleet/state/unit").read_text().strip()
    assert {one.topic for one in ear.all} == {f"busi-kd/clinic/{unit}/{leaf}" for leaf in payload.LEAVES}
    assert counts.body["frames_captured"] >= counts.body["frames_judged"] > 0
    assert 0 <= health.body["stage_seconds"]["infer"]["p50"] <= health.body["stage_seconds"]["total"]["p95"]
    assert about.body["model"] == {"id": load_bundle(folder).id, "variant": "int8-full"}
    assert (about.body["synthetic"], about.body["notice"]) == (True, RESEARCH_NOTICE)
    assert all(one.body["schema_version"] == payload.SCHEMA_VERSION for one in ear.all)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.body["sent"]) for one in ear.all)
    assert not [one for one in ear.all if re.search("malignant|benign|normal", json.dumps(one.body))]


@contextmanager
def renewed(metrics: Path, text: str) -> Iterator[Callable[[str], None]]:
    """A daemon's metrics file, written again and again, so that it is not stale however long the others take; gives
    what sets another text."""
    now, stop = [text], threading.Event()

    def renew() -> None:
        while not stop.wait(0.2):
            files.write_text(metrics, now[0])

    def say(text: str) -> None:
        now[0] = text

    writer = threading.Thread(target=renew)
    writer.start()
    try:
        yield say
    finally:
        stop.set()
        writer.join()


def test_a_killed_process_is_told_by_its_last_will_and_figures_are_not_kept(
    metrics: Path, text: str, tmp_path: Path
) -> None:
    with renewed(metrics, text), broker(tmp_path / "broker") as there, listening(there.port) as ear:
        with fleet(tmp_path / "fleet", metrics, broker="127.0.0.1", port=there.port) as running:
            ear.wait("health", signal="ok")
            running.process.send_signal(signal.SIGKILL)
            will = ear.wait("status", online=False)
        assert will.body["why"] == "connection lost"
        with listening(there.port) as late:
            assert late.wait("status").body == will.body
            assert late.wait("about").retained
        assert {one.leaf for one in late.all} == {"status", "about"}
    assert SECRET not in str(ear.all)
    assert SECRET not in "".join(running.lines)


def test_after_the_broker_was_away_it_comes_back_and_tells_the_state_of_now(metrics: Path, tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as there:
        with fleet(tmp_path / "fleet", metrics, broker="127.0.0.1", port=there.port) as running:
            running.says("connected")
            there.stop()  # keeps nothing: it has no persistence
            running.says("the connection was lost.")
            running.lines.clear()
            with renewed(metrics, 'busi_kd_signal{state="no cable"} 1\n') as say:  # the broker does not see it
                running.says("daemon running")
                there.start()
                running.says("connected")
                with listening(there.port) as ear:
                    ear.wait("status", daemon="running")
                    ear.wait("about")
                    say('busi_kd_signal{state="ok"} 1\n')
                    ear.wait("health", signal="ok")
    assert not any("Traceback" in line for line in running.lines)


def test_a_wrong_password_is_one_sentence_and_no_hammering(metrics: Path, tmp_path: Path) -> None:
    users = password_file(tmp_path / "users", "unit-7", "right")
    word = secret(tmp_path / "password", "geheim-and-wrong")
    keys = {"broker": "127.0.0.1", "user": "unit-7", "password_file": word}
    with broker(tmp_path / "broker", f"password_file {users}", anonymous=False) as there:
        with fleet(tmp_path / "fleet", metrics, port=there.port, **keys) as running:
            running.says("the broker does not let this unit in as user 'unit-7'")
            log = there.config.with_suffix(".log")
            until(lambda: log.read_text().count("not authorised") >= 2, "a second attempt")
            secret(word, "right")
            running.says("connected")
        refused = [line for line in running.lines if "does not let" in line]
        assert len(refused) == 1, "said once, not at every attempt"
        assert refused[0] == (
            f"127.0.0.1:{there.port}: the broker does not let this unit in as user 'unit-7' (Not authorized); correct "
            "fleet.user and what fleet.password_file holds. Tried again and again, at the latest every 5 minutes.\n"
        )
        assert "geheim" not in "".join(running.lines)
        assert "geheim" not in str(running.process.args)
        assert "geheim" not in log.read_text()


def tls(folder: Path) -> tuple[str, ...]:
    return (f"cafile {folder}/ca.pem", f"certfile {folder}/broker.pem", f"keyfile {folder}/broker.key")


def test_with_tls_and_certificates_on_both_sides(metrics: Path, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    ca = certificates(pki, "broker", "unit")
    lines = (*tls(pki), "require_certificate true", "use_identity_as_username true")
    own = {"certificate": pki / "unit.pem", "certificate_key": pki / "unit.key"}
    keys = {"broker": "127.0.0.1", "tls": True}
    with broker(tmp_path / "broker", *lines, anonymous=False) as there:
        keys["port"] = there.port
        with fleet(tmp_path / "a", metrics, ca=ca, **own, **keys) as running:
            running.says("connected")
        assert "u'unit'" in there.config.with_suffix(".log").read_text(), "let in by its certificate"
        with fleet(tmp_path / "b", metrics, ca=ca, **keys) as running:
            running.says("closes the connection before it answers; does it want a certificate of this unit?")
        with fleet(tmp_path / "c", metrics, **own, **keys) as running:
            running.says("its certificate is not trusted (")
        with fleet(tmp_path / "d", metrics, **{**keys, "tls": False}) as running:
            running.says("closes the connection before it answers; does it want fleet.tls true?")
        (pki / "unit.key").chmod(0o644)
        with fleet(tmp_path / "e", metrics, ca=ca, **own, **keys) as running:
            running.says("unit.key: others than its owner may use it; run: chmod 600")
            assert running.process.wait(PATIENCE_S) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "cannot be reached (Connection refused); is the broker running?"),
        (b"", "closes the connection before it answers"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "127.0.0.1:"),
        (b"\x20\x02\x00\x03", "the broker refuses the connection (Server unavailable)"),
        (b"\x20\x02\x00\xff", "the broker refuses the connection ("),
        (b"\x20\x00", "answers with what is no MQTT"),
        (b"\xff" * 64, "127.0.0.1:"),
    ],
    ids=["nobody", "closed", "a web server", "unavailable", "unknown answer", "short", "noise"],
)
def test_whatever_answers_there_it_goes_on(metrics: Path, tmp_path: Path, answer: bytes | None, said: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        attempts: list[int] = []

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                with one:
                    attempts.append(1)
                    one.recv(4096)
                    one.sendall(answer)

        port = server.getsockname()[1]
        if answer is None:
            port = free_port()
        else:
            server.listen()
            threading.Thread(target=serve, daemon=True).start()
        with fleet(tmp_path / "fleet", metrics, broker="127.0.0.1", port=port) as running:
            running.says(said)
            if answer is not None:
                until(lambda: len(attempts) >= 2, "a second attempt")
            assert running.process.poll() is None
        assert running.process.returncode == 0
        assert "Traceback" not in "".join(running.lines)


def test_pauses_double_up_to_the_longest_and_spread() -> None:
    shortest, longest = BACK_OFF_S
    assert [pause_s(failures, 1.0) for failures in range(1, 12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert [pause_s(failures, 0.0) for failures in (1, 9, 10)] == [0.5, 128, 150]
    assert pause_s(10**6, 1.0) == longest
    assert publisher.STEADY_S > shortest
    assert KEEP_ALIVE_S * 1.5 < 60


def test_a_test_needs_the_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("brokers.shutil.which", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="mosquitto is missing; run: apt install mosquitto"):
        Broker(1, tmp_path / "mosquitto.conf").start()
