"""A recorded session: written frame by frame, replayed as it came, and whole whatever happens."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import capture
from device.capture import session
from device.capture.phantom import PhantomSource
from device.capture.session import TIMES, SessionSource, read_times
from device.capture_cli import SessionWriter, record
from device.errors import UserError

ROOM = 1 << 40


def frame(number: int, at: float) -> capture.Frame:
    return capture.Frame(np.full((6, 8), number, np.uint8), number, at, f"frame {number}")


def written(folder: Path, times: list[float]) -> Path:
    writer = SessionWriter(folder, ROOM, reserve=0)
    for number, at in enumerate(times):
        assert writer.add(frame(number, at)) is None
    writer.close()
    return folder


def all_frames(source: SessionSource) -> list[capture.Frame]:
    source.open()
    found = []
    while True:
        try:
            found.append(source.grab(30.0))
        except capture.EndOfStream:
            return found


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.floats(0, 20), min_size=1, max_size=8))
def test_a_session_comes_back_as_it_was(steps: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    times = [1000.0 + float(t) for t in np.cumsum(steps)]
    folder = written(tmp_path_factory.mktemp("session") / "new", times)
    assert [recorded.at for recorded in read_times(folder)] == [t - times[0] for t in times]
    frames = all_frames(SessionSource(folder, fps=0))
    assert [int(f.pixels[0, 0]) for f in frames] == list(range(len(times)))
    assert [f.sequence for f in frames] == list(range(len(times)))


def test_frames_come_at_the_pace_at_which_they_were_captured(tmp_path: Path) -> None:
    source = SessionSource(written(tmp_path / "s", [5.0, 5.05, 5.3]))
    assert source.live
    frames = all_frames(source)
    gaps = np.diff([f.captured for f in frames])
    assert gaps[0] >= 0.04
    assert gaps[1] >= 0.2
    source.open()
    source.grab(1.0)
    source.grab(1.0)
    with pytest.raises(capture.NoData):
        source.grab(0.0)


def test_a_long_pause_is_cut_short(tmp_path: Path) -> None:
    frames = read_times(written(tmp_path / "s", [0.0, 1.0, 5000.0, 5001.0]))
    assert session._due(frames, None) == [0.0, 1.0, 1.0 + session.LONGEST_PAUSE_S, 2.0 + session.LONGEST_PAUSE_S]
    assert session._due(frames, 4.0) == [0.0, 0.25, 0.5, 0.75]


def test_it_begins_again_when_asked_to(tmp_path: Path) -> None:
    source = SessionSource(written(tmp_path / "s", [0.0, 0.001]), loop=True)
    source.open()
    assert [int(source.grab(5.0).pixels[0, 0]) for _ in range(5)] == [0, 1, 0, 1, 0]


def test_a_broken_picture_is_named_and_left_out(tmp_path: Path) -> None:
    source = SessionSource(written(tmp_path / "s", [0.0, 0.1, 0.2]), fps=0)
    (tmp_path / "s" / "000001.png").write_bytes(b"\x89PNG")
    source.open()
    source.grab(1.0)
    with pytest.raises(capture.Undecodable, match=r"000001\.png"):
        source.grab(1.0)
    assert int(source.grab(1.0).pixels[0, 0]) == 2


def test_a_line_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path / "s", [0.0, 0.1, 0.2])
    text = (folder / TIMES).read_bytes()
    for cut in range(1, 12):
        (folder / TIMES).write_bytes(text[:-cut])
        assert len(read_times(folder)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line is not"),
        ("captured_s,file\n", "holds no frame"),
        ("captured_s,file\n1.0,a.png\n0.5,b.png\n", "does not follow"),
        ("captured_s,file\n1.0,../a.png\n", "does not follow"),
        ("captured_s,file\nnan,a.png\n", "does not follow"),
        ("captured_s,file\n1.0\n", "is no row"),
        ("captured_s,file\nsoon,a.png\n", "is no row"),
    ],
)
def test_what_is_no_session_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / TIMES).write_text(text)
    with pytest.raises(UserError, match=said):
        SessionSource(tmp_path).open()


def test_a_folder_without_a_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        SessionSource(tmp_path / "none").open()


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=120), head=st.booleans())
def test_junk_is_refused_in_one_sentence(junk: bytes, head: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("junk")
    (folder / TIMES).write_bytes(b"captured_s,file\n" * head + junk)
    try:
        frames = read_times(folder)
    except UserError:
        return
    assert all(Path(one.file).name == one.file for one in frames)
    assert [one.at for one in frames] == sorted(one.at for one in frames)


def test_a_source_is_recorded_until_it_has_taken_its_bytes(tmp_path: Path) -> None:
    source = PhantomSource(fps=0)
    source.open()
    writer = SessionWriter(tmp_path / "s", max_bytes=400_000, reserve=0)
    assert "largest size" in record(source, writer, None)
    writer.close()
    pictures = sorted((tmp_path / "s").glob("*.png"))
    assert writer.frames == len(pictures) == len(read_times(tmp_path / "s"))
    assert sum(p.stat().st_size for p in pictures) <= 400_000
    original = PhantomSource(fps=0)
    original.open()
    for found in all_frames(SessionSource(tmp_path / "s", fps=0)):
        assert np.array_equal(found.pixels, original.grab(1.0).pixels), "nothing is lost in between"


def test_the_disks_reserve_is_kept(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", ROOM, reserve=ROOM << 10)
    assert "are free on its disk" in writer.add(frame(0, 0.0))
    writer.close()
    assert writer.frames == 0
    assert not list((tmp_path / "s").glob("*.png"))


def test_a_recording_ends_in_time(tmp_path: Path) -> None:
    source = PhantomSource(fps=0)
    source.open()
    writer = SessionWriter(tmp_path / "s", ROOM, reserve=0)
    assert record(source, writer, time.monotonic()) == "the duration asked for is over"
    writer.close()


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        SessionWriter(tmp_path, ROOM)
    with pytest.raises(UserError, match="cannot be written"):
        SessionWriter(tmp_path / "notes.txt" / "x", ROOM)
