"""The outlines of saved pictures, in a table of their own that is made with the first of them.

Not a column of `items`: the schema keeps its number, so a busi-kd that knows no outlines, to which a machine may go
back after an update on trial, opens the same studies, leaves this table alone, and finds the rows' hashes as they were.
"""

import hashlib
import json
import sqlite3
from typing import Any

from device.outline import Outline, plain

_TABLE = (
    "CREATE TABLE IF NOT EXISTS outlines (item TEXT PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE, "
    "polygons TEXT NOT NULL) STRICT"
)

Polygons = list[list[list[float]]]  # of [x, y] in shares 0..1 of the picture; [] where nothing was outlined


def insert(connection: sqlite3.Connection, item: str, outline: Outline) -> str:
    """Add the outline of an item whose row is there; returns its hash, as `digest`. Raises sqlite3.Error."""
    connection.execute(_TABLE)
    polygons = plain(outline)
    connection.execute("INSERT INTO outlines VALUES (?, ?)", (item, json.dumps(polygons)))
    return digest(polygons)


def of_items(connection: sqlite3.Connection) -> dict[str, Polygons]:
    """Item id -> its outline, of the items that have one. Raises sqlite3.Error."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outlines'").fetchone():
        return {}
    return {item: json.loads(text) for item, text in connection.execute("SELECT item, polygons FROM outlines")}


def digest(polygons: Any) -> str:
    """SHA-256 of an outline, 64 hexadecimal digits: as it stands in the audit log beside its row's."""
    return hashlib.sha256(json.dumps(polygons, allow_nan=False).encode()).hexdigest()
