"""What a run keeps: each frozen picture once, marked sweeps, and a daemon that judges on when nothing can be kept."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import PATIENCE_S
from store_things import MB, ORIGIN, Card, Clock, Usage, picture, snapshot

from device.bundle import Bundle, load_bundle
from device.capture import Frame
from device.capture.pump import Signal
from device.config.settings import Settings
from device.judge import Judge
from device.keep import Keeper, cut_by_hand, open_keeper
from device.over_time import OverTime
from device.phantom import make_phantom
from device.runtime import open_bundle
from device.store import NotSaved, database
from device.store.background import Background
from device.store.bounds import Limits
from device.store.check import check
from device.store.recorder import Recorder
from device.store.store import Store

ROOT = Path(__file__).parents[2]
REGION = "640x480+0+0@1280x720"


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "int8-full")


def wanted(folder: Path, **changes: object) -> Settings:
    settings = Settings()
    return replace(
        settings, recorder=replace(settings.recorder, enabled=True, folder=folder, reserve_bytes=0, **changes)
    )


def keeper(folder: Path, bundle: Bundle, said: list[str]) -> Keeper:
    kept = open_keeper(wanted(folder), bundle, False, OverTime())
    kept._say = said.append
    return kept


def items(folder: Path) -> list[database.Item]:
    """All that is kept; what is damaged fails."""
    store = Store(folder, make=False)
    try:
        assert not check(store).wrong
        studies = database.studies(store.connection)
        return [item for study in studies for item in database.items(store.connection, study.id)]
    finally:
        store.close()


def frame(number: int, kind: int, **about: object) -> Frame:
    """At 10 frames a second; the same kind is the same picture."""
    pixels = make_phantom("benign", kind, (96, 128)).image
    return Frame(pixels, number, 100 + number / 10, "Mrs Example.png", **about)


def play(kept: Keeper, bundle: Bundle, frames: list[Frame]) -> None:
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime(), assess_s=None)
    for one in frames:
        kept.judged(one, judge.judge(one, one.captured, one.captured))


@settings(max_examples=12, deadline=None)
@given(runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=6))
def test_each_frozen_picture_is_saved_once(
    runs: list[tuple[int, int]], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kept") / "studies"
    kinds = [kind for kind, count in runs for _ in range(count)]
    kept = keeper(folder, bundle, [])
    play(kept, bundle, [frame(number, kind) for number, kind in enumerate(kinds)])
    kept.close()
    lengths = [len(list(group)) for _, group in itertools.groupby(kinds)]
    # Frozen after half a second: the sixth frame of the same picture at ten a second.
    assert kept.saved == sum(length >= 6 for length in lengths)
    assert kept.refused == 0
    if kept.saved:
        found = items(folder)
        assert [item.scene for item in found] == ["still"] * kept.saved
        assert not any("Example" in str(item) for item in found), "a file's name may hold a patient's"


def test_a_marked_sweep_is_saved_with_its_most_suspicious_picture(bundle: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    kept = keeper(tmp_path / "s", bundle, said)
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime(half_life_s=0), assess_s=None)
    moving = [frame(number, number % 5) for number in range(15)]
    malignant = []
    for number, one in enumerate(moving):
        snapshot = judge.judge(one, 0, 0)
        if number == 2:
            kept.mark()
        kept.judged(one, snapshot)
        if number >= 2:
            malignant.append((snapshot.belief.verdict.probabilities["malignant"], one.sequence))
    kept.mark()
    kept.signal(Signal("no signal", "pulled"))
    kept.close()
    (item,) = items(tmp_path / "s")
    assert (item.kind, item.sequence) == ("sweep", max(malignant, key=lambda pair: pair[0])[1])
    assert sum(item.sweep["frames"].values()) == 13
    assert said[0].startswith("recorder: a sweep has begun")
    assert "sweep saved as number 1" in said[1]


def test_a_sweep_that_is_open_at_the_end_is_saved(bundle: Bundle, tmp_path: Path) -> None:
    kept = keeper(tmp_path / "s", bundle, [])
    kept.mark()
    play(kept, bundle, [frame(0, 1)])
    kept.close()
    assert [item.kind for item in items(tmp_path / "s")] == ["sweep"]


def test_what_cannot_be_saved_is_said_and_counted(bundle: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    kept = open_keeper(full(tmp_path / "s"), bundle, False, OverTime())
    kept._say = said.append
    play(kept, bundle, [frame(number, 1) for number in range(8)])
    kept.close()
    assert (kept.saved, kept.refused) == (0, 1)
    assert "NOT SAVED" in said[0]


def on_a_card(folder: Path, card, clock: Clock | None = None, said: list[str] | None = None) -> Keeper:
    """A keeper of its own card and clock. card: as shutil.disk_usage."""
    recorder = Recorder(folder, ORIGIN, Limits(reserve_bytes=MB), clock or Clock(), card, lambda _: None)
    return Keeper(Background(recorder), [].append if said is None else said.append)


SEEN = Frame(picture(), 1, 99.5, "one"), snapshot()


def test_a_sweep_that_the_card_refuses_is_kept_until_it_is_saved(tmp_path: Path) -> None:
    card, clock, said = Card(10_000 * MB), Clock(), []
    kept = on_a_card(tmp_path / "s", card, clock, said)
    now = kept._kept.recorder.now
    before = now().iso
    assert kept.mark()[0]
    begun_by = now().iso
    kept.judged(*SEEN)
    card.free = 0
    with pytest.raises(NotSaved, match="free"):
        kept.mark()[1].result(PATIENCE_S)
    assert kept.sweep_state() == {"running": True, "frames": 1}, "the page must not say that it is over and saved"
    assert said[-1].endswith("It is kept while the daemon runs; mark again to save it.")
    kept.judged(*SEEN)  # an hour goes by: what is seen now is not of this sweep
    clock.move(3600)
    card.free = 10_000 * MB
    running, future = kept.mark()
    item = future.result(PATIENCE_S)
    assert (running, item.kind, sum(item.sweep["frames"].values())) == (False, "sweep", 1)
    assert before < item.sweep_begun < begun_by, "its own beginning"
    assert kept.sweep_state() == {"running": False, "frames": None}
    assert kept.mark()[0], "the next one"
    assert kept.mark()[1].result(PATIENCE_S).sweep_begun > item.saved, "with a beginning of its own"
    kept.close()
    assert [one.kind for one in items(tmp_path / "s")] == ["sweep"] * 2


@pytest.mark.parametrize("how", ["another label", "end"])
def test_a_sweep_outlasts_the_study_in_which_it_began(tmp_path: Path, how: str) -> None:
    kept = on_a_card(tmp_path / "s", Card(10_000 * MB))
    first = kept.save(*SEEN, "first").result(PATIENCE_S)
    kept.mark()
    kept.judged(*SEEN)
    if how == "end":
        kept.end().result(PATIENCE_S)
    else:
        second = kept.save(*SEEN, "second").result(PATIENCE_S)
    assert kept.sweep_state() == {"running": True, "frames": 1}
    item = kept.mark()[1].result(PATIENCE_S)
    assert (item.kind, sum(item.sweep["frames"].values())) == ("sweep", 1)
    assert item.study != first.study
    assert how == "end" or item.study == second.study
    assert item.sweep_begun < item.saved
    kept.close()
    assert item in items(tmp_path / "s")


def test_no_sweep_begins_while_the_one_before_is_being_saved(tmp_path: Path) -> None:
    at_it, gate = threading.Event(), threading.Event()

    def slow_card(_: Path) -> Usage:
        at_it.set()
        assert gate.wait(PATIENCE_S)
        return Usage(10_000 * MB, 0, 10_000 * MB)

    said: list[str] = []
    gate.set()
    kept = on_a_card(tmp_path / "s", slow_card, said=said)
    kept.mark()
    gate.clear()
    at_it.clear()
    ending = kept.mark()[1]
    assert at_it.wait(PATIENCE_S)
    running, refused = kept.mark()
    assert not running
    with pytest.raises(NotSaved, match="still being saved; mark again"):
        refused.result(PATIENCE_S)
    assert "no sweep has begun" in said[-1]
    gate.set()
    assert ending.result(PATIENCE_S).kind == "sweep"
    kept.close()
    assert len(items(tmp_path / "s")) == 1


def full(folder: Path) -> Settings:
    settings = wanted(folder)
    return replace(settings, recorder=replace(settings.recorder, reserve_bytes=1 << 60))


def test_only_what_a_hand_has_cut_counts_as_free_of_names() -> None:
    assert not cut_by_hand(frame(0, 0))
    assert not cut_by_hand(frame(0, 0, region=REGION))
    assert cut_by_hand(frame(0, 0, region=REGION, region_by_hand=True))


def test_a_store_that_cannot_be_opened_does_not_keep_from_judging(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert open_keeper(wanted(tmp_path / "file" / "s"), bundle, False, OverTime()) is None
    assert "recorder: OFF, nothing will be saved:" in capsys.readouterr().out
    assert open_keeper(Settings(), bundle, False, OverTime()) is None
    assert capsys.readouterr().out == ""


def test_a_running_daemon_saves_and_is_marked_by_a_signal(bundle: Bundle, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "frozen.png"), np.tile(make_phantom("benign", 1, (96, 128)).image, (2, 2)))
    config = tmp_path / "c.toml"
    config.write_text(
        f'[source]\nkind = "folder"\npath = "{pictures}"\nfps = "10 fps"\nloop = true\n'
        f'[recorder]\nenabled = true\nfolder = "{tmp_path / "s"}"\nreserve = "1 MB"\n'
    )
    command = [sys.executable, "-m", "device.main", "device", "run", "--config", str(config)]
    command += ["--bundle", str(bundle.folder), "--allow-unsigned"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:

        def wait_for(words: str) -> None:
            for line in process.stdout:
                if words in line:
                    return
            pytest.fail(f"the daemon ended without saying {words!r}")

        wait_for("signal: waiting -> ok")
        process.send_signal(signal.SIGUSR1)
        wait_for("a sweep has begun")
        process.send_signal(signal.SIGUSR1)
        wait_for("sweep saved as number")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert "sweep" in [item.kind for item in items(tmp_path / "s")]
