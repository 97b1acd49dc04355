"""A source in a process of its own: what it gives, each way in which the process fails, and that it comes back."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from faulty_sources import Fast, Scripted, SlowToLoad
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import PATIENCE_S

from device import capture
from device.capture import process, pump
from device.capture.folder import FolderSource
from device.capture.process import Died, Hung, ProcessSource
from device.errors import UserError
from device.latest import Latest

ROOT = Path(__file__).parents[2]
HANG_S = process.HANG_S  # the real limit, for a source that hangs on purpose
LIMITS = ("OPEN_S", "HANG_S", "END_S", "DEAD_S")


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """A child that is only slow, on a busy machine, is waited for; a test of a limit sets that limit itself."""
    with pytest.MonkeyPatch.context() as patched:
        for name in LIMITS:
            patched.setattr(process, name, float(PATIENCE_S))
        yield


def grab(source: capture.Source) -> capture.Frame:
    """The next frame, however long it takes."""
    while True:
        try:
            return source.grab(PATIENCE_S)
        except capture.NoAnswer:
            continue


def failure(source: capture.Source, hangs: bool = False) -> capture.CaptureError:
    """What the next grab fails with. hangs: the source does not return any more, so the real limit ends it."""
    with pytest.MonkeyPatch.context() as patched:
        if hangs:
            patched.setattr(process, "HANG_S", HANG_S)
        with pytest.raises(capture.CaptureError) as caught:
            grab(source)
    return caught.value


def grabs(marker: Path) -> list[int]:
    """The number of the process that grabbed, for each grab so far."""
    return [int(line) for line in marker.read_text().split()] if marker.exists() else []


def test_frames_arrive_as_they_were_in_any_size_and_number_of_channels() -> None:
    source = ProcessSource(Scripted, script="12B3B")
    source.open()
    frames = [grab(source) for _ in range(5)]
    source.close()
    assert [frame.name for frame in frames] == ["step 1", "step 2", "step B", "step 3", "step B"]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.coloured for frame in frames] == [None, None, 0.25, None, 0.25]
    assert [frame.pixels.shape for frame in frames] == [(8, 6), (8, 6), (30, 40, 3), (8, 6), (30, 40, 3)]
    assert [int(frame.pixels.min()) for frame in frames] == [1, 2, 200, 3, 200], "kept ones are not written over"
    assert all(frame.pixels.min() == frame.pixels.max() for frame in frames)
    assert np.all(np.diff([frame.captured for frame in frames]) >= 0)


def test_a_folder_is_read_as_it_is_in_the_same_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (20 + number, 30), np.uint8))
    (tmp_path / "4b.png").write_bytes(b"\x89PNG and then nothing")
    inside, outside = FolderSource(tmp_path, 0), ProcessSource(FolderSource, folder=tmp_path, fps=0)
    assert (outside.description, outside.synthetic, outside.live) == (inside.description, None, False)
    said = []
    for source in (inside, outside):
        source.open()
        said.append([])
        while not (said[-1] and isinstance(said[-1][-1], capture.EndOfStream)):
            try:
                said[-1].append(grab(source))
            except capture.CaptureError as error:
                said[-1].append(error)
        source.close()
    for one, other in zip(*said, strict=True):
        if isinstance(one, capture.CaptureError):
            assert (type(one), str(one)) == (type(other), str(other))
        else:
            assert (one.name, one.sequence) == (other.name, other.sequence)
            assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("s", capture.NoSignal, "the cable was pulled"),
        ("n", capture.NoDevice, "it was unplugged"),
        ("", capture.EndOfStream, "the script is over"),
        ("k", Died, "has ended (signal 9)"),
        ("c", Died, "has ended (signal 11)"),
        ("x", Died, "has ended (status 7)"),
        ("h", Hung, "did not answer for 1.5 s; its process was killed"),
    ],
)
def test_each_failure_has_its_name_and_the_source_opens_again(script: str, kind: type, words: str) -> None:
    source = ProcessSource(Scripted, script=f"5{script}")
    for _ in range(2):
        source.open()
        assert grab(source).pixels[0, 0] == 5
        found = failure(source, hangs=kind is Hung)
        assert type(found) is kind
        assert words in str(found)
        source.close()
    assert grab_sequence(source) == 2, "the numbers go on"


@pytest.mark.parametrize(("script", "kept"), [("1s", True), ("1n", True), ("1", True), ("1k", False), ("1h", False)])
def test_a_process_whose_source_says_what_is_wrong_is_kept(script: str, kept: bool, tmp_path: Path) -> None:
    """A new one costs a Pi a second of its processor, every other second for as long as a cable is out."""
    marker = tmp_path / "grabs"
    source = ProcessSource(Scripted, script=script, marker=str(marker))
    for _ in range(3):
        source.open()
        assert grab(source).pixels[0, 0] == 1
        failure(source, hangs=script.endswith("h"))
        assert Path(f"{marker}.closed").exists() == kept, "what it holds is let go of at once"
    source.close()
    processes = set(grabs(marker))
    assert len(processes) == (1 if kept else 3)
    for number in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_one_that_gives_frames_is_not_opened_twice(tmp_path: Path) -> None:
    marker = tmp_path / "grabs"
    source = ProcessSource(Scripted, script="123", marker=str(marker))
    for _ in range(2):
        source.open()
        assert grab(source).pixels[0, 0] == 1
    source.close()
    assert len(set(grabs(marker))) == 2


def grab_sequence(source: ProcessSource) -> int:
    source.open()
    sequence = grab(source).sequence
    source.close()
    return sequence


@pytest.mark.parametrize(
    ("opening", "kind", "words"),
    [("r", UserError, "refused; give another script"), ("s", capture.NoSignal, "pulled"), ("k", Died, "signal 9")],
)
def test_an_opening_that_fails_says_so(opening: str, kind: type, words: str) -> None:
    source = ProcessSource(Scripted, script="1", opening=opening)
    with pytest.raises(kind, match=words):
        source.open()
    source.close()
    with pytest.raises(capture.NoDevice, match="is not open"):
        source.grab(0.1)


def test_an_opening_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OPEN_S", 1.0)
    source = ProcessSource(Scripted, script="1", opening="h")
    with pytest.raises(Hung, match="did not answer for 1 s"):
        source.open()
    source.close()


def test_a_process_that_is_slow_to_load_is_no_source_that_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An emulated Pi under load took longer for the imports alone than an opening may take, and never got a picture."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(process, "OPEN_S", 0.5)

    def let_it_load() -> None:
        with open(gate, "w"):  # from here on the process is there, and waits
            threading.Event().wait(1.0)  # twice as long as an opening may take
            monkeypatch.setattr(process, "OPEN_S", float(PATIENCE_S))  # the opening itself may be slow, too

    loading = threading.Thread(target=let_it_load, daemon=True)
    loading.start()
    source = ProcessSource(SlowToLoad, parent=os.getpid(), gate=str(gate), script="7")
    source.open()
    assert grab(source).pixels[0, 0] == 7
    source.close()
    loading.join()
    monkeypatch.setattr(process, "START_S", 0.1)
    with pytest.raises(Hung, match="did not answer"):
        source.open()
    source.close()


def test_what_is_no_failure_goes_on(tmp_path: Path) -> None:
    source = ProcessSource(Scripted, script="1u2d3")
    source.open()
    said = [grab(source), failure(source), grab(source), failure(source), grab(source)]
    source.close()
    assert [int(one.pixels[0, 0]) for one in said[::2]] == [1, 2, 3]
    assert [type(one) for one in said[1::2]] == [capture.Undecodable, capture.NoData]


def test_silence_is_not_knowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ProcessSource(Scripted, script="1h")
    source.open()
    grab(source)
    with pytest.raises(capture.NoAnswer):
        source.grab(0.05)
    monkeypatch.setattr(process, "END_S", 0.0)  # it hangs, and has nothing to close
    source.close()


def test_a_live_source_gives_the_newest_frame_and_counts_the_others() -> None:
    total = 20_000
    source = ProcessSource(Fast, frames=total)
    source.open()
    frames = []
    while True:
        try:
            frames.append(grab(source))
        except capture.EndOfStream:
            break
    source.close()
    numbers = [int(frame.name) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == total - 1, "the last is handed over before the end is told"
    assert len(frames) + source.skipped == total
    assert all(int(frame.pixels[0, 0]) == number % 251 for frame, number in zip(frames, numbers, strict=True))


def test_a_source_that_is_not_live_is_only_asked_for_what_is_wanted(tmp_path: Path) -> None:
    marker = tmp_path / "grabs"
    source = ProcessSource(Scripted, script="123", marker=str(marker))
    source.open()
    grab(source)
    source.close()
    assert len(grabs(marker)) == 1
    assert (tmp_path / "grabs.closed").exists(), "asked to end, it closes the source first"


def test_closing_ends_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    marker = tmp_path / "grabs"
    source = ProcessSource(Scripted, script="h", marker=str(marker))
    source.open()
    while not grabs(marker):
        with pytest.raises(capture.NoAnswer):
            source.grab(0.05)
    monkeypatch.setattr(process, "END_S", 0.1)
    source.close()
    with pytest.raises(ProcessLookupError):
        os.kill(grabs(marker)[0], 0)
    source.close()


def test_a_killed_parent_takes_the_child_with_it(tmp_path: Path) -> None:
    """Also one that hangs in a driver, and would never read that its parent is gone."""
    marker = tmp_path / "grabs"
    code = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from device.capture import NoAnswer, process
from faulty_sources import Scripted
process.HANG_S = {float(PATIENCE_S)}
source = process.ProcessSource(Scripted, script="1h", marker={str(marker)!r})
source.open(); source.grab(process.HANG_S)
while len(open({str(marker)!r}).readlines()) < 2:
    try:
        source.grab(0.05)
    except NoAnswer:
        pass
print("hangs", flush=True)
import time; time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "hangs\n"
        child = grabs(marker)[0]
        os.kill(child, 0)
        descriptor = os.pidfd_open(child)
        parent.kill()
    try:  # a pidfd can be read once its process has ended
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
    finally:
        os.close(descriptor)


@settings(max_examples=6, deadline=None)
@given(script=st.lists(st.sampled_from("1223uudBBskcxn"), min_size=4, max_size=14).map("".join))
def test_the_pump_comes_back_from_whatever_happens(script: str) -> None:
    """The capture thread over a source whose process fails at random: it always captures again."""
    said: list[str] = []
    slot: Latest[pump.Grabbed] = Latest()
    source = ProcessSource(Scripted, script=f"7{script}k", live=True)
    moving = pump.Pump(source, slot, said.append)
    moving.start()
    for _ in range(2):  # each opening begins with a frame of luma 7, and ends with a killed process
        while (found := slot.take(PATIENCE_S)) is not None and found.frame.pixels.flat[0] != 7:
            pass
        assert found is not None, said
    assert moving.stop(PATIENCE_S)
    assert moving.failure is None
