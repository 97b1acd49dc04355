"""What `busi-kd device capture` keeps: whole frames, or the region where one was asked for; and that it says which."""

from pathlib import Path

import cv2
import pytest
from screen_source import Drawn

from device import capture_cli, sources
from device.capture_cli import SessionWriter, record
from device.main import main
from device.region.screen import Screen

FIXED = "640x480+100+100@1920x1080"


@pytest.fixture
def grabber(monkeypatch: pytest.MonkeyPatch):
    """Three drawn screens in place of a grabber, below all that is made of one; in this process, for across processes
    the newest frame wins, and how many are left is chance."""
    monkeypatch.setattr(sources, "_kind", lambda *_: (Drawn, {"scenes": ["300:frozen:3"]}))
    monkeypatch.setattr(sources, "ProcessSource", lambda kind, **arguments: kind(**arguments))


def captured(tmp_path: Path, *more: str, region: str = "") -> int:
    config = tmp_path / "c.toml"
    config.write_text(f'[region]\nregions = "{tmp_path / "regions.json"}"\n{region}')
    return main(["device", "capture", "--config", str(config), "--source", "v4l2", "--out", str(tmp_path / "s"), *more])


def shapes(tmp_path: Path) -> list[tuple[int, ...]]:
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2] for path in sorted((tmp_path / "s").glob("*.png"))]


def test_whole_frames_of_a_grabber_are_kept_as_it_says(
    grabber, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert captured(tmp_path) == 0
    assert "Whole frames are kept" in capsys.readouterr().out
    assert shapes(tmp_path) == [(1080, 1920)] * 3


def test_of_a_region_that_was_asked_for_no_more_is_kept_and_it_says_so(
    grabber, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert captured(tmp_path, region=f'mode = "fixed"\nfixed = "{FIXED}"\n') == 0
    said = capsys.readouterr().out
    assert f"Only {FIXED} of each frame is kept" in said
    assert "Whole frames" not in said
    assert shapes(tmp_path) == [(480, 640)] * 3


def test_an_option_asks_for_a_region_too(grabber, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert captured(tmp_path, "--region", "auto") != 0, "nothing moves, so nothing is kept"
    said = capsys.readouterr().out
    assert "Only the ultrasound picture's region is kept" in said
    assert "left out, no region: drawn at 1920x1080" in said
    assert said.rstrip().endswith("ended: all scenes are over.")
    assert shapes(tmp_path) == []


def test_a_region_that_is_not_known_yet_does_not_end_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(capture_cli, "NO_DATA_S", 0.0)  # it would end with the first frame that does not come
    spec = {"source": "screen_source:Drawn", "arguments": {"scenes": ["300:sweep:45"]}}
    source = Screen(spec, None, str(tmp_path / "regions.json"))
    source.open()
    writer = SessionWriter(tmp_path / "s", 1 << 40, reserve=0)
    assert record(source, writer, None) == "all scenes are over"
    writer.close()
    assert 0 < writer.frames < 45
    assert max(shapes(tmp_path)) < (1080, 1920)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out, no region")]
    assert told
    assert len(told) == len(set(told)), "each reason once"
