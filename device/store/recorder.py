"""Saves frozen frames and marked sweeps while the daemon runs. Returns only when they are on disk, or says why not.

The order: the picture aside, flushed, renamed, its folder flushed; then its row, committed with its audit entry. A kill
in between leaves a file without a row, which the next start sweeps away: nothing half is ever listed.
"""

import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from device import log, schema
from device.errors import UserError
from device.judge import Snapshot
from device.store import Clock, NotSaved, Stamp, boot_id, database, lent_bytes, outlines, pictures, system_clock
from device.store.audit import AuditLog
from device.store.bounds import ROW_BYTES, Limits
from device.store.database import Item, Study
from device.store.facts import Origin, facts_of
from device.store.start import set_right
from device.store.store import Failure, Store, alone, because
from device.sweep import SweepSummary

MAX_LABEL = 64


class Recorder:
    """The open store of a running daemon, and at most one open study. May be called from several threads.

    damaged: saved pictures that were found missing or altered at the start. swept: files of saves that were cut short.
    refusing: why the last save was refused, None once one went well.
    """

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        limits: Limits | None = None,
        clock: Clock = system_clock,
        disk_usage: Callable[[Path], Any] = shutil.disk_usage,
        say: Callable[[str], None] = log.say,
        audit: AuditLog | None = None,
    ) -> None:
        """Open the store, set right what a kill has left, and say what is damaged. disk_usage: as shutil's.

        Raises UserError when the store cannot be used: another recorder, a newer database, no permission, a full card.
        """
        self.limits, self._origin, self._clock = limits or Limits(), origin, clock
        self._disk_usage, self._say = disk_usage, say
        self._mutex = threading.RLock()
        self._study: Study | None = None
        self._shown: tuple[str, str | None] | None = None
        self._untold = 0  # audit entries that could not be written
        self.refusing: str | None = None
        with ExitStack() as stack:
            try:
                self._store = Store(folder, make=True, clock=clock, audit=audit)
                stack.callback(self._store.close)
                stack.enter_context(alone(self._store.folder))
                self.damaged, self.swept = set_right(self._store, origin, self.limits, say)
            except Failure as error:
                raise UserError(f"{folder}: nothing can be recorded there ({because(error)}); mend that.") from error
            self._open = stack.pop_all()

    def close(self) -> None:
        """End the open study and close the store; nothing is saved afterwards. Does not raise."""
        with self._mutex:
            try:
                self.end_study()
            except NotSaved as error:  # it is marked as interrupted at the next start
                self._say(str(error))
            self.tell("stopped")
            try:
                self._store.note_head()
            except Failure as error:
                self._say(f"the hash of the audit log's end is not noted ({because(error)}).")
            self._open.close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def study(self) -> Study | None:
        """The open study, or None."""
        return self._study

    def now(self) -> Stamp:
        """The time as it is saved."""
        return self._clock()

    def begin_study(self, label: str = "") -> Study:
        """Open a new study; the one before ends. label: the technician's own words, at most MAX_LABEL characters on one
        line, and never a patient's name. Raises NotSaved, and UserError for another label."""
        if len(label) > MAX_LABEL or not (label.isprintable()):
            raise UserError(f"a study's label takes one line of at most {MAX_LABEL} characters; shorten it.")
        with self._mutex:
            self.end_study()
            now, origin = self._clock(), self._origin
            study = Study(
                id=str(uuid.uuid4()),
                begun=now.iso,
                begun_monotonic=now.monotonic,
                ended=None,
                boot=boot_id(),
                clock_synchronised=now.synchronised,
                interrupted=False,
                label=label.strip() or None,
                model=origin.model,
                bundle=origin.bundle,
                synthetic=origin.synthetic,
                classes=list(origin.classes),
                settings=origin.settings,
                software=origin.software,
                exported=None,
            )

            def write(tell: Callable[..., None]) -> None:
                database.insert(self._store.connection, "studies", study)
                tell("study begun", study=study.id, model=study.model, bundle=study.bundle)

            self._save(ROW_BYTES, write)
            self._study = study
            return study

    def end_study(self) -> None:
        """Close the open study, if there is one. Raises NotSaved: it then stays open."""
        with self._mutex:
            study = self._study
            if study is None:
                return
            ended = self._clock().iso

            def write(tell: Callable[..., None]) -> None:
                self._store.connection.execute("UPDATE studies SET ended = ? WHERE id = ?", (ended, study.id))
                tell("study ended", study=study.id)

            self._save(0, write)  # it takes no room that matters, and an end must not be refused
            self._study = None

    def save_frame(self, pixels: np.ndarray, snapshot: Snapshot, cropped: bool) -> Item:
        """Save a frozen frame; opens a study when none is open. pixels: (H, W) grey or (H, W, 3) BGR uint8, cut to the
        ultrasound picture (cropped), so that no patient's text is in it. Raises NotSaved."""
        with self._mutex:
            return self._save_item("frame", pixels, snapshot, cropped, {})

    def save_labelled(self, pixels: np.ndarray, snapshot: Snapshot, cropped: bool, label: str | None) -> Item:
        """`save_frame` into a study of this label: another one than the open study's begins a new study; None: into
        whatever is open. Raises NotSaved, and UserError for a label that none can have."""
        with self._mutex:
            if label and (self._study is None or self._study.label != label.strip()):
                self.begin_study(label)
            return self.save_frame(pixels, snapshot, cropped)

    def discard_last(self) -> Item:
        """Delete what was saved last of the open study, row and audit entry in one commit, then the picture.

        Raises UserError where there is nothing to discard, and NotSaved when the card refuses; then all stays.
        """
        with self._mutex:
            study = self._study
            if study is None:
                raise UserError(
                    "No study is open, so there is nothing to discard; whole studies are deleted in the list."
                )
            try:
                items = database.items(self._store.connection, study.id)
            except sqlite3.Error as error:
                raise self._failed(error) from error
            if not items:
                raise UserError("Nothing is saved in the open study, so there is nothing to discard.")
            return self._discard(items[-1])

    def _discard(self, item: Item) -> Item:
        def write(tell: Callable[..., None]) -> None:
            self._store.connection.execute("DELETE FROM items WHERE id = ?", (item.id,))
            tell("discarded", study=item.study, item=item.id, sha256=item.sha256)

        self._save(0, write)
        if item.file is not None:
            with suppress(OSError):  # what stays is swept at the next start
                (self._store.pictures / item.file).unlink(missing_ok=True)
        return item

    def save_sweep(
        self,
        begun: Stamp,
        summary: SweepSummary,
        pixels: np.ndarray | None = None,
        snapshot: Snapshot | None = None,
        cropped: bool | None = None,
    ) -> Item:
        """Save what a sweep came to that began then, with a picture of it or without, into the study that is open now,
        also where the sweep began before it; snapshot: of that picture. Raises NotSaved: then it can be tried again."""
        with self._mutex:
            values = {"sweep": schema.dump(summary), "sweep_begun": begun.iso}
            return self._save_item("sweep", pixels, snapshot, cropped, values)

    def shown(self, snapshot: Snapshot) -> None:
        """Tell the audit log what is on the screen, once each time it changes. Does not raise."""
        verdict = snapshot.belief.verdict
        if (verdict.label, verdict.reason) == self._shown:
            return
        with self._mutex:
            probabilities = {name: round(p, 6) for name, p in verdict.probabilities.items()}
            told = {"verdict": verdict.label, "reason": verdict.reason, "probabilities": probabilities or None}
            told |= {"sequence": snapshot.sequence, "captured": snapshot.captured, "frames": snapshot.belief.frames}
            self._shown = verdict.label, verdict.reason
            self.tell("shown", **told)

    def tell(self, what: str, **values: Any) -> None:
        """Add an entry to the audit log, such as a change of the source's state. Does not raise: what cannot be written
        is counted, and the next entry that can be says how many are missing."""
        with self._mutex:
            left_out = {"left_out": self._untold} if self._untold else {}
            study = {"study": self._study.id} if self._study else {}
            try:
                self._store.audit.append(what, **(values | study | left_out))
                self._untold = 0
            except OSError as error:
                if not self._untold:
                    self._say(f"the audit log cannot be written ({because(error)}); what is left out is counted.")
                self._untold += 1

    def _save_item(
        self,
        kind: str,
        pixels: np.ndarray | None,
        snapshot: Snapshot | None,
        cropped: bool | None,
        values: dict[str, Any],
    ) -> Item:
        data = None if pixels is None else pictures.encode(pixels)
        study = self._study or self.begin_study()
        now, connection = self._clock(), self._store.connection
        try:
            number = database.next_number(connection, study.id)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        item = Item(uuid.uuid4().hex, study.id, number, kind, now.iso, now.monotonic, now.synchronised)
        item = replace(item, **values, **(facts_of(snapshot) if snapshot is not None else {}))
        if data is not None:
            item = replace(item, cropped=cropped, **pictures.facts(item, pixels, data))

        def write(tell: Callable[..., None]) -> None:
            database.insert(connection, "items", item)
            told = {"item": item.id, "kind": kind, "sha256": item.sha256, "verdict": item.shown}
            told["row"] = database.row_hash(item)
            if data is not None and snapshot is not None and snapshot.outline is not None:
                told["outline"] = outlines.insert(connection, item.id, snapshot.outline)
            tell("saved", study=study.id, **told)

        try:
            self._save(len(data or b"") + ROW_BYTES, write, item.file, data)
        except NotSaved as error:
            self.tell("not saved", kind=kind, why=str(error))
            raise
        return item

    def _save(
        self,
        needed: int,
        write: Callable[[Callable[..., None]], None],
        name: str | None = None,
        data: bytes | None = None,
    ) -> None:
        """Make room, write the picture, commit the row; all of it or nothing."""
        store, committing = self._store, False
        try:
            if needed:
                open_study = self._study.id if self._study else None
                lent = lent_bytes(store.folder)  # first: what an export writes in between must not count twice
                store.make_room(self.limits, open_study, needed, self._disk_usage(store.folder).free, lent)
            if name is not None:
                pictures.write(store.pictures, name, data)
            committing = True
            with store.change() as tell:
                write(tell)
        except NotSaved as error:
            self.refusing = str(error)
            raise
        except Failure as error:
            # After an I/O error in the commit nobody knows whether it holds; then the next start looks.
            unsure = committing and str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_IOERR")
            if name is not None and not unsure:
                with suppress(OSError):  # a card that fails altogether; what stays is swept at the next start
                    (store.pictures / name).unlink(missing_ok=True)
            raise self._failed(error) from error
        self.refusing = None
        self._settle()

    def _failed(self, error: OSError | sqlite3.Error) -> NotSaved:
        self.refusing = f"Not saved: {because(error)}; free room on the card or look after it, then save again."
        return NotSaved(self.refusing)

    def _settle(self) -> None:
        try:
            self._store.settle()
        except Failure as error:  # what was saved stays saved, and its entry stays due
            self._say(f"the audit log cannot be written now ({because(error)}); it is made up for later.")

    def state(self) -> dict[str, Any]:
        """For the page and the log: the open study, items in it, bytes used and free, why a save was refused."""
        with self._mutex:
            store, study = self._store, self._study
            try:
                items = len(database.items(store.connection, study.id)) if study else None
                used = database.used_bytes(store.connection)
                free = self._disk_usage(store.folder).free
            except Failure:
                items = used = free = None
            about = {"study": study.id if study else None, "items": items}
            about |= {"used_bytes": used, "max_bytes": self.limits.max_bytes, "free_bytes": free}
            return (
                about
                | {"reserve_bytes": self.limits.reserve_bytes, "refusing": self.refusing}
                | {"damaged": len(self.damaged), "audit_left_out": self._untold}
            )
