"""The hard frames are the same everywhere, all different, and go through the device's own preparation."""

import numpy as np
import pytest

from convert.verify.hard_frames import hard_frames
from device.preprocess import Preprocess


@pytest.fixture(scope="module")
def frames() -> dict[str, np.ndarray]:
    return dict(zip(*hard_frames(Preprocess(64, 96))))


def test_they_are_the_same_each_time_and_depend_on_the_seed(frames: dict[str, np.ndarray]) -> None:
    names, lumas = hard_frames(Preprocess(64, 96))
    assert names == list(frames)
    np.testing.assert_array_equal(lumas, np.stack(list(frames.values())))
    others = dict(zip(*hard_frames(Preprocess(64, 96), seed=1)))
    assert list(others) == names
    for name in ("phantom benign", "phantom malignant", "phantom normal", "colour noise", "grey noise"):
        assert not np.array_equal(others[name], frames[name])
    for name in ("black", "blue", "ramp"):
        np.testing.assert_array_equal(others[name], frames[name])


def test_names_and_pictures_are_unique_and_fit_the_model() -> None:
    for size in ((64, 96), (224, 224)):
        names, lumas = hard_frames(Preprocess(*size))
        assert len(set(names)) == len(names) == len(lumas) == len({luma.tobytes() for luma in lumas})
        assert lumas.shape[1:] == size
        assert lumas.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "luma"), [("black", 0), ("white", 255), ("grey", 128), ("blue", 29), ("green", 150), ("red", 76)]
)
def test_single_colours_have_the_luma_of_bt_601(frames: dict[str, np.ndarray], name: str, luma: int) -> None:
    """0.114 * 255 = 29.1, 0.587 * 255 = 149.7, 0.299 * 255 = 76.2: red and blue exchanged would show."""
    assert (frames[name] == luma).all()


def test_a_doppler_box_is_red_on_the_left_and_blue_on_the_right(frames: dict[str, np.ndarray]) -> None:
    """Rows 160..320 of 480 and columns 200..320, 320..440 of 640: the grey below is kept in the other channels."""
    doppler, grey = frames["colour Doppler"].astype(int), frames["phantom malignant"].astype(int)
    rise = doppler - grey
    inside = slice(23, 41)
    assert rise[inside, 32:46].mean() > 1.4 * rise[inside, 50:64].mean() > 14
    assert not rise[:20].any()
    assert not rise[44:].any()


def test_bars_hide_the_border_and_leave_the_middle(frames: dict[str, np.ndarray]) -> None:
    grey, sides, flat = (frames[name] for name in ("phantom malignant", "bars at the sides", "bars above and below"))
    assert not sides[:, :12].any()
    assert not sides[:, -12:].any()
    np.testing.assert_array_equal(sides[:, 13:-13], grey[:, 13:-13])
    assert not flat[:16].any()
    assert not flat[-16:].any()
    np.testing.assert_array_equal(flat[17:-17], grey[17:-17])
