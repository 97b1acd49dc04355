"""What is made of a driver's word: which form, which range, which state, which device, and the EDID."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture import NoCable, NoData, NoDevice, NoSignal, NoSync, Unsupported, edid, find
from device.capture.choice import COSTS, RANGES, Offer, absence, choose_offer, is_limited
from device.capture.offers import frame_rate
from device.capture.process import ProcessSource
from device.capture.v4l2 import V4L2Source
from device.errors import UserError

LEAST = (224, 224)
# A 534d:2109 as sold: raw pictures are slow at its USB 2 port.
CHEAP = [
    *(Offer("MJPG", w, h, 30.0) for w, h in ((1920, 1080), (1280, 720), (1024, 768), (640, 480))),
    Offer("YUYV", 1920, 1080, 5.0),
    Offer("YUYV", 1280, 720, 10.0),
    Offer("YUYV", 640, 480, 30.0),
]
BRIDGE = [Offer(name, 1920, 1080, 30.0) for name in ("BGR3", "UYVY", "RGB3", "NV12")]


def test_a_cheap_grabber_gives_720p_in_mjpeg_and_a_bridge_the_format_with_a_plane_of_luma() -> None:
    assert choose_offer(CHEAP, LEAST) == Offer("MJPG", 1280, 720, 30.0)
    assert choose_offer(BRIDGE, LEAST) == Offer("NV12", 1920, 1080, 30.0)
    assert choose_offer(BRIDGE[:3], LEAST) == Offer("UYVY", 1920, 1080, 30.0)
    assert choose_offer([Offer("H264", 1920, 1080, 60.0), *BRIDGE[:1]], LEAST) == BRIDGE[0]


def test_the_order_of_what_counts() -> None:
    assert choose_offer(CHEAP, (800, 800)).height == 1080, "size before everything"
    assert choose_offer(CHEAP, (2000, 2000)).height == 1080, "too small for it: the largest"
    assert choose_offer(CHEAP, LEAST, fps=5) == Offer("YUYV", 1280, 720, 10.0), "fast enough, so the cheaper form"
    slow = [Offer("YUYV", 1920, 1080, 5.0), Offer("YUYV", 1280, 720, 10.0)]
    assert choose_offer(slow, LEAST).fps == 10, "none is fast enough: the fastest"
    assert choose_offer([Offer("YUYV", 640, 480), Offer("MJPG", 640, 480, 60.0)], LEAST).pixel_format == "YUYV", (
        "a rate that is not told is believed to do"
    )


def test_what_was_asked_for_is_taken_or_refused_with_what_there_is() -> None:
    assert choose_offer(CHEAP, LEAST, size=(640, 480)) == Offer("YUYV", 640, 480, 30.0)
    assert choose_offer(CHEAP, LEAST, size=(640, 480), pixel_format="MJPG") == Offer("MJPG", 640, 480, 30.0)
    with pytest.raises(Unsupported, match=r"offers no 800x600 NV12, only 1024x768 MJPG, .*640x480 YUYV"):
        choose_offer(CHEAP, LEAST, size=(800, 600), pixel_format="NV12")
    with pytest.raises(Unsupported, match="no format that can be read, only others"):
        choose_offer([Offer("H264", 1920, 1080)], LEAST)


@given(
    st.lists(
        st.builds(
            Offer,
            st.sampled_from(sorted(COSTS)),
            st.sampled_from((160, 640, 1280, 1920)),
            st.sampled_from((120, 480, 720, 1080)),
            st.sampled_from((0.0, 5.0, 30.0, 60.0)),
        ),
        min_size=1,
    )
)
def test_nothing_that_is_better_in_all_is_left_lying(offers: list[Offer]) -> None:
    chosen = choose_offer(offers, LEAST)
    assert chosen in offers
    if any(min(o.width, o.height) >= 224 for o in offers):
        assert min(chosen.width, chosen.height) >= 224
        fast = [o for o in offers if min(o.width, o.height) >= 224 and (o.fps == 0 or o.fps >= 24)]
        assert not fast or chosen in fast


@pytest.mark.parametrize(
    ("name", "colorspace", "quantization", "limited"),
    [
        ("YUYV", 1, 0, True),  # SMPTE 170M: YCbCr is limited by default
        ("NV12", 3, 0, True),
        ("YUYV", 7, 0, False),  # JPEG
        ("YUYV", 3, 1, False),
        ("RGB3", 8, 0, False),
        ("RGB3", 8, 2, True),  # a television's RGB
        ("GREY", 0, 0, False),
        ("MJPG", 7, 0, False),
        ("MJPG", 3, 2, False),  # JFIF knows no other
    ],
)
def test_the_range_follows_the_kernels_rule_unless_a_person_knows_better(
    name: str, colorspace: int, quantization: int, limited: bool
) -> None:
    assert is_limited(name, colorspace, quantization) is limited
    assert is_limited(name, colorspace, quantization, "limited")
    assert not is_limited(name, colorspace, quantization, "full")


@pytest.mark.parametrize(
    ("status", "timings", "powered", "kind"),
    [
        (0, None, None, None),
        (0, 0, True, None),
        (0, errno.ENODATA, None, None),
        (0, errno.ENOLINK, None, NoSignal),
        (0, errno.ENOLINK, True, NoSignal),
        (0x2, errno.ENOLINK, False, NoCable),
        (0x2, None, None, NoSignal),
        (0x1, None, False, NoCable),
        (0x2, errno.ENODATA, None, NoSignal),
        (0x2 | 0x10000, errno.ENOLCK, True, NoSync),
        (0x10000, 0, None, NoSync),
        (0x100, None, None, NoSync),
        (0, errno.ERANGE, True, Unsupported),
        (0x4 | 0x10 | 0x20, 0, True, None),  # no colour, flipped: still a picture
    ],
)
def test_an_inputs_word_becomes_a_state(status: int, timings: int | None, powered: bool | None, kind: type) -> None:
    found = absence(status, timings, powered)
    assert found is None if kind is None else type(found) is kind


def test_the_states_cross_from_process_to_process_by_their_names() -> None:
    from device.capture.process import _STATES

    for kind in (NoCable, NoSync, NoSignal, Unsupported, NoDevice, NoData):
        assert _STATES[kind.state] is kind


def test_the_rate_of_timings_counts_the_blanking() -> None:
    from linuxpy.video import raw

    hd = raw.v4l2_bt_timings(width=1280, height=720, pixelclock=74_250_000, hfrontporch=110, hsync=40, hbackporch=220)
    assert frame_rate(hd) == pytest.approx(62.5)  # without lines of blanking
    hd.vfrontporch, hd.vsync, hd.vbackporch = 5, 5, 20
    assert frame_rate(hd) == pytest.approx(60.0)
    assert frame_rate(raw.v4l2_bt_timings()) == 0


def test_the_edid_is_two_whole_blocks_that_say_hdmi() -> None:
    """Golden: the timings as televisions have them in their EDID, and HDMI's identifier 00-0C-03."""
    whole = edid.default_edid()
    assert len(whole) == 256
    assert [sum(block) % 256 for block in (whole[:128], whole[128:])] == [0, 0]
    assert whole[:8].hex() == "00ffffffffffff00"
    assert whole[126] == 1
    assert whole[54:66].hex(" ") == "01 1d 00 72 51 d0 1e 20 6e 28 55 00"
    assert whole[72:84].hex(" ") == "01 1d 80 18 71 38 2d 40 58 2c 45 00"
    assert whole[128:130] == b"\x02\x03"
    timings = 128 + whole[130]
    assert whole[timings : timings + 18] == whole[54:72]
    blocks, at = {}, 132
    while at < timings:
        length = whole[at] & 31
        blocks[whole[at] >> 5] = whole[at + 1 : at + 1 + length]
        at += 1 + length
    assert at == timings
    assert {code & 127 for code in blocks[2]} == set(edid.VIDEO_CODES)
    assert blocks[3] == bytes.fromhex("030c001000")


@given(st.binary(min_size=127, max_size=127))
def test_a_checksum_makes_any_block_add_up(block: bytes) -> None:
    assert (sum(block) + edid.checksum(block)) % 256 == 0


def test_what_a_person_can_mend_is_refused_before_anything_is_opened() -> None:
    for arguments, said in (
        ({"range": "studio"}, "'studio': give one of auto, full, limited"),
        ({"pixel_format": "H264"}, "'H264': give one of GREY"),
        ({"fps": 0}, "a grabber has a pace of its own"),
        ({"fps": 1000}, "give 1 to 240"),
    ):
        with pytest.raises(UserError, match=said):
            V4L2Source(**arguments)
    assert RANGES[0] == "auto"


def test_linuxpy_is_loaded_only_when_a_device_is_opened() -> None:
    code = "import sys, device.capture.v4l2 as v; v.V4L2Source(); print([m for m in sys.modules if 'linuxpy' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_path_that_is_no_grabber_is_named(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    with pytest.raises(NoDevice, match=f"{file} is not there"):
        V4L2Source(str(file)).open()
    file.touch()
    with pytest.raises(UserError, match=f"{file}: it is no device"):
        V4L2Source(str(file)).open()
    with pytest.raises(UserError, match="/dev/null: it is no V4L2 device"):
        V4L2Source("/dev/null").open()
    if os.getuid() == 0:
        return  # nothing is forbidden to root
    with pytest.raises(UserError, match="the group 'video'"):
        V4L2Source("/dev/mem").open()


def test_nothing_that_captures_is_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "DEV", tmp_path)
    for name in ("video10", "video2", "video", "videox", "v4l-touch0"):
        (tmp_path / name).symlink_to("/dev/null")
    assert find.nodes() == [f"{tmp_path}/video2", f"{tmp_path}/video10"]
    source = V4L2Source()
    with pytest.raises(NoDevice, match="no grabber is plugged in"):
        source.open()
    with pytest.raises(NoDevice, match="not open"):
        source.grab(0)
    source.close()


def test_a_device_that_is_not_there_is_told_across_the_process() -> None:
    source = ProcessSource(V4L2Source, device="/dev/video987", least=(240, 320), size=(640, 480))
    try:
        with pytest.raises(NoDevice, match="/dev/video987 is not there"):
            source.open()
    finally:
        source.close()
    assert (source.live, source.synthetic, source.description) == (True, None, "v4l2 /dev/video987")
