"""Of a machine's screen no more than the picture goes on: found, kept, given up, set by hand; nothing while unknown."""

from pathlib import Path

import numpy as np
import pytest
from screen_source import Drawn
from screens import draw_layout

from device import capture
from device.capture import EndOfStream, Frame, NoRegion
from device.capture.process import ProcessSource
from device.errors import UserError
from device.quality import COLOUR_SHARE
from device.region import stored
from device.region.region import Region, overlap, parse
from device.region.screen import Screen
from device.region.stored import Stored

SPEC = "screen_source:Drawn"
SAID = list[tuple[str, Frame | str]]


def screen(tmp_path: Path, *scenes: str, fixed: str | None = None, reduced: bool = False) -> Screen:
    spec = {"source": SPEC, "arguments": {"scenes": list(scenes), "reduced": reduced}}
    return Screen(spec, fixed, str(tmp_path / "regions.json"))


def play(source: Screen) -> SAID:
    """What came of each frame: ("frame", it) or ("no region", why)."""
    source.open()
    return rest(source)


def rest(source: Screen) -> SAID:
    """The same of the frames that are left."""
    said: SAID = []
    while True:
        try:
            said.append(step(source))
        except EndOfStream:
            return said


def step(source: Screen) -> tuple[str, Frame | str]:
    """The same of the next frame. Raises EndOfStream."""
    try:
        return "frame", source.grab(1.0)
    except NoRegion as error:
        return error.state, str(error)


def kinds(said: SAID) -> list[str]:
    return [kind for kind, _ in said]


def true_region(layout: int) -> Region:
    return Drawn([f"{layout}:sweep:1"]) and _drawn(layout).region


def _drawn(layout: int):
    from screens import Screen as DrawnScreen

    from device.phantom import make_phantom

    return DrawnScreen(draw_layout(layout), make_phantom("benign", 3, (384, 480)).image, jpeg=False)


@pytest.mark.parametrize("reduced", [False, True])
def test_nothing_goes_on_until_the_region_is_found_and_then_nothing_else(tmp_path: Path, reduced: bool) -> None:
    said = play(screen(tmp_path, "300:sweep:45", reduced=reduced))
    first = kinds(said).index("frame")
    assert set(kinds(said)[:first]) == {"no region"}
    assert set(kinds(said)[first:]) == {"frame"}
    assert "too little was seen yet" in said[first - 2][1]
    frame = said[-1][1]
    region = parse(frame.region)
    assert overlap(region, true_region(300)) > 0.85
    scale = 0.5 if reduced else 1.0
    assert frame.pixels.shape == pytest.approx((region.height * scale, region.width * scale), abs=3)
    assert frame.full is None, "what is left is the frame"
    # The menu is in colour, the picture is not.
    assert np.mean(frame.coloured) < COLOUR_SHARE
    (kept,) = stored.load(tmp_path / "regions.json").values()
    assert (str(kept.region), kept.state, kept.source) == (frame.region, "found", "drawn")


def test_it_is_known_at_once_the_next_time(tmp_path: Path) -> None:
    before = play(screen(tmp_path, "300:sweep:40"))[-1][1].region
    said = play(screen(tmp_path, "300:frozen:3"))
    assert kinds(said) == ["frame"] * 3
    assert said[0][1].region == before


def test_a_frozen_picture_is_no_guess(tmp_path: Path) -> None:
    said = play(screen(tmp_path, "300:frozen:40"))
    assert set(kinds(said)) == {"no region"}
    assert "move the probe" in said[-1][1]
    assert not (tmp_path / "regions.json").exists()


def test_one_that_was_found_gives_way_when_the_screen_is_another(tmp_path: Path) -> None:
    said = play(screen(tmp_path, "300:sweep:40", "304:sweep:60"))
    regions = [frame.region for kind, frame in said if kind == "frame"]
    assert len(set(regions)) == 2
    assert overlap(parse(regions[-1]), true_region(304)) > 0.8
    changed = kinds(said)[40:]
    # Two checks, a second apart, are let through; then nothing is until the new one is found.
    assert changed.index("no region") <= 11
    assert "no region" not in changed[len(changed) - changed[::-1].index("no region") :]


def test_a_screen_in_one_colour_is_no_other_layout(tmp_path: Path) -> None:
    said = play(screen(tmp_path, "300:sweep:40", "blank:0:30", "300:frozen:5"))
    assert kinds(said)[40:] == ["frame"] * 35, "what a grabber paints on loss is for device.quality"


def test_it_comes_back_with_its_screen(tmp_path: Path) -> None:
    said = play(screen(tmp_path, "300:sweep:40", "304:frozen:30", "300:frozen:12"))
    regions = [frame.region for kind, frame in said if kind == "frame"]
    assert len(set(regions)) == 1
    assert kinds(said)[60:70] == ["no region"] * 10
    assert kinds(said)[-1] == "frame"


def test_what_a_hand_has_set_is_taken_and_not_replaced(tmp_path: Path) -> None:
    whole = _drawn(300)
    region = true_region(300)
    by_hand = Stored("drawn", region, "set by hand").signed(whole.frame(0))
    stored.store(by_hand, tmp_path / "regions.json")
    said = play(screen(tmp_path, "300:sweep:10", "304:sweep:60", "300:sweep:10"))
    assert {frame.region for kind, frame in said if kind == "frame"} == {str(region)}
    assert kinds(said)[25:70] == ["no region"] * 45
    assert "set the region again" in said[60][1]
    assert kinds(said)[-1] == "frame"


def test_a_region_that_is_set_while_it_runs_is_taken_up(tmp_path: Path) -> None:
    source = screen(tmp_path, "300:frozen:30")
    source.open()
    with pytest.raises(NoRegion):
        source.grab(1.0)
    region = true_region(300)
    stored.store(Stored("drawn", region, "set by hand"), tmp_path / "regions.json")
    said = []
    while not said or said[-1] == "no region":
        try:
            said.append(source.grab(1.0).region)
        except NoRegion as error:
            said.append(error.state)
    assert said[-1] == str(region)
    assert len(said) <= 6, "within a second"


def test_a_region_that_is_cleared_while_it_runs_is_looked_for_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = tmp_path / "regions.json"
    wrong = Region(100, 500, 400, 300, 1920, 1080)
    stored.store(Stored("drawn", wrong, "set by hand"), regions)
    source = screen(tmp_path, "300:sweep:60")
    source.open()
    assert [source.grab(1.0).region for _ in range(12)] == [str(wrong)] * 12
    assert stored.clear(("drawn", 1920, 1080), regions)
    said = rest(source)
    assert kinds(said).index("no region") <= 5, "within a second"
    frames = [frame for kind, frame in said[kinds(said).index("no region") :] if kind == "frame"]
    assert frames
    assert {frame.region for frame in frames} == {str(one.region) for one in stored.load(regions).values()}
    assert overlap(parse(frames[0].region), true_region(300)) > 0.85
    assert not any(frame.region_by_hand for frame in frames), "no hand has looked at this one"
    assert capsys.readouterr().out.count("was cleared for drawn") == 1


def test_one_that_was_found_is_cleared_as_well(tmp_path: Path) -> None:
    regions = tmp_path / "regions.json"
    source = screen(tmp_path, "300:sweep:40", "300:frozen:12")
    source.open()
    said = [step(source) for _ in range(40)]
    assert said[-1][0] == "frame"
    regions.unlink()  # as an installer or a person would: no region is in a file that is not there
    said = rest(source)
    assert kinds(said)[-7:] == ["no region"] * 7
    assert not regions.exists()


def test_one_that_no_file_takes_is_not_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"source": SPEC, "arguments": {"scenes": ["300:sweep:45", "300:frozen:15"]}}
    source = Screen(spec, None, "/proc/regions.json")  # a folder in which nobody can write, root neither
    said = play(source)
    assert kinds(said)[45:] == ["frame"] * 15
    assert {frame.region_by_hand for _, frame in said[45:]} == {False}
    printed = capsys.readouterr().out
    assert printed.count("it is not kept over a restart") == 1
    assert "cleared" not in printed
    source.open()
    assert step(source)[0] == "frame", "nor when the source opens again"


def test_what_a_hand_sets_is_taken_up_at_each_size_of_frames(tmp_path: Path) -> None:
    regions = tmp_path / "regions.json"
    small, large = (Region(100, 100, 400, 300, width, height) for width, height in ((1280, 720), (1920, 1080)))
    for one in (small, large):
        stored.store(Stored("drawn", one, "set by hand"), regions)
    source = screen(tmp_path, *["301:frozen:1", "300:frozen:1"] * 12)
    source.open()
    assert [source.grab(1.0).region for _ in range(4)] == [str(small), str(large)] * 2
    new = [Region(200, 100, 400, 300, one.frame_width, one.frame_height) for one in (small, large)]
    for one in new:
        stored.store(Stored("drawn", one, "set by hand"), regions)
    assert [frame.region for _, frame in rest(source)[-2:]] == [str(one) for one in new]


def test_a_fixed_one_is_neither_looked_for_nor_kept(tmp_path: Path) -> None:
    region = true_region(300)
    said = play(screen(tmp_path, "300:frozen:3", fixed=str(region)))
    assert [frame.region for _, frame in said] == [str(region)] * 3
    assert not (tmp_path / "regions.json").exists()
    other = play(screen(tmp_path, "300:frozen:2", fixed="640x480+0+0@1920x1080"))
    assert kinds(other) in (["no region"] * 2, ["frame"] * 2)
    with pytest.raises(UserError, match="is no region"):
        screen(tmp_path, fixed="all of it")


def test_a_damaged_file_lets_nothing_through(tmp_path: Path) -> None:
    (tmp_path / "regions.json").write_text("{")
    said = play(screen(tmp_path, "300:sweep:40"))
    assert set(kinds(said)) == {"no region"}
    assert "is damaged" in said[-1][1]


def test_across_processes(tmp_path: Path) -> None:
    region = true_region(300)
    spec = {"source": SPEC, "arguments": {"scenes": ["300:frozen:2"]}}
    source = ProcessSource(Screen, source=spec, regions=str(tmp_path / "regions.json"))
    source.open()
    with pytest.raises(NoRegion, match="drawn at 1920x1080"):
        _grab(source)
    source.close()
    source = ProcessSource(Screen, source=spec, fixed=str(region), regions=str(tmp_path / "regions.json"))
    source.open()
    frame = _grab(source)
    source.close()
    assert frame.region == str(region)
    assert frame.pixels.shape == (region.height, region.width)
    assert frame.coloured == pytest.approx(0.0, abs=COLOUR_SHARE)


def _grab(source: ProcessSource) -> Frame:
    while True:
        try:
            return source.grab(60.0)
        except capture.NoAnswer:
            continue
