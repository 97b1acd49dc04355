"""What a network says of places, back on the frame's grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.preprocess import Preprocess, prepare, restored

SIDES = st.integers(20, 120)


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
@given(height=SIDES, width=SIDES)
def test_a_plane_of_one_value_stays_it_at_the_frames_size(resize: str, height: int, width: int) -> None:
    back = restored(np.full((12, 16), 0.75, np.float32), (height, width), Preprocess(48, 64, resize=resize))
    assert back.shape == (height, width)
    assert back.dtype == np.float32
    assert np.allclose(back, 0.75)


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (64, 64)])
def test_a_box_comes_back_where_it_was(resize: str, shape: tuple[int, int]) -> None:
    frame = np.zeros(shape, np.uint8)
    top, left = shape[0] // 4, shape[1] // 5
    frame[top : 3 * top, left : 3 * left] = 255
    preprocess = Preprocess(64, 64, resize=resize)
    back = restored(prepare(frame, preprocess), shape, preprocess)
    # One pixel of the model's grid is this much of the frame's: the edge is known no better.
    grain = max(shape) / 64
    rows, columns = np.flatnonzero((back > 127).any(axis=1)), np.flatnonzero((back > 127).any(axis=0))
    assert abs(rows[0] - top) <= grain
    assert abs(rows[-1] + 1 - 3 * top) <= grain
    assert abs(columns[0] - left) <= grain
    assert abs(columns[-1] + 1 - 3 * left) <= grain


def test_the_letterboxs_padding_is_cut_off() -> None:
    # 100 x 200 into 64 x 64: scaled by 0.32 to 32 x 64, 16 rows of padding above and below.
    plane = np.zeros((64, 64), np.float32)
    plane[16:48] = 1
    assert np.array_equal(
        restored(plane, (100, 200), Preprocess(64, 64, resize="letterbox")), np.ones((100, 200), np.float32)
    )


@pytest.mark.parametrize("shape", [(4, 4, 1), (0, 4)])
def test_what_is_no_plane_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(h, w\)"):
        restored(np.zeros(shape, np.float32), (10, 10), Preprocess())
