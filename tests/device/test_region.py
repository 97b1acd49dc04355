"""A region is cut inward, whatever the size a frame was decoded at, and its text reads back."""

import re

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from device.errors import UserError
from device.region.region import MIN_SIDE, Region, crop, overlap, parse, scaled


@st.composite
def regions(draw: st.DrawFn, least: int = MIN_SIDE) -> Region:
    frame = [draw(st.integers(least, 2000)) for _ in range(2)]
    size = [draw(st.integers(least, side)) for side in frame]
    place = [draw(st.integers(0, side - part)) for side, part in zip(frame, size)]
    return Region(*place, *size, *frame)


@given(regions())
def test_its_text_reads_back(region: Region) -> None:
    assert parse(str(region)) == region
    assert parse(f" {region}\n") == region


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40) | st.from_regex(r"\d{1,6}x\d{1,6}\+\d{1,6}\+\d{1,6}@\d{1,6}x\d{1,6}", fullmatch=True))
def test_a_text_is_a_region_or_refused_in_a_sentence(text: str) -> None:
    try:
        region = parse(text)
    except UserError as error:
        said = str(error)
    else:
        said = repr(text) + str(parse(str(region)))
        assert [int(part) for part in re.findall(r"\d+", text)] == [
            int(part) for part in re.findall(r"\d+", str(region))
        ]
    assert said.startswith(repr(text))


@given(values=st.tuples(*[st.integers(-50, 200)] * 4, *[st.integers(0, 200)] * 2))
def test_no_region_reaches_out_of_its_frame(values: tuple[int, ...]) -> None:
    x, y, width, height, frame_width, frame_height = values
    inside = min(x, y) >= 0 and x + width <= frame_width and y + height <= frame_height
    if inside and min(width, height) >= MIN_SIDE:
        Region(*values)
        return
    with pytest.raises(ValueError, match=r"does not lie within|is smaller than"):
        Region(*values)


@pytest.mark.parametrize("values", [(0.0, 0, 64, 64, 64, 64), (0, 0, True, 64, 64, 64), (0, 0, 64, 64, 99999, 64)])
def test_what_is_no_number_of_pixels_is_refused(values: tuple) -> None:
    with pytest.raises(ValueError, match=r"whole numbers|pixels a side"):
        Region(*values)


@settings(deadline=None, max_examples=150)
@given(regions(least=9 * MIN_SIDE), st.sampled_from([2, 4, 8]))
def test_a_frame_averaged_by_a_whole_number_shows_nothing_of_outside(region: Region, factor: int) -> None:
    """As libjpeg decodes at 1/k: ceil(side / k) pixels, pixel i of k i to k i + k - 1."""
    outside = np.ones((-(-region.frame_height // factor) * factor, -(-region.frame_width // factor) * factor), bool)
    outside[region.y : region.bottom, region.x : region.right] = False
    if region.right == region.frame_width:  # what a decoder pads with repeats the last column
        outside[region.y : region.bottom, region.right :] = False
    if region.bottom == region.frame_height:
        outside[
            region.bottom :, region.x : outside.shape[1] if region.right == region.frame_width else region.right
        ] = 0
    height, width = (side // factor for side in outside.shape)
    shows = outside.reshape(height, factor, width, factor).any(axis=(1, 3))
    assert not crop(region, shows).any()


@settings(deadline=None, max_examples=100)
@given(regions(least=6 * MIN_SIDE), st.floats(0.3, 1.0))
def test_a_frame_resized_by_any_number_shows_nothing_of_outside(region: Region, factor: float) -> None:
    size = round(region.frame_width * factor), round(region.frame_height * factor)
    outside = np.full((region.frame_height, region.frame_width), 255, np.uint8)
    outside[region.y : region.bottom, region.x : region.right] = 0
    small = cv2.resize(outside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    try:
        part = crop(region, small)
    except ValueError as error:
        assume("is not one of" not in str(error))  # rounding has changed the shape by too much
        raise
    assert part.max() < 1e-2
    assert part.shape[0] >= region.height * factor - 5, "no more is lost than rounding asks for"
    assert part.shape[1] >= region.width * factor - 5


def test_scaling_by_hand() -> None:
    region = Region(101, 50, 640, 480, 1280, 720)
    assert scaled(region, 1280, 720) == region
    # 101 / 2 = 50.5 -> 51, one further in 52; 741 / 2 = 370.5 -> 370 -> 369. 25 -> 26; 265 -> 264.
    assert scaled(region, 640, 360) == Region(52, 26, 317, 238, 640, 360)
    whole = Region(0, 0, 1366, 768, 1366, 768)
    assert scaled(whole, 342, 192) == Region(0, 0, 342, 192, 342, 192)  # ceil(1366 / 4) = 342


@pytest.mark.parametrize("size", [(1920, 1080), (640, 480), (720, 1280), (1280, 719 // 2), (0, 0), (40, 22)])
def test_a_frame_of_another_shape_or_too_small_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"decoded smaller|pixels a side"):
        scaled(Region(101, 50, 640, 480, 1280, 720), *size)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_crop_holds_nothing_else_of_the_frame(channels: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (72, 128, *channels), np.uint8)
    part = crop(Region(10, 20, 40, 50, 128, 72), frame)
    assert np.array_equal(part, frame[20:70, 10:50])
    assert part.base is None, "a view would keep the whole frame, names included"


def test_overlap_by_hand() -> None:
    one, other = Region(0, 0, 100, 100, 400, 400), Region(50, 0, 100, 100, 400, 400)
    assert overlap(one, other) == pytest.approx(50 / 150)
    assert overlap(one, one) == 1.0
    assert overlap(one, Region(200, 200, 50, 50, 400, 400)) == 0.0
    with pytest.raises(ValueError, match="different sizes"):
        overlap(one, Region(0, 0, 100, 100, 401, 400))
