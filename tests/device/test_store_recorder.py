"""The recorder: what is saved can be read back, what is refused leaves nothing, what is found damaged is said."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from store_things import MB, ORIGIN, SUMMARY, Card, Clock, one_sentence, picture, recorder, snapshot

from device.decide import Verdict
from device.errors import UserError
from device.store import AUDIT, NotSaved, database, pictures
from device.store.audit import entries
from device.store.check import check
from device.store.recorder import Recorder
from device.store.store import Store


def _whats(folder: Path) -> list[str]:
    return [entry["what"] for _, entry in entries(folder / AUDIT)]


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def _rows(folder: Path) -> list[database.Item]:
    store = Store(folder)
    try:
        assert check(store).wrong == []
        return database.items(store.connection)
    finally:
        store.close()


@pytest.mark.parametrize("colour", [False, True])
def test_a_frame_is_read_back_as_it_was(tmp_path: Path, colour: bool) -> None:
    pixels = picture(colour=colour)
    with recorder(tmp_path / "s") as kept:
        item = kept.save_frame(pixels, snapshot(name="Mrs Miller.png"), True)
        folder = kept._store.pictures
    assert _rows(tmp_path / "s") == [item]
    assert np.array_equal(cv2.imread(str(folder / item.file), cv2.IMREAD_UNCHANGED), pixels)
    assert (item.shown, item.verdict, item.logits) == ("malignant", "benign", [0.5, -1.25, None])
    assert (item.shown_probabilities["malignant"], item.probabilities["benign"]) == (0.625, 0.5)
    assert (item.kind, item.width, item.height, item.channels) == ("frame", 80, 60, 3 if colour else 1)
    assert (item.quality, item.unusual, item.scene, item.captured, item.sweep) == ("ok", 14.5, "still", 99.5, None)
    raw = b"".join(path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
    assert b"Miller" not in raw


def test_a_study_says_what_made_its_verdicts(tmp_path: Path) -> None:
    with recorder(tmp_path, clock=Clock(synchronised=None)) as kept:
        study = kept.begin_study("  left, 3 o'clock ")
    store = Store(tmp_path)
    (found,) = database.studies(store.connection)
    assert replace(found, ended=None) == study
    assert (found.label, found.model, found.bundle) == ("left, 3 o'clock", ORIGIN.model, ORIGIN.bundle)
    assert (found.settings, found.classes, found.synthetic) == (ORIGIN.settings, list(ORIGIN.classes), None)
    assert (found.clock_synchronised, found.ended is not None, found.interrupted) == (None, True, False)
    store.close()


def test_a_sweep_is_saved_with_a_picture_or_without(tmp_path: Path) -> None:
    with recorder(tmp_path) as kept:
        begun = kept.now()
        bare = kept.save_sweep(begun, SUMMARY)
        full = kept.save_sweep(begun, SUMMARY, picture(), snapshot("abstain"), True)
    assert _rows(tmp_path) == [bare, full]
    assert bare.sweep == {
        "frames": {"benign": 30, "abstain": 4},
        "seconds": 12.5,
        "sustained_malignant": 0.375,
        "sustained_at": 100.25,
    }
    assert (bare.file, bare.shown, bare.cropped) == (None, None, None)
    assert (full.shown, full.shown_reason, full.shown_probabilities) == ("abstain", "blank", None)
    assert [bare.sweep_begun, full.sweep_begun] == [begun.iso] * 2
    assert _whats(tmp_path)[-4:] == ["saved", "saved", "study ended", "stopped"]


def test_the_picture_is_on_disk_before_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recorder(tmp_path) as kept:
        kept.begin_study()
        done: list[str] = []
        fsync, rename = os.fsync, os.replace
        named = lambda handle: Path(os.readlink(f"/proc/self/fd/{handle}")).relative_to(tmp_path)  # noqa: E731

        def fsynced(handle: int) -> None:
            path = named(handle)
            done.append(f"fsync {path if (tmp_path / path).is_dir() else path.suffix or path}")
            fsync(handle)

        def renamed(source, target) -> None:
            done.append(f"rename to {Path(target).suffix}")
            rename(source, target)

        monkeypatch.setattr(os, "fsync", fsynced)
        monkeypatch.setattr(os, "replace", renamed)
        kept._store.connection.set_trace_callback(lambda sql: done.append(sql.split(" (")[0]))
        item = kept.save_frame(picture(), snapshot(), True)
        kept._store.connection.set_trace_callback(None)
        monkeypatch.undo()
    folder = f"fsync pictures/{item.study}"
    wanted = ["rename to .png", folder, "BEGIN IMMEDIATE", "INSERT INTO items", "INSERT INTO due", "COMMIT"]
    places = [done.index(step) for step in wanted]
    assert places == sorted(places), done
    assert done[places[0] - 1].startswith("fsync ."), done  # of the file aside
    assert done.index("fsync .jsonl") > places[-1]
    store = Store(tmp_path)
    assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert store.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store.connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    store.close()


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.uint8(3)]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with recorder(tmp_path) as kept, pytest.raises(NotSaved, match="cannot be saved"):
        kept.save_frame(np.asarray(pixels), snapshot(), True)
    assert _rows(tmp_path) == []


@pytest.mark.parametrize("label", ["x" * 65, "two\nlines", "nul\0"])
def test_a_label_is_one_short_line(tmp_path: Path, label: str) -> None:
    with recorder(tmp_path) as kept, pytest.raises(UserError, match="one line of at most 64"):
        kept.begin_study(label)


@pytest.mark.parametrize("step", ["replace", "fsync", "open"])
def test_a_failing_card_is_told_and_the_next_save_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with recorder(tmp_path) as kept:
        kept.begin_study()
        monkeypatch.setattr(os, step, fails)
        with pytest.raises(NotSaved, match="Input/output error") as caught:
            kept.save_frame(picture(), snapshot(), True)
        monkeypatch.undo()
        assert one_sentence(str(caught.value))
        assert kept.refusing == str(caught.value) == kept.state()["refusing"]
        assert [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()] == []
        item = kept.save_frame(picture(), snapshot(), True)
        assert kept.refusing is None
    assert _rows(tmp_path) == [item]


def test_a_log_that_cannot_be_written_loses_no_study_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with recorder(tmp_path, say=said.append) as kept:
        kept.begin_study()
        monkeypatch.setattr(
            type(kept._store.audit), "append", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full"))
        )
        item = kept.save_frame(picture(), snapshot(), True)
        kept.shown(snapshot("benign"))
        kept.shown(snapshot("normal"))
        monkeypatch.undo()
        kept.shown(snapshot("malignant"))
        kept.end_study()
    assert len(said) == 2  # once for each kind of entry
    assert _rows(tmp_path) == [item]
    assert _whats(tmp_path) == ["started", "study begun", "shown", "saved", "study ended", "stopped"]
    assert [e.get("left_out") for _, e in entries(tmp_path / AUDIT) if e["what"] == "shown"] == [2]


def test_only_a_change_of_what_is_shown_is_told(tmp_path: Path) -> None:
    with recorder(tmp_path) as kept:
        for label in ("benign", "benign", "abstain", "abstain"):
            kept.shown(snapshot(label))
        dark = snapshot("abstain")
        kept.shown(replace(dark, belief=replace(dark.belief, verdict=Verdict("abstain", {}, "too dark"))))
        kept.shown(snapshot("benign"))
    shown = [entry for _, entry in entries(tmp_path / AUDIT) if entry["what"] == "shown"]
    assert [entry["verdict"] for entry in shown] == ["benign", "abstain", "abstain", "benign"]
    assert shown[2]["reason"] == "too dark"
    assert (shown[1]["reason"], shown[1]["probabilities"]) == ("blank", None)


def test_what_a_kill_has_left_is_set_right(tmp_path: Path) -> None:
    kept = recorder(tmp_path)
    item = kept.save_frame(picture(), snapshot(), True)
    kept._open.close()  # as a kill: the study is not ended
    stray = tmp_path / "pictures" / item.study / ".0002-x.png.abc"
    stray.write_bytes(b"half")
    with recorder(tmp_path) as again:
        assert (again.swept, again.damaged) == (1, ())
        assert again.study is None
    assert not stray.exists()
    store = Store(tmp_path)
    (study,) = database.studies(store.connection)
    assert (study.interrupted, study.ended) == (True, None)
    store.close()
    assert _rows(tmp_path) == [item]


@pytest.mark.parametrize("how", ["missing", "cut", "altered"])
def test_damage_is_said_and_the_row_stays(tmp_path: Path, how: str) -> None:
    with recorder(tmp_path) as kept:
        item = kept.save_frame(picture(), snapshot(), True)
    path = tmp_path / "pictures" / item.file
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    said: list[str] = []
    with recorder(tmp_path, say=said.append) as kept:
        assert [damage.item for damage in kept.damaged] == [item]
        assert kept.state()["damaged"] == 1
        assert database.items(kept._store.connection) == [item]
        assert pictures.load(kept._store.pictures, item) is None
    assert len(said) == 1
    assert path.name in said[0]
    store = Store(tmp_path)
    assert check(store).wrong == [kept.damaged[0].why]
    store.close()


def test_a_second_recorder_and_a_newer_database_are_refused(tmp_path: Path) -> None:
    with recorder(tmp_path), pytest.raises(UserError, match="another process is recording"):
        Recorder(tmp_path, ORIGIN, disk_usage=Card(1000 * MB))
    connection = sqlite3.connect(tmp_path / "studies.sqlite")
    connection.execute("PRAGMA user_version=2")
    connection.close()
    before = (tmp_path / "studies.sqlite").read_bytes()
    with pytest.raises(UserError, match="newer busi-kd \\(schema 2, this one knows 1\\)"):
        recorder(tmp_path)
    assert (tmp_path / "studies.sqlite").read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_another_file_of_that_name_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "studies.sqlite"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"studies\.sqlite"):
        recorder(tmp_path)
    assert path.read_bytes() == before


def test_a_changed_row_is_noticed(tmp_path: Path) -> None:
    with recorder(tmp_path) as kept:
        first, second = (kept.save_frame(picture(), snapshot(), True) for _ in range(2))
    store = Store(tmp_path)
    store.connection.execute("UPDATE items SET verdict = 'normal' WHERE id = ?", (first.id,))
    store.connection.execute("DELETE FROM items WHERE id = ?", (second.id,))
    wrong = check(store).wrong
    store.close()
    assert wrong == [
        f"database: item {first.id} is not as the audit log says it was saved.",
        f"database: item {second.id} was saved, as the audit log says, and its row is gone.",
    ]
