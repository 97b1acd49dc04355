"""The V4L2 source on the kernel's `uvcvideo`, before an emulated USB grabber that sends MJPEG (tests/vm/grabber.py)."""

import json
import os

import parts
import pytest
import virtual

pytestmark = [
    pytest.mark.skipif(os.environ.get(parts.OFF) == "1", reason=f"{parts.OFF}=1"),
    pytest.mark.timeout(1200),  # with the fetching, on a busy machine
]
GREY = {"coloured": 0.0, "low": 20, "high": 90}  # a dark picture with a lighter box, as guest_uvc.py paints it


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What came out of each scene of guest_uvc.py; one machine is booted for all of them."""
    answers = tmp_path_factory.mktemp("answers")
    virtual.prepare().run("guest_uvc.py", answers, ["uvcvideo", "vhci_hcd"])
    found = json.loads((answers / "uvc.json").read_text())
    assert "traceback" not in found, found["traceback"]
    return found


def test_mjpeg_comes_at_half_the_size_of_720p_in_full_range(told: dict) -> None:
    assert told["opened"] == ["MJPG", 1280, 720, False]
    assert told["plain"] == {"shape": [360, 640]} | GREY


def test_colour_is_told_beside_grey_pixels(told: dict) -> None:
    """The box is a third; its luma is 0.299 * 200 + 0.587 * 40 + 0.114 * 20 = 85.6."""
    assert told["colour"]["coloured"] == pytest.approx(1 / 3, abs=0.01)
    assert (told["colour"]["low"], told["colour"]["high"]) == (20, 86)


def test_a_cut_frame_is_left_out_and_one_without_tables_is_not(told: dict) -> None:
    assert told["cut off"] == {"state": "undecodable", "detail": "the frame's JPEG data are cut off"}
    assert told["without tables"] == told["plain"]


def test_frames_of_another_size_are_taken_up_by_opening_again(told: dict) -> None:
    assert told["another size"] == {"state": "changed", "detail": "frames are 640 x 480 now, not 1280 x 720"}
    assert told["taken up"] == {"shape": [240, 320]} | GREY


def test_silence_and_the_pulled_plug_have_their_names_and_a_new_plug_is_found(told: dict) -> None:
    assert told["silent"]["state"] == "no data"
    assert told["unplugged"]["state"] == "no device"
    assert told["unplugged"]["left"] == []  # closed any earlier, Linux 6.1 falls over its own feet (find.await_end)
    assert told["again"] == told["plain"]
