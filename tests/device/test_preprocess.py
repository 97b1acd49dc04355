"""Frame -> model input: luma and geometry against figures worked out by hand."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device.errors import UserError
from device.preprocess import Preprocess, pictured_stem, prepare, read_picture, to_luma

SIDES = st.integers(1, 90)
MODEL_SIDES = st.integers(16, 80)


def _picture(height: int, width: int, channels: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("bgr", "luma"),
    [
        ((0, 0, 255), 76),  # 0.299 * 255 = 76.245
        ((0, 255, 0), 150),  # 0.587 * 255 = 149.685
        ((255, 0, 0), 29),  # 0.114 * 255 = 29.07
        ((0, 255, 255), 226),  # yellow, the colour of many callipers: 225.93
        ((200, 100, 50), 96),  # 0.114 * 200 + 0.587 * 100 + 0.299 * 50 = 96.45
        ((255, 255, 255), 255),
        ((0, 0, 0), 0),
    ],
)
def test_luma_is_that_of_bt_601(bgr: tuple[int, int, int], luma: int) -> None:
    frame = np.full((4, 5, 3), bgr, np.uint8)
    assert np.array_equal(to_luma(frame), np.full((4, 5), luma, np.uint8))


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES, st.just(3))))
def test_luma_is_within_rounding_of_the_formula(frame: np.ndarray) -> None:
    exact = frame.astype(np.float64) @ [0.114, 0.587, 0.299]
    assert np.abs(to_luma(frame) - exact).max() < 0.51


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
@pytest.mark.parametrize("interpolation", ["area", "linear"])
def test_grey_in_any_clothing_gives_the_same_input(resize: str, interpolation: str) -> None:
    grey = _picture(90, 130)
    preprocess = Preprocess(64, 48, resize=resize, interpolation=interpolation)
    wanted = prepare(grey, preprocess)
    assert np.array_equal(prepare(grey[:, :, None], preprocess), wanted)
    assert np.array_equal(prepare(np.repeat(grey[:, :, None], 3, axis=2), preprocess), wanted)


def test_every_grey_level_survives_as_it_is() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for frame in (levels, levels[:, :, None], np.repeat(levels[:, :, None], 3, axis=2)):
        assert np.array_equal(prepare(frame, Preprocess(16, 16)), levels)


def test_area_is_the_mean_of_each_block() -> None:
    blocks = np.array([[0, 255], [7, 100]], np.uint8)
    frame = np.kron(np.tile(blocks, (16, 16)), np.ones((2, 2), np.uint8))  # each level fills a block of 2 x 2
    assert np.array_equal(prepare(frame, Preprocess(32, 32)), np.tile(blocks, (16, 16)))
    frame = np.tile(np.array([[10, 20], [30, 60]], np.uint8), (32, 32))  # mean 30 in each block
    assert np.array_equal(prepare(frame, Preprocess(32, 32)), np.full((32, 32), 30, np.uint8))
    # Fine stripes vanish in a mean, but alias when only near pixels are asked.
    stripes = np.tile(np.array([0, 200, 200, 200], np.uint8), (128, 32))
    assert np.ptp(prepare(stripes, Preprocess(32, 32))) == 0
    assert prepare(stripes, Preprocess(32, 32))[0, 0] == 150
    assert prepare(stripes, Preprocess(32, 32, interpolation="linear"))[0, 0] == 200


def test_squash_fills_the_input_and_stretches() -> None:
    frame = np.zeros((100, 200), np.uint8)
    frame[:, 100:] = 255  # right half
    frame[50:] //= 3  # lower half
    done = prepare(frame, Preprocess(224, 224, fill=9))
    assert done.shape == (224, 224)
    assert (done[:110, :110] == 0).all()
    assert (done[:110, 114:] == 255).all()
    assert (done[114:, 114:] == 85).all()


def test_letterbox_keeps_the_aspect_and_centres() -> None:
    frame = np.full((100, 200), 200, np.uint8)  # 224 / 200 = 1.12, so 112 rows of picture, 56 of fill on each side
    done = prepare(frame, Preprocess(224, 224, resize="letterbox", fill=17))
    assert (done[:56] == 17).all()
    assert (done[56:168] == 200).all()
    assert (done[168:] == 17).all()

    upright = prepare(frame.T, Preprocess(224, 224, resize="letterbox", fill=17))
    assert np.array_equal(upright, done.T)

    # A disc stays a disc: as wide as it is high.
    disc = cv2.circle(np.zeros((240, 480), np.uint8), (300, 120), 60, 255, -1)
    lit = prepare(disc, Preprocess(160, 160, resize="letterbox")) > 127
    height, width = np.ptp(np.flatnonzero(lit.any(axis=1))), np.ptp(np.flatnonzero(lit.any(axis=0)))
    assert abs(int(height) - int(width)) <= 1
    assert abs(height - 120 / 3) <= 1.5

    # An odd remainder goes below and to the right: 21 x 32 in 32 x 32 leaves 11 rows, 5 above and 6 below.
    done = prepare(np.full((21, 32), 200, np.uint8), Preprocess(32, 32, resize="letterbox", fill=1))
    assert [int(n) for n in np.flatnonzero(done[:, 0] == 200)[[0, -1]]] == [5, 25]


def test_letterbox_of_a_line_keeps_one_row() -> None:
    done = prepare(np.full((1, 4000), 255, np.uint8), Preprocess(32, 32, resize="letterbox"))
    assert done.any(axis=1).sum() == 1
    assert done.any(axis=0).all()


@settings(deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    channels=st.sampled_from([None, 1, 3]),
    model=st.tuples(MODEL_SIDES, MODEL_SIDES),
    resize=st.sampled_from(["squash", "letterbox"]),
    interpolation=st.sampled_from(["area", "linear"]),
    fill=st.integers(0, 255),
    level=st.integers(0, 255),
)
def test_any_shape_gives_the_models_input(
    height: int,
    width: int,
    channels: int | None,
    model: tuple[int, int],
    resize: str,
    interpolation: str,
    fill: int,
    level: int,
) -> None:
    preprocess = Preprocess(*model, resize=resize, interpolation=interpolation, fill=fill)
    frame = _picture(height, width, channels)
    before = frame.copy()
    done = prepare(frame, preprocess)
    assert (done.shape, done.dtype) == (model, np.uint8)
    assert done.flags.c_contiguous
    assert np.array_equal(frame, before)
    flat = prepare(np.full_like(frame, level), preprocess)  # whatever the geometry, no level is made up
    assert set(np.unique(flat)) <= {level, fill} if resize == "letterbox" else {level}


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
def test_views_of_a_frame_give_what_their_copies_give(resize: str) -> None:
    frame = _picture(60, 80, 3)
    frame.flags.writeable = False
    views = [frame[::-1], frame[:, ::-1], frame[:, :, ::-1], frame[::2, ::3], frame.transpose(1, 0, 2), frame[..., 1]]
    for preprocess in (Preprocess(32, 40, resize=resize), Preprocess(60, 80, resize=resize)):
        for view in views:
            assert np.array_equal(prepare(view, preprocess), prepare(np.ascontiguousarray(view), preprocess))
            assert prepare(view, preprocess).flags.c_contiguous


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((32, 32), np.float32),
        np.zeros((32, 32), np.uint16),
        np.zeros((32, 32), np.int8),
        np.zeros((32, 32), bool),
        np.zeros((0, 32), np.uint8),
        np.zeros((32, 0, 3), np.uint8),
        np.zeros((), np.uint8),
        np.zeros(32, np.uint8),
        np.zeros((32, 32, 2), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((1, 32, 32, 3), np.uint8),
    ],
    ids=lambda frame: f"{frame.dtype}{frame.shape}",
)
def test_other_shapes_and_types_are_refused(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^a frame must "):
        prepare(frame, Preprocess(32, 32))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"height": 15}, "the input size 15 x 224 is outside"),
        ({"width": 2049}, "the input size 224 x 2049 is outside"),
        ({"fill": 256}, "'fill' must lie in 0..255, not 256"),
        ({"fill": -1}, "'fill' must lie in 0..255, not -1"),
    ],
)
def test_parameters_out_of_range_are_refused(values: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocess(**values)


@pytest.mark.parametrize("name", ["plain.png", "größe ñ 超音波 (1).png", "no suffix"])
def test_reads_pictures_by_any_name_as_they_are_stored(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for pixels in (_picture(20, 30), _picture(20, 30, 3)):
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        assert np.array_equal(read_picture(path), pixels)


def test_what_a_picture_holds_beyond_eight_bit_colour_is_dropped(tmp_path: Path) -> None:
    colour = _picture(20, 30, 3)
    alpha = np.dstack([colour, _picture(20, 30, 1, seed=1)])
    (tmp_path / "alpha.png").write_bytes(cv2.imencode(".png", alpha)[1].tobytes())
    assert np.array_equal(read_picture(tmp_path / "alpha.png"), colour)
    grey = _picture(20, 30)
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes())
    assert np.array_equal(read_picture(tmp_path / "deep.png"), grey)


def _png_of_claimed_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


GOOD_PNG = cv2.imencode(".png", _picture(20, 30))[1].tobytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture\n" * 50, GOOD_PNG[:10], GOOD_PNG[1:], _png_of_claimed_size(100_000, 100_000)],
    ids=["empty", "text", "truncated", "shifted", "claims 10 gigapixels"],
)
def test_what_does_not_decode_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_picture(path)
    assert str(caught.value) == f"{path}: this picture does not decode; replace or remove it."


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_half_a_picture_is_refused_and_not_filled_up(tmp_path: Path, suffix: str) -> None:
    whole = cv2.imencode(suffix, _picture(200, 300))[1].tobytes()
    for kept in (0.5, 0.9, 0.99):
        (tmp_path / "x").write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(UserError, match="does not decode"):
            read_picture(tmp_path / "x")
    (tmp_path / "x").write_bytes(whole)
    assert read_picture(tmp_path / "x").shape == (200, 300)


def test_missing_and_unreadable_pictures(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(UserError) as caught:
            read_picture(path)
        assert str(caught.value) == f"{path}: no such picture; check the path."
    with pytest.raises(UserError, match=r"x: this picture cannot be read \(File name too long\); check the path\."):
        read_picture(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("benign (1)_mask.png", "benign (1)"),
        ("benign (1)_mask_1.png", "benign (1)"),
        ("benign (1)_mask2.png", "benign (1)"),
        ("a_mask_b_mask_1.png", "a_mask_b"),
        ("A_MASK.PNG", "A"),
        ("_mask.png", ""),
        ("benign (1).png", None),
        ("a_mask.jpg", None),
        ("a_mask.png.txt", None),
        ("mask.png", None),
    ],
)
def test_a_mask_belongs_to_the_picture_named_before_it(name: str, stem: str | None) -> None:
    assert pictured_stem(name) == stem
