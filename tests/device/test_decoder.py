"""How often colour is looked at in a stream, and that nothing else depends on it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture import Undecodable
from device.capture.decoder import COLOUR_S, NEW, Decoder
from device.capture.pixels import Layout, picture
from device.daemon import ASSESS_S
from device.phantom_clip import PhantomClip

SIZE, LEAST = (480, 640), (224, 224)
LAYOUT = Layout("MJPG", *SIZE)


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def grey(number: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: a frame of a clip."""
    return cv2.cvtColor(cv2.resize(PhantomClip(3).frame(number).image, SIZE[::-1]), cv2.COLOR_GRAY2BGR)


def doppler(number: int = 0, rows: int = 100) -> np.ndarray:
    """The same frame with a box in colour, as wide as half of the picture, which leaves its luma nearly as it was."""
    pixels = cv2.cvtColor(grey(number), cv2.COLOR_BGR2YCrCb)
    pixels[:rows, :320, 1] = 220
    return cv2.cvtColor(pixels, cv2.COLOR_YCrCb2BGR)


GREY, DOPPLER = jpeg(grey()), jpeg(doppler())


def test_luma_is_the_same_bytes_whether_colour_was_looked_at_or_not() -> None:
    decoder, alone = Decoder(LAYOUT, LEAST), picture(DOPPLER, LAYOUT, LEAST).luma
    for number in range(12):
        np.testing.assert_array_equal(decoder.picture(DOPPLER, number / 30).luma, alone)
    whole = Decoder(LAYOUT, LEAST, full=True).picture(DOPPLER, 0.0)
    assert (whole.luma.shape, whole.size) == (SIZE, SIZE)


def test_colour_is_seen_at_once_in_a_new_scene_and_soon_where_the_rest_stays() -> None:
    decoder = Decoder(LAYOUT, LEAST)
    assert decoder.picture(GREY, 10.0).coloured == 0
    assert decoder.picture(DOPPLER, 10.1).coloured == 0, "what was seen last stands"
    share = decoder.picture(DOPPLER, 10.01 + COLOUR_S).coloured
    assert share == pytest.approx(100 * 320 / (480 * 640), abs=0.02)
    assert decoder.picture(GREY, 10.01 + COLOUR_S + 0.1).coloured == share
    bright = cv2.add(doppler(rows=200), (40, 40, 40, 0))
    assert decoder.picture(jpeg(bright), 10.01 + COLOUR_S + 0.11).coloured > 1.5 * share, "another scene"
    assert NEW > 0


def test_a_clock_that_goes_back_leaves_nothing_stale() -> None:
    decoder = Decoder(LAYOUT, LEAST)
    assert decoder.picture(GREY, 100.0).coloured == 0
    assert decoder.picture(DOPPLER, 1.0).coloured > 0


def test_raw_formats_tell_of_each_frame() -> None:
    decoder = Decoder(Layout("BGR3", *SIZE), LEAST)
    for number, (pixels, coloured) in enumerate([(grey(), False), (doppler(), True), (grey(), False)]):
        assert (decoder.picture(pixels.tobytes(), number / 30).coloured > 0) == coloured


def test_a_frame_that_does_not_decode_changes_nothing() -> None:
    decoder = Decoder(LAYOUT, LEAST)
    with pytest.raises(Undecodable):
        decoder.picture(GREY[:500], 0.0)
    share = decoder.picture(DOPPLER, 0.01).coloured
    with pytest.raises(Undecodable):
        decoder.picture(DOPPLER[:500], 0.5)
    assert share > 0
    assert decoder.picture(GREY, 0.02).coloured == share


def test_it_is_looked_at_no_less_often_than_the_judge_asks() -> None:
    assert COLOUR_S <= ASSESS_S


@given(st.lists(st.tuples(st.floats(0.001, 0.5), st.booleans()), min_size=1, max_size=12))
def test_what_is_told_is_of_a_frame_no_older_than_allowed(frames: list[tuple[float, bool]]) -> None:
    decoder, at, seen = Decoder(LAYOUT, LEAST), 0.0, []
    for step, coloured in frames:
        at += step
        seen.append((at, coloured))
        told = decoder.picture(DOPPLER if coloured else GREY, at).coloured > 0
        assert told in {was for when, was in seen if at - when < COLOUR_S}
