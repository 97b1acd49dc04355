"""Outlines of saved pictures: kept, exported, checked against the audit log, and no hindrance for older software."""

import json
import sqlite3
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from store_things import picture, recorder, snapshot

from device.store import database, outlines
from device.store.check import check
from device.store.export_zip import export_zip
from device.store.store import Store

LINES = (((0.25, 0.125), (0.5, 0.125), (0.5, 1 / 3)), ((0.75, 0.75), (0.875, 0.75), (0.875, 1.0)))
PLAIN = [[[0.25, 0.125], [0.5, 0.125], [0.5, 0.3333]], [[0.75, 0.75], [0.875, 0.75], [0.875, 1.0]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three pictures: with an outline, with none found, and of a model that gives none."""
    with recorder(tmp_path / "store") as one:
        for number, outline in enumerate((LINES, (), None)):
            one.save_frame(picture(number), replace(snapshot(), outline=outline), True)
    return tmp_path / "store"


def test_what_was_outlined_is_kept(folder: Path) -> None:
    store = Store(folder)
    items = database.items(store.connection)
    found = outlines.of_items(store.connection)
    assert [found.get(item.id) for item in items] == [PLAIN, [], None]
    assert check(store).wrong == []
    store.close()


def test_without_any_outline_the_database_is_as_it_always_was(tmp_path: Path) -> None:
    with recorder(tmp_path / "store") as one:
        one.save_frame(picture(), snapshot(), True)
    store = Store(tmp_path / "store")
    tables = {row[0] for row in store.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "outlines" not in tables
    assert outlines.of_items(store.connection) == {}
    store.close()


def test_the_schemas_number_and_the_rows_hashes_do_not_change(folder: Path) -> None:
    """What software before this looks at: it must go on to open the store and to find each row as the log says."""
    store = Store(folder)
    assert store.connection.execute("PRAGMA user_version").fetchone()[0] == 1
    (columns,) = {len(row) for row in store.connection.execute("SELECT * FROM items")}
    assert columns == len(database.Item.__dataclass_fields__)
    store.close()


@pytest.mark.parametrize(
    "change",
    ["UPDATE outlines SET polygons = '[]' WHERE polygons <> '[]'", "DELETE FROM outlines", "DROP TABLE outlines"],
)
def test_an_outline_that_was_changed_is_found(folder: Path, change: str) -> None:
    with sqlite3.connect(folder / "studies.sqlite") as connection:
        connection.execute(change)
    connection.close()
    store = Store(folder)
    wrong = check(store).wrong
    store.close()
    assert wrong
    assert all("the outline of item" in one for one in wrong)


def test_it_goes_with_its_study(folder: Path) -> None:
    store = Store(folder)
    (study,) = database.studies(store.connection)
    store.delete(study, "test")
    assert outlines.of_items(store.connection) == {}
    store.settle()
    assert check(store).wrong == []
    store.close()


def test_the_export_holds_it(folder: Path, tmp_path: Path) -> None:
    store = Store(folder)
    (study,) = database.studies(store.connection)
    export_zip(store, study, tmp_path / "study.zip")
    store.close()
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        items = json.loads(archive.read("study.json"))["items"]
        assert [item.get("outline", "none") for item in items] == [PLAIN, [], "none"]
        assert b'"outline"' in archive.read("README.txt")
