"""Buffers of V4L2 drivers -> luma and the share of colour: golden values, other libraries, damage, noise."""

import cv2
import numpy as np
import pytest
from grabber import without_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from device.capture import Undecodable, pixels
from device.capture.pixels import Layout, coloured_chroma, expansion, jpeg_size, picture, reduction
from device.phantom_clip import PhantomClip
from device.quality import COLOUR_SHARE, coloured_share

LEAST = (224, 224)
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]


def scene(height: int, width: int) -> np.ndarray:
    """A phantom in grey, (height, width) uint8, blown up to that size."""
    return cv2.resize(PhantomClip(3).frame(0).image, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(picture_: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", picture_, [*QUALITY, *options])[1].tobytes()


def padded(rows: np.ndarray, stride: int) -> bytes:
    """Lines (H, bytes) with rubbish behind each, as drivers leave it."""
    out = np.full((rows.shape[0], stride), 0xAB, np.uint8)
    out[:, : rows.shape[1]] = rows
    return out.tobytes()


def packed(name: str, luma: np.ndarray, blue: int, red: int) -> np.ndarray:
    """(lines, bytes) of a raw YCbCr format with this luma and one chroma all over."""
    height, width = luma.shape
    if name == "GREY":
        return luma
    if name in ("NV12", "NV21"):
        chroma = np.tile(np.uint8([blue, red] if name == "NV12" else [red, blue]), (height // 2, width // 2))
        return np.concatenate([luma, chroma])
    out = np.empty((height, width // 2, 4), np.uint8)
    at = "YUYV" if name == "YUYV" else "UYVY"
    y = (0, 2) if at == "YUYV" else (1, 3)
    out[..., y[0]], out[..., y[1]] = luma[:, 0::2], luma[:, 1::2]
    out[..., 1 - y[0]], out[..., 3 - y[0]] = blue, red
    return out.reshape(height, -1)


@pytest.mark.parametrize("name", ["GREY", "NV12", "NV21", "YUYV", "UYVY"])
@pytest.mark.parametrize("padding", [0, 64])
def test_luma_of_raw_formats_is_what_lies_in_them_and_padding_is_left_out(name: str, padding: int) -> None:
    luma = scene(48, 64)
    rows = packed(name, luma, 128, 128)
    stride = rows.shape[1] + padding
    found = picture(padded(rows, stride), Layout(name, 48, 64, stride if padding else 0), LEAST)
    np.testing.assert_array_equal(found.luma, luma)
    assert (found.coloured, found.size) == (0.0, (48, 64))


@pytest.mark.parametrize("name", ["GREY", "NV12", "YUYV", "UYVY"])
@pytest.mark.parametrize(
    ("size", "by"),
    [((720, 1280), 2), ((1080, 1920), 2), ((1440, 2560), 4), ((480, 640), 1), ((722, 1282), 2), ((721, 1282), 1)],
)
def test_large_raw_luma_is_the_means_of_its_squares_unless_the_whole_is_wanted(
    name: str, size: tuple[int, int], by: int
) -> None:
    if size[0] % 2 and name == "NV12":
        size, by = (722, 1282), 2  # its chroma has half the lines
    luma = scene(*size)
    data = packed(name, luma, 128, 128).tobytes()
    found = picture(data, Layout(name, *size), LEAST)
    means = luma.reshape(size[0] // by, by, size[1] // by, by).mean(axis=(1, 3))
    assert np.abs(found.luma - means).max() <= 0.5
    assert found.size == size
    np.testing.assert_array_equal(picture(data, Layout(name, *size), LEAST, full=True).luma, luma)


@pytest.mark.parametrize("name", ["NV12", "NV21", "YUYV", "UYVY"])
def test_blue_and_red_are_not_mixed_up(name: str) -> None:
    """By hand: Cb 148, Cr 141 is R 18.2, G -16.2, B 35.4 around luma, 51.6 apart; swapped 28.0, -18.7, 23.0."""
    luma = np.full((16, 16), 100, np.uint8)
    for blue, red, coloured in ((148, 141, 1.0), (141, 148, 0.0), (128, 150, 0.0), (150, 128, 0.0), (128, 152, 1.0)):
        found = picture(packed(name, luma, blue, red).tobytes(), Layout(name, 16, 16), LEAST)
        assert found.coloured == coloured, (blue, red)


def test_the_table_of_chroma_says_the_same_as_the_pixels_that_opencv_makes_of_it() -> None:
    """OpenCV's YCrCb is full-range BT.601; luma in the middle, where little is clipped."""
    blue, red = np.meshgrid(np.arange(80, 177, dtype=np.uint8), np.arange(80, 177, dtype=np.uint8))
    bgr = cv2.cvtColor(np.dstack([np.full_like(blue, 128), red, blue]), cv2.COLOR_YCrCb2BGR)
    said = coloured_chroma(False)[blue.astype(int) | red.astype(int) << 8]
    spread = np.ptp(bgr, axis=2).astype(int)
    sure = np.abs(spread - pixels.COLOUR_DIFFERENCE - 0.5) > 2  # OpenCV rounds each channel
    np.testing.assert_array_equal(said[sure], (spread > pixels.COLOUR_DIFFERENCE)[sure])
    assert said.any()
    assert not said.all()


@pytest.mark.parametrize("name", ["RGB3", "BGR3"])
def test_rgb_is_converted_in_the_right_order_of_channels(name: str) -> None:
    """BT.601: red 76, green 150, blue 29."""
    colours = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 200, 200]]])
    data = colours if name == "RGB3" else colours[..., ::-1]
    found = picture(padded(np.tile(data.reshape(1, -1), (8, 1)), 16), Layout(name, 8, 4, 16), LEAST)
    np.testing.assert_array_equal(found.luma, np.tile(np.uint8([[76, 150, 29, 200]]), (8, 1)))


def test_limited_range_is_spread_to_the_whole_one() -> None:
    """(Y - 16) * 255 / 219, by hand: 17 -> 1.16, 100 -> 97.81, 126 -> 128.08, 234 -> 253.84."""
    given_ = (0, 16, 17, 100, 126, 234, 235, 236, 255)
    assert [int(expansion()[level]) for level in given_] == [0, 0, 1, 98, 128, 254, 255, 255, 255]
    row = np.uint8([(*given_, 128)])
    for name in ("GREY", "NV12", "YUYV"):
        data = packed(name, np.repeat(row, 2, axis=0), 128, 128).tobytes()
        found = picture(data, Layout(name, 2, 10, limited=True), LEAST)
        assert found.luma[0].tolist() == [0, 0, 1, 98, 128, 254, 255, 255, 255, 130]
        np.testing.assert_array_equal(picture(data, Layout(name, 2, 10), LEAST).luma[0], row[0])


@given(level=st.integers(16, 235))
def test_a_source_that_was_squeezed_comes_back(level: int) -> None:
    squeezed = round(level * 219 / 255 + 16)
    assert abs(int(expansion()[squeezed]) - level) <= 1


@pytest.mark.parametrize("name", pixels.RAW)
def test_a_raw_buffer_that_is_short_is_refused_and_a_longer_one_is_taken(name: str) -> None:
    layout = Layout(name, 10, 12, 40)
    whole = 40 * (15 if name in ("NV12", "NV21") else 10)
    for length in (0, 1, whole - 1):
        with pytest.raises(Undecodable, match=f"has {length} bytes, fewer than the {whole}"):
            picture(bytes(length), layout, LEAST)
    assert picture(bytes(whole), layout, LEAST).luma.shape == (10, 12)
    assert picture(bytes(whole + 999), layout, LEAST).luma.shape == (10, 12)


@pytest.mark.parametrize(("name", "stride"), [("YUYV", 127), ("RGB3", 191), ("GREY", 63)])
def test_a_layout_that_does_not_add_up_is_no_layout(name: str, stride: int) -> None:
    with pytest.raises(ValueError, match="64 x 48"):
        Layout(name, 48, 64, stride)
    with pytest.raises(ValueError, match="0 x 48"):
        Layout(name, 48, 0)


@pytest.mark.parametrize(
    ("size", "least", "by"),
    [
        ((1080, 1920), (224, 224), 4),
        ((1080, 1920), (270, 480), 4),
        ((1080, 1920), (271, 480), 2),
        ((1080, 1920), (135, 240), 8),
        ((720, 1280), (224, 224), 2),
        ((480, 640), (224, 224), 2),
        ((447, 640), (224, 224), 2),  # libjpeg rounds up
        ((446, 640), (224, 224), 1),
        ((100, 100), (224, 224), 1),
    ],
)
def test_mjpeg_is_decoded_no_larger_than_needed(size: tuple[int, int], least: tuple[int, int], by: int) -> None:
    assert reduction(*size, least) == by
    data = jpeg(scene(*size))
    found = picture(data, Layout("MJPG", *size), least)
    assert found.luma.shape == tuple(-(-side // by) for side in size)
    assert found.size == size
    whole = picture(data, Layout("MJPG", *size), least, full=True)
    assert whole.luma.shape == size
    if any(side % by for side in size):  # the last places are narrower: no plain average
        return
    shrunk = cv2.resize(whole.luma, found.luma.shape[::-1], interpolation=cv2.INTER_AREA)
    assert cv2.absdiff(shrunk, found.luma).mean() < 1.5


def test_colour_in_mjpeg_is_seen_at_every_scale_and_grey_is_grey() -> None:
    grey = scene(720, 1280)
    doppler = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    doppler[300:500, 500:800] = (200, 40, 20)  # a colour box: 6.5 % of the picture
    share = coloured_share(doppler)
    for least in ((90, 160), (224, 224), (720, 1280)):
        assert picture(jpeg(doppler), Layout("MJPG", 720, 1280), least).coloured == pytest.approx(share, abs=0.01)
        assert picture(jpeg(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)), Layout("MJPG", 720, 1280), least).coloured == 0
        assert picture(jpeg(grey), Layout("MJPG", 720, 1280), least).coloured == 0
    assert share > COLOUR_SHARE
    limited = picture(jpeg(np.full((64, 64), 126, np.uint8)), Layout("MJPG", 64, 64, limited=True), LEAST)
    assert limited.luma[5, 5] == 128


def test_mjpeg_without_huffman_tables_decodes_to_the_same_picture() -> None:
    data = jpeg(cv2.cvtColor(scene(480, 640), cv2.COLOR_GRAY2BGR))
    bare = without_tables(data)
    assert b"\xff\xc4" in data
    assert b"\xff\xc4" not in bare
    layout = Layout("MJPG", 480, 640)
    np.testing.assert_array_equal(picture(bare, layout, LEAST).luma, picture(data, layout, LEAST).luma)


def test_padding_behind_a_jpeg_picture_is_no_damage_but_a_missing_end_is() -> None:
    data, layout = jpeg(scene(96, 128)), Layout("MJPG", 96, 128)
    for padding in (b"", bytes(1), bytes(4096), b"\xff" * 7, b"\xff\0\0"):
        assert picture(data + padding, layout, LEAST).luma.shape == (96, 128)
    for damaged, said in (
        (b"", "is empty"),
        (b"\0" * 100, "no JPEG"),
        (data[2:], "no JPEG"),
        (data[: len(data) // 2], "cut off"),
        (data[:-1], "cut off"),
        (data[:-2] + bytes(64), "cut off"),
        (b"\xff\xd8\xff\xd9", "header is broken"),
        (data[:20] + b"\xff\xd9", "header is broken"),
    ):
        with pytest.raises(Undecodable, match=said):
            picture(damaged, layout, LEAST)


def test_a_header_that_claims_too_much_is_not_believed() -> None:
    data = bytearray(jpeg(scene(96, 128)))
    at = data.index(b"\xff\xc0") + 5
    assert jpeg_size(bytes(data)) == (96, 128)
    for height, width in ((65535, 65535), (0, 128), (96, 0)):
        data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        with pytest.raises(Undecodable, match=f"claims {width} x {height}"):
            picture(bytes(data), Layout("MJPG", 96, 128), LEAST)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from((*pixels.RAW, *pixels.JPEGS)), data=st.binary(max_size=2048), limited=st.booleans())
def test_noise_is_a_picture_or_undecodable(name: str, data: bytes, limited: bool) -> None:
    try:
        found = picture(data, Layout(name, 14, 18, limited=limited), LEAST)
    except Undecodable:
        return
    assert found.luma.shape == (14, 18)
    assert found.luma.dtype == np.uint8
    assert 0 <= found.coloured <= 1


DAMAGED = jpeg(cv2.cvtColor(scene(48, 64), cv2.COLOR_GRAY2BGR))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(DAMAGED) - 1), new=st.binary(min_size=1, max_size=8), cut=st.integers(0, 40))
def test_a_damaged_jpeg_is_a_picture_or_undecodable(at: int, new: bytes, cut: int) -> None:
    data = DAMAGED[:at] + new + DAMAGED[at + len(new) + cut :]
    try:
        found = picture(data, Layout("MJPG", 48, 64), LEAST)
    except Undecodable:
        return
    assert found.luma.ndim == 2
    assert found.luma.size > 0
    assert found.luma.size <= pixels.MAX_PIXELS


def test_a_picture_that_is_damaged_in_the_middle_is_told_from_a_whole_one(capfd: pytest.CaptureFixture[str]) -> None:
    """libjpeg paints over what it cannot read, and only prints a warning."""
    code = jpeg(scene(240, 320))
    start = code.index(b"\xff\xda") + 14
    rng = np.random.default_rng(3)
    noticed = 0
    for _ in range(60):
        at = int(rng.integers(start, len(code) - 40))
        try:
            picture(code[:at] + code[at + 30 :], Layout("MJPG", 240, 320), (240, 320))  # lost on the bus
        except Undecodable as error:
            noticed += "damaged (" in str(error)
    assert noticed >= 40, "the others end in step again by chance"
    assert capfd.readouterr().err == "", "and nothing fills the journal"


def test_what_cheap_cameras_leave_behind_the_last_line_is_no_damage(capfd: pytest.CaptureFixture[str]) -> None:
    code = jpeg(scene(240, 320))
    layout = Layout("MJPG", 240, 320)
    padded = picture(code[:-2] + b"\x12\x34\x56" * 9 + code[-2:], layout, (240, 320))
    np.testing.assert_array_equal(padded.luma, picture(code, layout, (240, 320)).luma)
    assert capfd.readouterr().err == ""
