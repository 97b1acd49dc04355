"""Whatever is done in whatever order, kills included: the store holds what was reported, the log says the same."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_things import ORIGIN, SUMMARY, Card, Clock, picture, snapshot

from device.store import AUDIT, NotSaved, database
from device.store.audit import AuditLog, entries
from device.store.bounds import Limits
from device.store.check import check
from device.store.export_zip import export_zip
from device.store.recorder import Recorder
from device.store.store import Store


class Machine(RuleBasedStateMachine):
    """A recorder with little room, its kills and its reader."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock, self.card = Clock(), Card(10**10)
        self.reported: dict[str, str] = {}  # item -> study
        self.exports = 0
        self.start()

    def start(self) -> None:
        audit = AuditLog(self.folder / "s" / AUDIT, self.clock, file_bytes=6000, files_kept=1000)
        limits = Limits(max_bytes=400_000, max_age_days=10, reserve_bytes=10**6, when_full="oldest")
        self.kept = Recorder(self.folder / "s", ORIGIN, limits, self.clock, self.card, lambda _: None, audit)
        assert self.kept.damaged == ()

    @rule()
    def kill(self) -> None:
        self.kept._open.close()  # nothing is ended or told
        self.start()

    @rule()
    def stop(self) -> None:
        self.kept.close()
        self.start()

    @rule(label=st.sampled_from(["", "left", "größe"]))
    def begin(self, label: str) -> None:
        try:
            self.kept.begin_study(label)
        except NotSaved:
            assert self.kept.refusing

    @rule()
    def end(self) -> None:
        self.kept.end_study()

    @rule(seed=st.integers(0, 9), height=st.sampled_from([1, 60, 300]), colour=st.booleans())
    def save(self, seed: int, height: int, colour: bool) -> None:
        self._report(lambda: self.kept.save_frame(picture(seed, height, 120, colour), snapshot(), True))

    @rule(pictured=st.booleans())
    def save_sweep(self, pictured: bool) -> None:
        picture_of_it = (picture(), snapshot(), True) if pictured else ()
        self._report(lambda: self.kept.save_sweep(self.kept.now(), SUMMARY, *picture_of_it))

    def _report(self, save) -> None:
        before = len(database.items(self.kept._store.connection))
        try:
            item = save()
        except NotSaved:
            assert len(database.items(self.kept._store.connection)) <= before
        else:
            self.reported[item.id] = item.study

    @rule(label=st.sampled_from(["benign", "malignant", "abstain"]))
    def show(self, label: str) -> None:
        self.kept.shown(snapshot(label))

    @rule(days=st.integers(1, 6))
    def wait(self, days: int) -> None:
        self.clock.move(days * 86400)

    @rule(free=st.sampled_from([0, 10**6 + 150_000, 10**10]))
    def fill_the_card(self, free: int) -> None:
        self.card.free = free

    @rule(data=st.data())
    def leave(self, data) -> None:
        """Another process exports or deletes a study that is not open."""
        store = Store(self.folder / "s", clock=self.clock)
        open_id = self.kept.study.id if self.kept.study else None
        closed = [one for one in database.studies(store.connection) if one.id != open_id]
        if closed:
            study = data.draw(st.sampled_from(closed))
            if data.draw(st.booleans()):
                self.exports += 1
                leaving = export_zip(store, study, self.folder / f"{self.exports}.zip")
                assert leaving.damaged == []
            else:
                store.delete(study, "asked for")
                store.settle()
        store.close()

    @invariant()
    def nothing_is_lost_or_half(self) -> None:
        store = self.kept._store
        store.settle()
        assert check(store).wrong == []
        log = [entry for _, entry in entries(store.audit.folder)]
        deleted = {entry["study"] for entry in log if entry["what"] == "deleted"}
        there = {item.id for item in database.items(store.connection)}
        assert there == {item for item, study in self.reported.items() if study not in deleted}
        on_disk = {path.relative_to(store.pictures).as_posix() for path in store.pictures.rglob("*") if path.is_file()}
        assert on_disk == {item.file for item in database.items(store.connection) if item.file}
        assert database.used_bytes(store.connection) <= 400_000
        told = [entry["change"] for entry in log if "change" in entry]
        assert told == sorted(set(told))

    def teardown(self) -> None:
        self.kept.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
