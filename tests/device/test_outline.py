"""From a mask to the lines that are drawn: where they run, how many points they have, what area they hold."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device.bundle_parts import Estimate, MaskOutput, Tensor
from device.outline import _NEAR, PIECES, POINTS, SPECK, Polygon, lesion, outline, plain, traced
from device.preprocess import Preprocess, prepare

FLOAT = MaskOutput("mask", 1, Tensor((1, 16, 16, 1), "NHWC", "float32"), 0.5, "", Estimate(None), Estimate(None))
INT8 = MaskOutput("m", 0, Tensor((1, 16, 16, 1), "NHWC", "int8", 0.125, -3), 0.5, "", Estimate(None), Estimate(None))
SQUASH = Preprocess(64, 64)


def area(polygon: Polygon, height: int = 1, width: int = 1) -> float:
    """Of the picture's height x width, by the shoelace formula."""
    x, y = np.array(polygon).T * np.array([[width], [height]])
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def filled(polygons: tuple[Polygon, ...], shape: tuple[int, int], finer: int = 8) -> np.ndarray:
    """(H, W) share of each pixel that lies within the polygons."""
    canvas = np.zeros((shape[0] * finer, shape[1] * finer), np.uint8)
    size = np.array((shape[1], shape[0])) * finer
    for polygon in polygons:
        cv2.fillPoly(canvas, [np.round(np.array(polygon) * size - 0.5).astype(np.int32)], 1)
    return canvas.reshape(shape[0], finer, shape[1], finer).mean(axis=(1, 3))


def test_one_pixel_is_a_square() -> None:
    pixels = np.zeros((4, 8), bool)
    pixels[2, 5] = True
    (found,) = traced(pixels)
    assert sorted(found) == [(5 / 8, 2 / 4), (5 / 8, 3 / 4), (6 / 8, 2 / 4), (6 / 8, 3 / 4)]
    assert area(found, 4, 8) == 1.0


def test_a_rectangle_runs_round_its_pixels() -> None:
    pixels = np.zeros((20, 40), bool)
    pixels[5:15, 10:30] = True
    (found,) = traced(pixels)
    assert sorted(found) == [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]


def test_a_whole_picture_and_none() -> None:
    assert traced(np.zeros((9, 7), bool)) == ()
    (found,) = traced(np.ones((9, 7), bool))
    assert sorted(found) == [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]


def test_an_l_has_six_corners() -> None:
    pixels = np.zeros((40, 40), bool)
    pixels[4:36, 4:12] = pixels[28:36, 4:36] = True
    (found,) = traced(pixels)
    corners = [(0.1, 0.1), (0.3, 0.1), (0.3, 0.7), (0.9, 0.7), (0.9, 0.9), (0.1, 0.9)]
    near = [min(abs(x - cx) + abs(y - cy) for x, y in found) for cx, cy in corners]
    assert max(near) <= 1 / 40
    assert len(found) <= 8  # a concave corner may be cut by one pixel's diagonal


def test_the_largest_pieces_are_kept_the_largest_first() -> None:
    pixels = np.zeros((60, 60), bool)
    for number, side in enumerate((2, 8, 4, 7, 5, 3)):
        pixels[10 * number : 10 * number + side, 5 : 5 + side] = True
    found = traced(pixels)
    assert [round(area(one, 60, 60)) for one in found] == [64, 49, 25, 16]
    assert len(found) == PIECES


@pytest.mark.parametrize(("side", "kept"), [(20, 2), (7, 2), (6, 1), (1, 1)])
def test_a_speck_beside_a_lesion_is_left_out(side: int, kept: int) -> None:
    """400 pixels, and 49 or 36 beside them: more and less than a tenth."""
    pixels = np.zeros((60, 60), bool)
    pixels[5:25, 5:25] = pixels[35 : 35 + side, 35 : 35 + side] = True
    assert len(traced(pixels)) == kept


def test_what_one_pixel_parts_is_one_piece() -> None:
    pixels = np.zeros((20, 20), bool)
    pixels[5:10, 3:7] = pixels[5:10, 8:12] = True
    (found,) = traced(pixels)
    assert round(area(found, 20, 20)) == 45


def test_a_hole_is_filled() -> None:
    pixels = np.ones((30, 30), bool)
    pixels[10:20, 10:20] = False
    (found,) = traced(pixels)
    assert area(found) == 1.0


def test_a_ragged_piece_has_no_more_points_than_the_bound() -> None:
    """A comb of 60 teeth has 240 corners."""
    pixels = np.zeros((240, 240), bool)
    pixels[120:] = True
    pixels[60:120, ::4] = pixels[60:120, 1::4] = True
    found = traced(pixels)
    assert all(3 <= len(one) <= POINTS for one in found)


@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_any_mask_gives_few_polygons_inside_the_picture(pixels: np.ndarray) -> None:
    found = traced(pixels)
    assert bool(found) == bool(pixels.any())
    assert len(found) <= PIECES
    for polygon in found:
        assert 3 <= len(polygon) <= POINTS
        assert all(0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 for x, y in polygon)
        assert area(polygon) > 0


ellipses = st.tuples(
    st.integers(12, 52), st.integers(12, 52), st.integers(5, 20), st.integers(5, 20), st.integers(0, 179)
)


@given(st.lists(ellipses, min_size=1, max_size=3))
def test_the_lines_hold_what_the_mask_holds(drawn: list[tuple[int, ...]]) -> None:
    canvas = np.zeros((64, 64), np.uint8)
    for x, y, a, b, turned in drawn:
        cv2.ellipse(canvas, (x, y), (a, b), turned, 0, 360, 1, -1)
    edges, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(canvas.copy(), edges, -1, 1, -1)  # holes between three ellipses filled
    areas = [cv2.contourArea(edge) + cv2.arcLength(edge, True) / 2 + 1 for edge in edges]  # of pixels, not of centres
    assume(min(areas) > 1.2 * SPECK * max(areas))  # specks: another test
    length = sum(cv2.arcLength(edge, True) for edge in edges)
    inside = filled(traced(canvas.astype(bool)), canvas.shape)
    assert abs(inside.sum() - whole.sum()) <= _NEAR * length + 1, "as far off as a line may be, and that all along"
    core = cv2.erode(whole, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)
    around = cv2.dilate(whole, np.ones((5, 5), np.uint8)).astype(bool)
    assert (inside[core] == 1).all(), "a pixel well inside is left out"
    assert (inside[~around] == 0).all(), "a pixel well outside is taken in"


blocks = st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(2, 6), st.integers(2, 6))


@given(blocks, st.integers(30, 200), st.integers(30, 200), st.sampled_from(["squash", "letterbox"]))
def test_the_outline_lies_where_the_mask_is_at_the_pictures_size(
    block: tuple[int, ...], height: int, width: int, resize: str
) -> None:
    """Whatever the picture's shape, and with a letterbox's padding taken away."""
    preprocess = Preprocess(64, 64, resize=resize)
    left, top, across, down = block
    plane = np.full((16, 16), -8.0, np.float32)
    plane[top : top + down, left : left + across] = 8.0
    found = filled(outline(plane, FLOAT, (height, width), preprocess), (height, width))
    mask = lesion(plane, FLOAT.cut, (height, width), preprocess)
    # Half a pixel of the model's input, and the simplification's 0.75, in the picture's own pixels.
    grain = max(height, width) / 64 * 1.5 if resize == "letterbox" else max(height / 64, width / 64) * 1.5
    edge = sum(len(one) for one in cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])
    assert np.abs(found - mask).sum() <= grain * edge + 4


def test_a_box_in_the_picture_comes_back_where_it_is() -> None:
    """From the picture through the way to the model and back, in a letterbox: 64 x 64 with 16 rows of padding."""
    frame = np.zeros((100, 200), np.uint8)
    frame[25:75, 50:150] = 255
    preprocess = Preprocess(64, 64, resize="letterbox")
    plane = prepare(frame, preprocess).astype(np.float32).reshape(16, 4, 16, 4).mean(axis=(1, 3)) - 127.5
    (found,) = outline(plane, FLOAT, frame.shape, preprocess)
    x, y = np.array(found).T
    assert (x.min(), x.max()) == pytest.approx((0.25, 0.75), abs=1 / 32)
    assert (y.min(), y.max()) == pytest.approx((0.25, 0.75), abs=1 / 16)


@given(arrays(np.int8, (16, 16)))
def test_stored_numbers_give_the_lines_of_real_ones(stored: np.ndarray) -> None:
    real = (stored.astype(np.float32) + 3) * np.float32(0.125)
    assert outline(stored, INT8, (90, 120), SQUASH) == outline(real, FLOAT, (90, 120), SQUASH)


def test_nothing_finite_is_nothing_outlined() -> None:
    assert outline(np.full((16, 16), np.nan, np.float32), FLOAT, (64, 64), SQUASH) == ()


def test_plain_numbers_are_short() -> None:
    assert plain((((1 / 3, 0.5), (1.0, 0.0), (0.0, 2 / 3)),)) == [[[0.3333, 0.5], [1.0, 0.0], [0.0, 0.6667]]]
