"""The publisher by itself: what it queues is bounded and in order, against a broker that comes late."""

import itertools
import time
from pathlib import Path

import pytest
from brokers import Broker, broker, free_port, listening
from many import SAMPLES

from device.config.fleet import FleetSettings
from device.errors import UserError
from device.fleet import payload, publisher
from device.fleet.publisher import QUEUED, Publisher
from device.fleet.watch import NO_FILE, NOT_RENEWED, Reading

UNIT = "0123456789abcdef"


def settings(port: int, **more: object) -> FleetSettings:
    return FleetSettings(enabled=True, broker="127.0.0.1", port=port, tls=False, every_s=1.0, **more)


def reading(state: str, why: str = "") -> Reading:
    return Reading(state, why, SAMPLES if state == "running" else (), time.monotonic())


def turns(made: Publisher, true: object) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        made.work(0.05)


def test_a_queue_that_is_full_loses_the_oldest_and_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BACK_OFF_S", (0.05, 0.1))
    port, said = free_port(), []
    made = Publisher(settings(port), UNIT, said.append)
    made.work(0.01)
    assert said[0].startswith(f"127.0.0.1:{port}: cannot be reached (Connection refused); is the broker running?")
    whys = [NO_FILE, NOT_RENEWED]
    for number in range(3 * QUEUED):
        made.take(reading("not running", whys[number % 2]))
        made.work(0.0)
        assert len(made._queue) <= QUEUED
    made.take(reading("running"))
    with broker(tmp_path / "broker", port=port) as there, listening(there.port) as ear:
        turns(made, lambda: made.connected and not made._queue)
        last = ear.wait("status", daemon="running")
        order = [one.body["why"] for one in ear.all if one.body.get("daemon") == "not running"]
        assert all(one != other for one, other in itertools.pairwise(order)), "in order, none twice"
        assert QUEUED - 4 <= len(order) <= QUEUED
        assert last.body["changes_dropped"] >= 2 * QUEUED
        about = ear.wait("about")
        assert about.body["model"]["id"] == "0" * 12
        assert "health" not in {one.leaf for one in ear.all}, "no figures before the state that they belong to"
        turns(made, lambda: made._figures_at > 0)
        assert ear.wait("health").body["signal"] in ("busy", "changed")
        made.leave()
        assert ear.wait("status").body["why"] == "stopped"
    assert len([line for line in said if "cannot be reached" in line]) == 1


def test_nothing_is_said_twice_on_one_connection(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as there, listening(there.port) as ear:
        made = Publisher(settings(there.port), UNIT, lambda _: None)
        for _ in range(5):
            made.take(reading("not running", NO_FILE))
            made.work(0.05)
        turns(made, lambda: made.connected and not made._queue)
        made.leave()
        ear.wait("status", online=False)
        assert [one.leaf for one in ear.all] == ["status", "about", "status"]


def test_a_file_that_must_be_mended_ends_the_first_attempt_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "BACK_OFF_S", (0.05, 0.1))
    said: list[str] = []
    word = tmp_path / "word"
    with pytest.raises(UserError, match="word: cannot be read"):
        Publisher(settings(free_port(), user="u", password_file=word), UNIT, said.append).work(0.01)
    word.write_text("geheim\n")
    word.chmod(0o600)
    there: Broker
    with broker(tmp_path / "broker") as there:
        made = Publisher(settings(there.port, user="u", password_file=word), UNIT, said.append)
        turns(made, lambda: made.connected)
        there.stop()
        word.unlink()  # just being replaced
        turns(made, lambda: any("word: cannot be read" in line for line in said))
        word.write_text("geheim\n")
        word.chmod(0o600)
        there.start()
        turns(made, lambda: made.connected)
        made.leave()


def test_payloads_are_small_and_their_fields_known() -> None:
    for body in (payload.health(SAMPLES), payload.counts(SAMPLES), payload.about(SAMPLES)):
        assert len(payload.encoded(body)) < payload.MAX_BYTES / 8
    assert payload.health(()) == {} == payload.counts(())
    assert set(payload.about(())) == {"notice", "version"}
    assert payload.offline("x", "y")["online"] is False
