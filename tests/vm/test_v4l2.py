"""The V4L2 source on a real kernel driver: Debian's arm64 kernel in a virtual machine, with the grabber `vivid`.

vivid plays an HDMI input with timings, events and an EDID; its cable and its plug are controls. guest_v4l2.py plays the
scenes in the machine, once for all these tests.
"""

import itertools
import json
import os

import parts
import pytest
import virtual

from device.capture import edid

pytestmark = [
    pytest.mark.skipif(os.environ.get(parts.OFF) == "1", reason=f"{parts.OFF}=1"),
    pytest.mark.timeout(1200),  # with the fetching, on a busy machine
]
NO_SIGNAL, NO_LOCK, OUT_OF_RANGE = 1, 2, 3
STATES = {NO_SIGNAL: "no cable", NO_LOCK: "no sync", OUT_OF_RANGE: "unsupported"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What came out of each scene; one machine is booted for all of them."""
    answers = tmp_path_factory.mktemp("answers")
    virtual.prepare().run("guest_v4l2.py", answers, ["vivid"])
    lines = map(json.loads, (answers / "v4l2.jsonl").read_text().splitlines())
    return {line["scene"]: line["told"] for line in lines}


def played(scenes: dict[str, dict], name: str) -> dict:
    told = scenes[name]
    assert "traceback" not in told, told["traceback"]
    return told


@pytest.mark.parametrize("name", ["NV12", "NV21", "YUYV", "UYVY"])
def test_ycbcr_of_a_driver_is_limited_and_is_spread(scenes: dict, name: str) -> None:
    """vivid paints 16 and 234, and calls it limited; BT.601's red is 81, and (81 - 16) * 255 / 219 is 76."""
    found = played(scenes, "formats")
    assert found[f"{name} full"]["black"] == [16, 16, 0.0]
    assert found[f"{name} full"]["white"] == [234, 234, 0.0]
    assert found[f"{name} auto"]["black"] == [0, 0, 0.0]
    assert found[f"{name} auto"]["white"] == [254, 254, 0.0]
    for range_, level in (("full", 81), ("auto", 76)):
        low, high, coloured = found[f"{name} {range_}"]["red"]
        assert abs(low - level) <= 1
        assert (high, coloured) == (low, 1.0)


@pytest.mark.parametrize("name", ["GREY", "RGB3", "BGR3"])
def test_rgb_and_grey_of_a_driver_are_full_already(scenes: dict, name: str) -> None:
    found = played(scenes, "formats")
    assert found[f"{name} auto"] == found[f"{name} full"]
    assert found[f"{name} auto"]["black"] == [0, 0, 0.0]
    assert found[f"{name} auto"]["white"][0] >= 254
    assert found[f"{name} auto"]["red"] == ([54, 54, 0.0] if name == "GREY" else [76, 76, 1.0])


def test_the_cheapest_format_is_chosen_and_frames_carry_the_drivers_time(scenes: dict) -> None:
    told = played(scenes, "choice")
    assert told["format"] == "GREY"
    assert told["sequence"] == [0, 1, 2, 3]
    times = [*told["captured"], told["now"]]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


@pytest.mark.parametrize("kind", ["signal", "silent"])
@pytest.mark.parametrize("mode", STATES)
def test_a_lost_signal_has_its_name_and_comes_back(scenes: dict, kind: str, mode: int) -> None:
    """silent: the driver sends no event, and goes on with frames of noise."""
    told = played(scenes, f"{kind} {mode}")
    assert told["state"] == STATES[mode]
    assert told["again"].startswith(f"{STATES[mode]}: "), "opened again, it says the same"
    assert (told["back"], told["shape"]) == ("ok", [480, 640])


def test_another_mode_of_the_scanner_is_taken_up(scenes: dict) -> None:
    told = played(scenes, "resized")
    assert (told["state"], told["detail"]) == ("changed", "the source sends 1280 x 720 now, not 640 x 480")
    assert told["again"] == "ok"
    assert [told[when] for when in ("before", "after", "small")] == [[480, 640], [360, 640], [480, 640]]


def test_a_marked_buffer_is_one_broken_frame_and_a_dead_queue_is_opened_again(scenes: dict) -> None:
    told = played(scenes, "broken")
    assert "marks the frame as broken" in told["marked"]
    assert told["goes_on"] == [480, 640]
    assert (told["state"], told["again"]) == ("failed", "ok")
    assert "Input/output error" in told["detail"]


def test_who_comes_second_is_told_that_the_device_is_busy(scenes: dict) -> None:
    told = played(scenes, "busy")
    assert told["second"] == "busy: /dev/video0 is held by another program"
    assert (told["first"], told["then"]) == ([480, 640], "ok")


def test_a_bridge_without_an_edid_is_given_one_and_its_own_is_left_alone(scenes: dict) -> None:
    told = played(scenes, "identity")
    assert told["own"] == 256
    assert told["kept"]
    assert (told["bare"], told["open"]) == ("", "ok")
    given, ours = bytearray.fromhex(told["given"]), bytearray(edid.default_edid())
    at = ours.index(b"\x03\x0c\x00") + 3  # vivid puts the physical address of its own CEC bus into it
    for block in (given, ours):
        assert sum(block[128:]) % 256 == 0
        block[at : at + 2] = bytes(2)
        block[255] = 0
    assert given == ours
    assert told["by_command"] == told["given"]  # busi-kd device edid, by the same driver
    one, other = "shows an EDID of its own of 256 bytes, which stays", "shows busi-kd's EDID of 256 bytes now"
    for said, what in zip(
        told["said"], (one, other, other), strict=True
    ):  # its own: vivid has altered what it was given
        assert said.startswith(f"/dev/video0: {what}. "), said


def test_other_nodes_of_the_same_driver_are_no_grabbers(scenes: dict) -> None:
    told = played(scenes, "others")
    assert {name.removeprefix("vivid-000-") for name in told} >= {"vid-out", "meta-cap", "vbi-out", "touch-cap"}
    assert all(said.startswith("refused: /dev/") for said in told.values())
    assert "it does not capture pictures" in told["vivid-000-vid-out"]
    assert "it offers only TD16" in told["vivid-000-touch-cap"]


def test_in_a_process_of_its_own_frames_colour_and_unplugging_are_told_across(scenes: dict) -> None:
    told = played(scenes, "in a process")
    assert (told["shape"], told["coloured"]) == ([480, 640], 1.0)
    assert (told["state"], told["detail"]) == ("no device", "/dev/v4l/by-id/usb-grabber-video-index0 is gone")
    gone = played(scenes, "unplugged")
    assert gone["auto"].startswith("no device: no grabber is plugged in")
    assert gone["link"].startswith("no device: /dev/v4l/by-id/")


def test_the_capture_thread_follows_cable_and_plug(scenes: dict) -> None:
    said = scenes["pumped"]
    assert isinstance(said, list), said
    states = ["waiting", "ok", "no cable", "ok", "no sync", "ok", "no device", "ok"]
    changes = [line.split(": ")[1] for line in said]
    assert changes == [f"{before} -> {after}" for before, after in itertools.pairwise(states)]


def test_a_replugged_grabber_is_found_under_its_new_number(scenes: dict) -> None:
    told = played(scenes, "replugged")
    assert (told["auto"], told["auto frame"]) == ("ok", "video7#0")
    assert told["link"] == "ok"
    assert told["old"].startswith("refused: /dev/video0: it does not capture")


def test_of_sizes_and_rates_the_cheapest_that_is_enough_is_taken(scenes: dict) -> None:
    told = played(scenes, "webcam")
    assert told["default"] == {"open": "ok", "shape": [360, 640], "format": "GREY"}
    assert told["large"] == {"open": "ok", "shape": [720, 1280], "format": "YUYV"}
    assert told["none"]["open"].startswith("unsupported: the device offers no 123x45, only 1280x720 BGR3")
