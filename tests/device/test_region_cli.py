"""`busi-kd device region`: a recording of a screen to a stored region, and each wrong turn said."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from screens import FPS, Screen, draw_layout

from device.main import main
from device.phantom import make_phantom
from device.preprocess import read_picture
from device.region import stored
from device.region.region import overlap, parse

PHANTOM = make_phantom("benign", 3, (384, 480)).image
NAME = "v4l2 MacroSilicon 534d:2109"


def screen(motion: str) -> Screen:
    return Screen(draw_layout(300), PHANTOM, motion, jpeg=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real MJPEG video of a drawn screen."""
    path, shown = tmp_path_factory.mktemp("recording") / "screen.avi", screen("sweep")
    size = shown.layout.width, shown.layout.height
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, size)
    for number in range(23):
        writer.write(cv2.cvtColor(shown.frame(number), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def run(*words: object) -> int:
    return main(["device", "region", *map(str, words)])


def test_found_stored_confirmed_shown_and_forgotten(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture
) -> None:
    regions, picture, truth = tmp_path / "r.json", tmp_path / "drawn.png", screen("sweep").region
    find = ("find", "--path", recording, "--fps", FPS, "--regions", regions)
    assert run(*find, "--source", NAME, "--picture", picture) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Research use only")
    assert "the whole screen, names included" in said[1]
    assert said[2].startswith("found: ")
    assert overlap(parse(said[2].split()[1].rstrip(",")), truth) > 0.85
    drawn = read_picture(picture)
    assert drawn.shape == (truth.frame_height, truth.frame_width, 3)
    assert (np.ptp(drawn, axis=2) > 100).any(), "the frame is drawn in colour"

    assert run("confirm", "--source", NAME, "--regions", regions) == 0
    assert [one.state for one in stored.load(regions).values()] == ["confirmed by hand"]
    assert next(iter(stored.load(regions).values())).signature is not None
    capsys.readouterr()
    assert run(*find, "--source", NAME) == 0
    assert "stays: it was given by hand" in capsys.readouterr().out
    assert run("show", "--regions", regions) == 0
    assert capsys.readouterr().out.endswith("confirmed by hand\n")
    assert run("clear", "--source", NAME, "--regions", regions) == 0
    assert run("show", "--regions", regions) == 0
    assert "no region is stored" in capsys.readouterr().out


def test_a_folder_of_a_frozen_screen_gives_a_proposal_that_is_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, regions = tmp_path / "frames", tmp_path / "r.json"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), screen("frozen").frame(0))
    (folder / "1b.png").write_bytes(b"broken")
    assert run("find", "--path", folder, "--source", NAME, "--regions", regions) == 0
    said = capsys.readouterr().out
    assert "proposal: " in said
    assert "is not stored" in said
    assert not regions.exists()


def test_a_region_set_by_hand_is_signed_by_a_picture_of_the_screen(tmp_path: Path) -> None:
    regions, frame, shown = tmp_path / "r.json", tmp_path / "frame.png", screen("held")
    cv2.imwrite(str(frame), shown.frame(0))
    assert run("set", "--source", NAME, shown.region, "--frame", frame, "--regions", regions) == 0
    one = next(iter(stored.load(regions).values()))
    assert (one.state, one.region) == ("set by hand", shown.region)
    assert one.still_valid(shown.frame(5))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("set", "--source", NAME, "640x480"), 2, "is no region"),
        (("set", "--source", " ", "64x64+0+0@64x64"), 2, "a source's name"),
        (("confirm", "--source", "x"), 2, "no region of 'x'"),
        (("clear", "--source", "x"), 2, "no region of 'x'"),
        (("find", "--path", "nowhere.avi"), 2, "no such video file"),
        (("find", "--path", ".", "--fps", "0"), 2, "--fps 0"),
        (("find", "--path", "black"), 3, "no region"),
        (("find", "--path", "mixed"), 2, "another size"),
        (("find", "--path", "broken"), 2, "no frame that decodes"),
        (("set", "--source", NAME, "64x64+0+0@1280x720", "--frame", "black/0.png"), 2, "the whole screen"),
    ],
)
def test_what_is_wrong_is_said(
    words: tuple,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, sizes in (("black", [(90, 160), (90, 160)]), ("mixed", [(90, 160), (90, 170)]), ("broken", [])):
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            cv2.imwrite(f"{name}/{number}.png", np.zeros(size, np.uint8))
    (tmp_path / "broken" / "0.png").write_bytes(b"broken")
    assert run(*words, "--regions", "r.json") == status
    assert said in capsys.readouterr().err
    assert not Path("r.json").exists()
