"""What leaves the machine with a study, whatever the format: its rows, its pictures, the audit entries about it."""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device import RESEARCH_NOTICE, files
from device.errors import UserError
from device.store import database, outlines, pictures
from device.store.audit import entries, sha256
from device.store.database import Item, Study
from device.store.pictures import Damage
from device.store.store import Store, is_open

UNVERIFIED = "Unverified output of software in research; no clinician has confirmed it."


@dataclass(frozen=True)
class Leaving:
    """A study on its way out. audit: the lines about it, as they stand in the log. head: (number, SHA-256) of the last
    of them; None when the log has none any more. audit_whole: whether the log still begins before the study does.
    outlines: of the items that have one, by id."""

    study: Study
    items: list[Item]
    damaged: list[Damage]
    audit: list[bytes]
    head: tuple[int, str] | None
    audit_whole: bool
    outlines: dict[str, outlines.Polygons]

    @property
    def about(self) -> dict[str, Any]:
        """All rows as plain data. When it was exported is left out: the same study gives the same bytes."""
        study = {name: value for name, value in asdict(self.study).items() if name != "exported"}
        head = None if self.head is None else {"entry": self.head[0], "sha256": self.head[1]}
        return {
            "notice": f"{RESEARCH_NOTICE} {UNVERIFIED}",
            "study": study,
            "items": [asdict(item) | self.outline_of(item) for item in self.items],
            "damaged": [{"item": damage.item.id, "why": _why(damage)} for damage in self.damaged],
            "audit": {"head": head, "entries": len(self.audit), "whole": self.audit_whole},
        }

    def outline_of(self, item: Item) -> dict[str, outlines.Polygons]:
        """`outline` of an item that has one; nothing of others, whose export is as it always was."""
        return {"outline": self.outlines[item.id]} if item.id in self.outlines else {}


def _why(damage: Damage) -> str:
    return damage.why.rpartition(": ")[2]  # without the path, which is of this machine


def gather(store: Store, study: Study) -> Leaving:
    """Read a study, every picture's hash included. Raises UserError while the daemon may still add to it."""
    if is_open(store, study):
        raise UserError(f"study {study.id}: is still open in the daemon; end it there first.")
    store.settle()
    items = database.items(store.connection, study.id)
    damaged = [damage for item in items if (damage := pictures.look(store.pictures, item)) is not None]
    lines, head, begins = [], None, False
    for line, entry in entries(store.audit.folder):
        if entry.get("study") == study.id and entry["what"] != "exported":
            lines.append(line)
            head = entry["n"], sha256(line)
            begins = begins or entry["what"] == "study begun"
    drawn = outlines.of_items(store.connection)
    own = {item.id: drawn[item.id] for item in items if item.id in drawn}
    return Leaving(study, items, damaged, lines, head, begins, own)


def verdict_table(leaving: Leaving) -> str:
    """CSV, a row per item: the verdict over time (shown), that of the frame alone, probabilities, logits, quality."""
    classes = leaving.study.classes
    names = ["number", "kind", "saved", "clock_synchronised", "shown", "shown_reason"]
    names += [f"shown_p_{name}" for name in classes] + ["verdict", "reason"] + [f"p_{name}" for name in classes]
    names += [f"z_{name}" for name in classes] + ["quality", "unusual", "sustained_malignant", "file", "sha256"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    for item in leaving.items:
        shown, alone = item.shown_probabilities or {}, item.probabilities or {}
        row = [item.number, item.kind, item.saved, item.clock_synchronised, item.shown, item.shown_reason]
        row += [shown.get(name) for name in classes] + [item.verdict, item.reason]
        row += [alone.get(name) for name in classes] + (item.logits or [None] * len(classes))
        row += [item.quality, item.unusual, (item.sweep or {}).get("sustained_malignant"), item.file, item.sha256]
        table.writerow(row)
    return text.getvalue()


def as_json(data: Any) -> bytes:
    """Indented JSON with a newline at its end; no NaN."""
    return (json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """A new file beside `path`, to be filled; flushed and renamed to `path` at the end, gone when that is not reached.

    No permissions are changed: a memory stick's file system (FAT) refuses that. Raises UserError when `path` exists.
    """
    if path.exists():
        raise UserError(f"{path}: exists already; give another name.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: its folder does not exist; make it or give another name.")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        yield aside
        with open(aside, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    files.sync_folder(path.absolute().parent)
