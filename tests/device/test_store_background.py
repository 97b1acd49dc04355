"""A slow card does not hold up judging: calls return at once, in order, and what finds no place is said."""

import threading
from pathlib import Path

import pytest
from store_things import picture, recorder, snapshot

from device.store import AUDIT, NotSaved, database
from device.store.audit import entries
from device.store.background import WAITING, Background
from device.store.recorder import Recorder


def _log(folder: Path) -> list[dict]:
    return [entry for _, entry in entries(folder / AUDIT)]


def _held(kept: Recorder) -> tuple[Background, threading.Event]:
    """A background whose thread is held until the event is set, as by a card that takes its time."""
    go, reached = threading.Event(), threading.Event()
    busy = Background(kept)

    def hold() -> None:
        reached.set()
        assert go.wait(60)

    busy.do(hold)
    assert reached.wait(60)
    return busy, go


def test_saves_are_done_in_order_and_reported_when_they_are_on_disk(tmp_path: Path) -> None:
    kept = recorder(tmp_path)
    busy, go = _held(kept)
    begun = busy.do(kept.begin_study, "left")
    saved = [busy.do(kept.save_frame, picture(n), snapshot(), True) for n in range(5)]
    assert not any(one.done() for one in (begun, *saved))
    go.set()
    items = [one.result(60) for one in saved]
    assert [item.number for item in items] == [1, 2, 3, 4, 5]
    assert {item.study for item in items} == {begun.result(60).id}
    assert busy.close(60)
    assert [entry["what"] for entry in _log(tmp_path)][-2:] == ["study ended", "stopped"]


def test_a_refusal_reaches_the_caller_and_the_thread_lives_on(tmp_path: Path) -> None:
    kept = recorder(tmp_path)
    busy = Background(kept)
    with pytest.raises(NotSaved, match="cannot be saved"):
        busy.do(kept.save_frame, picture()[:0], snapshot(), True).result(60)
    assert busy.do(kept.save_frame, picture(), snapshot(), True).result(60).number == 1
    assert busy.close(60)
    with pytest.raises(NotSaved):
        busy.do(kept.save_frame, picture(), snapshot(), True).result(60)


def test_what_finds_no_place_is_refused_at_once_and_counted(tmp_path: Path) -> None:
    kept = recorder(tmp_path)
    busy, go = _held(kept)
    for number in range(WAITING):
        busy.shown(snapshot("benign" if number % 2 else "normal"))
    busy.shown(snapshot("malignant"))
    busy.shown(snapshot("malignant"))  # no change
    with pytest.raises(NotSaved, match="does not keep up"):
        busy.do(kept.save_frame, picture(), snapshot(), True).result(0)
    go.set()
    busy.do(lambda: None)  # a place may be free only now
    while True:  # until there is room again: the queue empties by itself
        done = busy.do(lambda: None)
        if done.exception(60) is None:
            break
    busy.tell("signal", state="ok")
    assert busy.close(60)
    log = _log(tmp_path)
    assert [entry["verdict"] for entry in log if entry["what"] == "shown"] == ["normal", "benign"] * (WAITING // 2)
    assert [(entry["what"], entry.get("entries")) for entry in log][-3:] == [
        ("left out", 1),
        ("signal", None),
        ("stopped", None),
    ]


def test_a_card_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    kept = recorder(tmp_path)
    item = kept.save_frame(picture(), snapshot(), True)
    busy, go = _held(kept)
    assert not busy.close(0.0)
    go.set()
    assert busy.close(60)
    with recorder(tmp_path) as again:
        assert database.items(again._store.connection) == [item]
