"""Bounds: what goes when there is no room, what never does, and that a refusal deletes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_things import MB, Clock, one_sentence, picture, recorder, snapshot

from device.page import leaving
from device.store import AUDIT, NotSaved, Stamp, database
from device.store.audit import entries
from device.store.bounds import Limits, Sized, make_room, may_go, too_old
from device.store.check import check
from device.store.database import Study
from device.store.recorder import Recorder
from device.store.store import Store

NOW = Clock()()


def _study(name: str, exported: bool = False, clock: bool | None = True, begun: str = NOW.iso) -> Study:
    at = begun if exported else None
    return Study(name, begun, 1.0, begun, None, clock, False, None, "m", "b", None, [], {}, "0", at)


def _made_room(*state) -> list[Sized] | str:
    """What goes, or why nothing does."""
    try:
        return make_room(*state)
    except NotSaved as refused:
        return str(refused)


SIZED = st.lists(st.builds(lambda exported, size: (exported, size), st.booleans(), st.integers(0, 50)), max_size=8).map(
    lambda drawn: [Sized(_study(f"s{i}", exported), size) for i, (exported, size) in enumerate(drawn)]
)


@given(
    found=SIZED,
    when_full=st.sampled_from(["refuse", "oldest"]),
    needed=st.integers(1, 60),
    free=st.integers(0, 300),
    lent=st.just(0) | st.integers(0, 300),
    open_one=st.none() | st.sampled_from(["s0", "s1", "s2"]),
)
def test_room_is_made_of_what_may_go_or_nothing_goes(found, when_full, needed, free, lent, open_one) -> None:
    limits = Limits(max_bytes=120, reserve_bytes=40, when_full=when_full)
    used = sum(one.bytes for one in found)
    most = sum(one.bytes for one in may_go(found, limits, open_one))
    chosen = _made_room(found, limits, open_one, needed, used, free, lent)
    if isinstance(chosen, str):
        assert one_sentence(chosen)
        by_export = "an export takes the last room" in chosen
        assert by_export == (used - most + needed <= 120 and free + lent + most - needed >= 40)
        assert not by_export or free < needed
        return
    gained = sum(one.bytes for one in chosen)
    assert used - gained + needed <= 120
    assert free + lent + gained - needed >= 40  # the reserve is left once every export has ended
    assert free + gained >= needed
    assert open_one not in {one.study.id for one in chosen}
    assert when_full == "oldest" or all(one.study.exported for one in chosen)
    # Exported ones first, the oldest first, and no more than are needed.
    assert chosen == may_go(found, limits, open_one)[: len(chosen)]
    if chosen:
        without = gained - chosen[-1].bytes
        assert used - without + needed > 120 or free + lent + without - needed < 40


@pytest.mark.parametrize("now", [True, False, None])
@pytest.mark.parametrize("then", [True, False, None])
def test_age_counts_only_where_both_clocks_are_known_to_be_set(now: bool | None, then: bool | None) -> None:
    clock = Clock()
    old = Sized(_study("old", True, then), 1)
    clock.move(91 * 86400)
    found = too_old([old], Limits(), Stamp(clock.now, 1.0, now), None)
    assert found == ([old] if now is True and then is True else [])


def test_age_spares_what_is_young_open_or_not_exported() -> None:
    clock = Clock()
    clock.move(91 * 86400)
    now = Stamp(clock.now, 1.0, True)
    young = Sized(_study("young", True, begun=now.iso), 1)
    old = Sized(_study("old", True), 1)
    kept = Sized(_study("kept"), 1)
    found = [old, kept, young]
    assert too_old(found, Limits(), now, None) == [old]
    assert too_old(found, Limits(), now, "old") == []
    assert too_old(found, Limits(when_full="oldest"), now, None) == [old, kept]
    assert too_old(found, Limits(max_age_days=None, when_full="oldest"), now, None) == []


@pytest.mark.parametrize(
    "wrong", [{"max_bytes": 0}, {"reserve_bytes": -1}, {"max_age_days": 0.0}, {"when_full": "newest"}]
)
def test_limits_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        Limits(**wrong)


def _save_until_refused(kept: Recorder, most: int = 60) -> tuple[int, str | None]:
    for number in range(most):
        try:
            kept.save_frame(picture(number, 200, 200), snapshot(), True)
        except NotSaved as refused:
            return number, str(refused)
    return most, None


def test_by_default_a_full_store_refuses_and_keeps_what_was_not_exported(tmp_path: Path) -> None:
    with recorder(tmp_path, max_bytes=MB) as kept:
        first = kept.begin_study()
        saved, why = _save_until_refused(kept)
        assert 10 < saved < 25
        assert why == (
            "Not saved: the studies have reached their bound of 1 MB, and no study that was exported is left to "
            "delete; export studies and delete them, or free room on the card."
        )
        kept.end_study()  # an end is never refused
        assert len(database.items(kept._store.connection, first.id)) == saved
        kept._store.mark_exported(first, "zip", None)
        kept.save_frame(picture(1, 200, 200), snapshot(), True)
        assert [study.id for study in database.studies(kept._store.connection)] == [kept.study.id]
        assert not (tmp_path / "pictures" / first.id).exists()
    deleted = [entry for _, entry in entries(tmp_path / AUDIT) if entry["what"] == "deleted"]
    assert [(entry["study"], entry["why"], entry["items"]) for entry in deleted] == [(first.id, "room", saved)]
    assert "not saved" in [entry["what"] for _, entry in entries(tmp_path / AUDIT)]


def test_oldest_lets_the_oldest_go_but_never_the_open_study(tmp_path: Path) -> None:
    with recorder(tmp_path, max_bytes=MB, when_full="oldest") as kept:
        studies = []
        for _ in range(6):
            studies.append(kept.begin_study().id)
            for number in range(4):
                kept.save_frame(picture(number, 200, 200), snapshot(), True)
            assert database.used_bytes(kept._store.connection) <= MB
        left = [study.id for study in database.studies(kept._store.connection)]
        assert left == studies[-len(left) :]
        assert 2 <= len(left) < 6
        saved, why = _save_until_refused(kept)
        assert "nothing may be deleted" in why
        assert [study.id for study in database.studies(kept._store.connection)] == studies[-1:]
        assert len(database.items(kept._store.connection)) == saved + 4
    store = Store(tmp_path)
    assert check(store).wrong == []
    store.close()


def test_the_reserve_of_the_card_is_never_touched(tmp_path: Path) -> None:
    with recorder(tmp_path, free=501 * MB) as kept:
        item = kept.save_frame(picture(), snapshot(), True)
        kept._disk_usage.free = 500 * MB
        with pytest.raises(NotSaved, match="only 500 MB are free and 500 MB of them stay in reserve"):
            kept.save_frame(picture(), snapshot(), True)
        assert database.items(kept._store.connection) == [item]
        # A card that others have filled: deleting all would not help, so nothing goes.
        kept._disk_usage.free = 10 * MB
        kept._store.mark_exported(kept.study, "zip", None)
        kept.end_study()
        with pytest.raises(NotSaved):
            kept.save_frame(picture(), snapshot(), True)
        assert database.items(kept._store.connection) == [item]


def test_a_running_export_refuses_no_save_and_costs_no_study(tmp_path: Path) -> None:
    """Its files take of the reserve until it has ended; what others have filled still counts."""
    with recorder(tmp_path, free=501 * MB) as kept:
        exported = kept.begin_study()
        kept.save_frame(picture(), snapshot(), True)
        kept.end_study()
        kept._store.mark_exported(exported, "zip", None)
        with leaving.room(tmp_path) as folder:
            (folder / "study.zip").write_bytes(b"1" * 300 * MB)
            kept._disk_usage.free = 201 * MB
            item = kept.save_frame(picture(), snapshot(), True)
            kept._disk_usage.free = 190 * MB
            with pytest.raises(NotSaved, match="only 190 MB are free"):
                kept.save_frame(picture(), snapshot(), True)
            kept._disk_usage.free = MB // 16
            (folder / "more.zip").write_bytes(b"1" * 300 * MB)
            with pytest.raises(NotSaved, match="an export takes the last room on the card; save again once it has"):
                kept.save_frame(picture(), snapshot(), True)
        kept._disk_usage.free = 500 * MB
        with pytest.raises(NotSaved, match="only 500 MB are free"):  # the export has ended
            kept.save_frame(picture(), snapshot(), True)
        assert [study.id for study in database.studies(kept._store.connection)] == [exported.id, kept.study.id]
        assert database.items(kept._store.connection, kept.study.id) == [item]


def test_old_exported_studies_go_when_something_is_saved(tmp_path: Path) -> None:
    clock = Clock()
    with recorder(tmp_path, clock=clock) as kept:
        old = kept.begin_study()
        kept.save_frame(picture(), snapshot(), True)
        kept.end_study()
        kept._store.mark_exported(old, "zip", None)
        clock.move(91 * 86400)
        kept.save_frame(picture(), snapshot(), True)
        assert [study.id for study in database.studies(kept._store.connection)] == [kept.study.id]
    deleted = [entry for _, entry in entries(tmp_path / AUDIT) if entry["what"] == "deleted"]
    assert [(entry["study"], entry["why"]) for entry in deleted] == [(old.id, "age")]


def test_a_study_is_read_back_with_every_unknown_as_none(tmp_path: Path) -> None:
    connection = database.open_database(tmp_path / "studies.sqlite", make=True)
    rows = [_study("a"), replace(_study("b", True, None), ended=None, boot="x", label="l", synthetic=False)]
    for row in rows:
        database.insert(connection, "studies", row)
    assert database.studies(connection) == rows
    connection.close()
