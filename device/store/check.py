"""Is everything that was saved still as it was saved? Every picture's hash, the database, the audit log."""

import sqlite3
from dataclasses import dataclass

from device.store import AUDIT, database, outlines, pictures
from device.store.audit import entries
from device.store.audit_check import verify
from device.store.store import Store


@dataclass(frozen=True)
class Found:
    """wrong: a sentence per fault. pictures, entries: how many were looked at. torn: bytes at the log's end."""

    wrong: list[str]
    pictures: int
    entries: int
    torn: int


def check(store: Store, noted: dict[int, str] | None = None) -> Found:
    """Look at all of it; changes nothing. noted: hashes of audit lines that somebody wrote down, by number."""
    wrong = []
    connection = store.connection
    try:
        wrong += [f"database: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        wrong += [
            f"database: a row of {row[0]} belongs to none." for row in connection.execute("PRAGMA foreign_key_check")
        ]
        items, drawn = database.items(connection), outlines.of_items(connection)
        known = store.noted_head() | (noted or {})
    except sqlite3.DatabaseError as error:
        return Found([*wrong, f"database: {error}."], 0, 0, 0)
    seen = [item for item in items if item.file is not None]
    wrong += [damage.why for item in seen if (damage := pictures.look(store.pictures, item)) is not None]
    chain = verify(store.folder / AUDIT, known)
    if chain.wrong:
        wrong.append(f"audit log: {chain.wrong}")
    else:
        wrong += _unlike_the_log(store, {item.id: item for item in items}, drawn)
    return Found(wrong, len(seen), chain.lines, chain.torn)


def _unlike_the_log(store: Store, items: dict[str, database.Item], drawn: dict[str, outlines.Polygons]) -> list[str]:
    """Rows and outlines that were changed, or went, without the log saying so."""
    saved, deleted, discarded = {}, set(), set()
    for _, entry in entries(store.folder / AUDIT):
        if entry.get("store") == store.id and entry["what"] == "saved":
            saved[entry["item"]] = entry
        elif entry.get("store") == store.id and entry["what"] == "deleted":
            deleted.add(entry["study"])
        elif entry.get("store") == store.id and entry["what"] == "discarded":
            discarded.add(entry["item"])
    wrong = []
    for name, entry in saved.items():
        item = items.get(name)
        if item is None:
            if entry["study"] not in deleted and name not in discarded:
                wrong.append(f"database: item {name} was saved, as the audit log says, and its row is gone.")
        elif database.row_hash(item) != entry["row"]:
            wrong.append(f"database: item {name} is not as the audit log says it was saved.")
        elif (outlines.digest(drawn[name]) if name in drawn else None) != entry.get("outline"):
            wrong.append(f"database: the outline of item {name} is not as the audit log says it was saved.")
    return wrong
