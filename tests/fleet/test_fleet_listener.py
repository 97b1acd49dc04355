"""What Prometheus is answered: promtool finds no fault, nothing but /metrics is there, old figures are never new."""

import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import fleet, free_port, program, until
from metrics_text import SECRET, full_text
from prometheus_client.parser import text_string_to_metric_families

from device import files
from device.errors import UserError
from device.fleet import listener
from device.fleet.allowed import METRICS, admit
from device.fleet.listener import AT_ONCE, OLD_S, Listener
from device.fleet.watch import NO_FILE, Reading

UNIT = "0123456789abcdef"


@pytest.fixture(scope="module")
def text(bundle_dir: Path) -> str:
    return full_text(bundle_dir / "int8-full")


@pytest.fixture
def latest(text: str) -> list[Reading]:
    return [Reading("running", "", admit(text), time.monotonic())]


@pytest.fixture
def port(latest: list[Reading]) -> Iterator[int]:
    made = Listener(f"127.0.0.1:{free_port()}", lambda: latest[0], "clinic", UNIT)
    yield made.port
    made.close()


def ask(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        asking.request(method, path)
        answer = asking.getresponse()
        if answer.status == 200:
            assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        return answer.status, answer.read().decode()
    finally:
        asking.close()


def samples(text: str) -> dict[tuple[str, tuple], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def promtool(text: str) -> tuple[int, str]:
    command = [program("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_is_served_is_what_may_leave_and_promtool_finds_no_fault(port: int, latest: list, text: str) -> None:
    status, served = ask(port)
    assert status == 200
    assert promtool(served) == (0, "")
    found = samples(served)
    assert found.pop(("busi_kd_up", ())) == 1
    ((name, labels),) = [key for key in found if key[0] == "busi_kd_fleet_info"]
    assert dict(labels)["unit"] == UNIT
    del found[name, labels]
    assert found == {(name, tuple(sorted(labels))): value for name, labels, value in latest[0].samples}
    assert set(METRICS) == {name for name, _ in found}
    assert SECRET not in served
    assert "python_" not in served
    assert ask(port, "/metrics?name[]=x") == (status, served)


def test_promtool_finds_no_fault_in_the_daemons_own_text(text: str) -> None:
    assert promtool(text) == (0, "")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/..", "/../etc/passwd", "/%6detrics", "/favicon.ico", "*"])
def test_no_other_path_is_answered(port: int, path: str) -> None:
    status, said = ask(port, path)
    assert status == 404
    assert "busi_kd" not in said
    assert ask(port, method="POST")[0] == 501


@pytest.mark.parametrize(
    ("state", "ago_s", "up"),
    [("not running", 0.0, 0.0), ("unknown", 0.0, None), ("running", OLD_S + 1, None)],
    ids=["dead", "unknown", "nobody has looked for long"],
)
def test_old_figures_are_never_served_as_new(port: int, latest: list, state: str, ago_s: float, up: object) -> None:
    figures = latest[0].samples if state == "running" else ()
    latest[0] = Reading(state, NO_FILE, figures, time.monotonic() - ago_s)
    status, served = ask(port)
    found = samples(served)
    assert (status, found.pop(("busi_kd_up", ()), None)) == (200, up)
    assert [name for name, _ in found] == ["busi_kd_fleet_info"]
    assert promtool(served) == (0, "")


def test_clients_that_say_nothing_do_not_fill_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Handler, "timeout", 0.5)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(3 * AT_ONCE)]
        for one in idle:
            assert one.recv(1) == b"", "closed, at once or after the time-out"
    until(lambda: ask(port)[0] == 200, "an answer")


def test_an_address_that_cannot_be_had_is_told(port: int) -> None:
    for address in (f"127.0.0.1:{port}", "999.1.1.1:9469", "127.0.0.1:99999", "[::1::2]:9469"):
        with pytest.raises(UserError, match=r"cannot listen there \(.*\); give another\.$"):
            Listener(address, lambda: None, "clinic", UNIT)


def test_the_process_serves_without_a_broker(tmp_path: Path, text: str) -> None:
    metrics, port = tmp_path / "busi-kd.prom", free_port()
    with fleet(tmp_path / "fleet", metrics, metrics_listen=f"127.0.0.1:{port}") as running:
        running.says(f"answers Prometheus at port {port}, path /metrics")
        running.says("daemon not running: no metrics file")
        assert samples(ask(port)[1])["busi_kd_up", ()] == 0
        files.write_text(metrics, text)
        running.says("daemon running")
        served = ask(port)[1]
        assert samples(served)["busi_kd_up", ()] == 1
        assert promtool(served) == (0, "")
    assert running.process.returncode == 0
