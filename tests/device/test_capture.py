"""Sources: what counts as a picture, in which order, at which pace, and how each way of failing is named."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import capture
from device.capture import pace
from device.capture.folder import FolderSource, list_pictures, natural_key
from device.capture.phantom import PhantomSource
from device.capture.video import VideoSource
from device.errors import UserError
from device.phantom_clip import PhantomClip


def picture(luma: int, shape: tuple[int, ...] = (20, 30)) -> np.ndarray:
    return np.full(shape, luma, np.uint8)


def write_pictures(folder: Path, names: list[str]) -> Path:
    """Pictures whose luma is 10 times their place in `names`."""
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), picture(10 * place))
    return folder


def write_video(path: Path, lumas: list[int], fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for luma in lumas:
        writer.write(picture(luma, (48, 64, 3)))
    writer.release()
    return path


def grab_all(source: capture.Source) -> tuple[list[capture.Frame], list[capture.CaptureError]]:
    """Every frame until the end of the stream, and the failures on the way, the end included."""
    frames, failures = [], []
    while not any(isinstance(failure, capture.EndOfStream) for failure in failures):
        try:
            frames.append(source.grab(10.0))
        except capture.CaptureError as failure:
            failures.append(failure)
    return frames, failures


def test_pictures_are_listed_in_natural_order_without_masks_and_hidden_files(tmp_path: Path) -> None:
    wanted = ["a/frame 2.png", "a/frame 10.png", "B/x.jpg", "b1.PNG"]
    masks = ["a/frame 2_mask.png", "a/frame 2_mask_1.png", "a/frame 2_mask2.png", "b1_MASK.PNG"]
    write_pictures(tmp_path, [*wanted, *masks, "._b1.png", ".trash/y.png"])
    (tmp_path / "notes.txt").write_text("no picture")
    assert list_pictures(tmp_path) == wanted


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8)))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    assert sorted(sorted(names, key=natural_key, reverse=True), key=natural_key) == sorted(names, key=natural_key)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_in_names_sort_as_numbers(numbers: list[int]) -> None:
    names = sorted((f"frame ({n}).png" for n in numbers), key=natural_key)
    assert names == [f"frame ({n}).png" for n in sorted(numbers)]


def test_a_folder_is_given_picture_by_picture_and_then_ends(tmp_path: Path) -> None:
    names = ["1.png", "2.png", "10.png"]
    source = FolderSource(write_pictures(tmp_path, names), fps=0)
    source.open()
    frames, failures = grab_all(source)
    source.close()
    assert [frame.name for frame in frames] == names
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert [int(frame.pixels[0, 0]) for frame in frames] == [0, 10, 20]
    assert [type(failure) for failure in failures] == [capture.EndOfStream]
    assert not source.live
    assert source.synthetic is None


def test_a_looping_folder_begins_again_and_names_a_broken_picture_once(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "3.png"])
    (tmp_path / "2.png").write_bytes(b"\x89PNG broken")
    source = FolderSource(tmp_path, fps=0, loop=True)
    source.open()
    seen = []
    for _ in range(7):
        try:
            seen.append(source.grab(10.0).name)
        except capture.Undecodable as failure:
            seen.append(failure)
    assert "2.png" in str(seen.pop(1))
    assert seen == ["1.png", "3.png"] * 3


def test_a_looping_folder_without_one_good_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    source = FolderSource(tmp_path, fps=0, loop=True)
    source.open()
    with pytest.raises(capture.Undecodable):
        source.grab(10.0)
    with pytest.raises(capture.Unsupported, match=r"no picture of .* decodes"):
        source.grab(10.0)


def test_a_folder_that_goes_away_is_no_device(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "stick", ["1.png", "2.png"])
    source = FolderSource(folder, fps=0)
    source.open()
    source.grab(10.0)
    shutil.rmtree(folder)
    with pytest.raises(capture.NoDevice, match="stick is gone"):
        source.grab(10.0)


def test_what_is_no_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    for folder, why in ((tmp_path / "absent", "no such folder"), (tmp_path, "no picture there")):
        with pytest.raises(UserError, match=why) as error:
            FolderSource(folder, fps=30).open()
        assert str(folder) in str(error.value)


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    lumas = [0, 60, 120, 180, 240]
    source = VideoSource(write_video(tmp_path / "clip.avi", lumas), fps=0)
    source.open()
    frames, failures = grab_all(source)
    source.close()
    assert [frame.name for frame in frames] == [f"clip.avi#{i}" for i in range(5)]
    assert frames[0].pixels.shape == (48, 64, 3)
    assert np.allclose([frame.pixels.mean() for frame in frames], lumas, atol=3)  # MJPG is not lossless
    assert "after 5" in str(failures[-1])
    assert "announces" not in str(failures[-1])


def test_a_video_loops_and_goes_on_counting(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "clip.avi", [20, 200]), fps=0, loop=True)
    source.open()
    frames = [source.grab(10.0) for _ in range(5)]
    source.close()
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.name for frame in frames] == [f"clip.avi#{i}" for i in (0, 1, 0, 1, 0)]
    assert [round(frame.pixels.mean() / 100) for frame in frames] == [0, 2, 0, 2, 0]


def test_a_video_that_is_cut_off_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", [0, 50, 100, 150, 200, 250]).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: whole.rindex(b"idx1") - 700])  # the header stays, some frames go
    source = VideoSource(cut, fps=0)
    source.open()
    frames, failures = grab_all(source)
    assert 0 < len(frames) < 6
    assert "announces 6" in str(failures[-1])


def test_what_is_no_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video " * 100)
    for path, why in ((text, "no video that can be decoded"), (tmp_path / "absent.avi", "no such video file")):
        with pytest.raises(UserError, match=why) as error:
            VideoSource(path).open()
        assert str(path) in str(error.value)
    assert capfd.readouterr() == ("", "")  # the libraries' own pages would bury the sentence


def test_the_phantom_is_marked_and_is_the_clip(tmp_path: Path) -> None:
    source = PhantomSource(fps=0, seed=3)
    source.open()
    frames = [source.grab(10.0) for _ in range(3)]
    source.close()
    source.open()
    frames.append(source.grab(10.0))
    assert source.synthetic is True
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    clip = PhantomClip(3, fps=30.0)
    assert all(np.array_equal(frame.pixels, clip.frame(i).image) for i, frame in enumerate(frames))


@pytest.mark.parametrize("fps", [-1.0, 0.5, 1000.0, float("nan"), float("inf")])
def test_a_pace_that_cannot_be_kept_is_refused(fps: float, tmp_path: Path) -> None:
    for make in (
        lambda: PhantomSource(fps),
        lambda: FolderSource(tmp_path, fps),
        lambda: VideoSource(tmp_path / "x.avi", fps),
    ):
        with pytest.raises(UserError, match="--fps is"):
            make()


class Clock:
    """Stands in for the module `time`: sleeping moves it on."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_frame_that_is_not_due_yet_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "time", Clock())
    for source in (
        PhantomSource(fps=1),
        FolderSource(write_pictures(tmp_path / "p", ["1.png", "2.png"]), fps=1),
        VideoSource(write_video(tmp_path / "clip.avi", [0, 1]), fps=1),
    ):
        assert source.live
        source.open()
        source.grab(10.0)
        with pytest.raises(capture.NoData):
            source.grab(0.0)
        source.close()


def test_the_pace_is_kept_and_lost_time_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    beat = pace.Pace(10.0)
    starts = []
    for work in (0.0, 0.04, 0.09, 0.0):
        assert beat.wait(1.0)
        starts.append(clock.now)
        clock.now += work
    assert np.allclose(np.diff(starts), 0.1)
    clock.now += 5.0  # the reader was held up for fifty frames
    clock.slept.clear()
    for _ in range(4):
        assert beat.wait(1.0)
    assert np.allclose(clock.slept, [0.1, 0.1, 0.1])  # the first of the four at once, then the pace is back
    assert not beat.wait(0.01)
    assert clock.slept[-1] == pytest.approx(0.01)
