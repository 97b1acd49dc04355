"""An unchanged picture is not inferred again, and nobody can tell from what is shown."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.bundle import Bundle, load_bundle
from device.capture import Frame
from device.judge import BadFrame, Judge, Snapshot
from device.over_time import OverTime
from device.runtime import Model, open_bundle

RNG = np.random.default_rng(5)
DARK, GREY, BRIGHT = (RNG.integers(luma - 30, luma + 31, (48, 64)).astype(np.uint8) for luma in (40, 128, 216))
ONE_PIXEL = GREY.copy()
ONE_PIXEL[7, 9] ^= 1  # off the grid that is looked at first
COLOUR = np.repeat(GREY[..., None], 3, axis=2)
# Coloured, with the luma of GREY: 0.114 * 105 = 0.299 * 40.
TINTED = np.clip(COLOUR.astype(int) + np.array([-105, 0, 40]), 0, 255).astype(np.uint8)
BLANK, BAD = np.full((48, 64), 90, np.uint8), np.zeros((8, 8, 4), np.uint8)
PICTURES = (DARK, GREY, BRIGHT, ONE_PIXEL, COLOUR, TINTED, BLANK, BAD)


class Counting:
    """A model that counts its inferences."""

    def __init__(self, model: Model) -> None:
        self._model, self.inferences = model, 0

    def logits(self, luma: np.ndarray) -> np.ndarray:
        self.inferences += 1
        return self._model.logits(luma)


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "float32")


@pytest.fixture(scope="module")
def opened(bundle: Bundle) -> Model:
    return open_bundle(bundle)


def judged(judge: Judge, frames: list[tuple[float, np.ndarray]]) -> Iterator[Snapshot | None]:
    """What each frame, (seconds, pixels), comes to; None for a bad one. Every frame has pixels of its own."""
    for n, (at, pixels) in enumerate(frames):
        try:
            yield judge.judge(Frame(pixels.copy(), n, at, f"frame {n}"), at, at)
        except BadFrame:
            yield None


def said(snapshot: Snapshot | None) -> tuple | None:
    """All that is known of a frame but the time it took."""
    if snapshot is None:
        return None
    values = (snapshot.sequence, snapshot.name, snapshot.captured, tuple(snapshot.logits), snapshot.change)
    return (*values, snapshot.quality, snapshot.verdict, snapshot.belief)


def test_a_frozen_picture_is_inferred_once_a_second(bundle: Bundle, opened: Model) -> None:
    model = Counting(opened)
    judge = Judge(model, bundle.meta, OverTime(), None)
    found = list(judged(judge, [(n / 32, GREY) for n in range(96)]))
    assert model.inferences == 3
    assert [n for n, snapshot in enumerate(found) if not snapshot.unchanged] == [0, 32, 64]
    assert ["infer" in snapshot.stages_ms for snapshot in found] == [not snapshot.unchanged for snapshot in found]
    assert {snapshot.belief.scene for snapshot in found[20:]} == {"still"}


@pytest.mark.parametrize(
    "other", [ONE_PIXEL, COLOUR, GREY[:-1], DARK], ids=["one bit", "in three channels", "a row less", "another"]
)
def test_any_difference_is_inferred(bundle: Bundle, opened: Model, other: np.ndarray) -> None:
    judge = Judge(opened, bundle.meta, OverTime(), None)
    found = list(judged(judge, [(0.0, GREY), (0.1, other), (0.2, GREY)]))
    assert not any(snapshot.unchanged for snapshot in found)


def test_it_can_be_switched_off_and_a_clock_that_goes_back_is_no_reason_to_skip(bundle: Bundle, opened: Model) -> None:
    off = Judge(opened, bundle.meta, OverTime(), None, unchanged_s=0.0)
    assert not any(snapshot.unchanged for snapshot in judged(off, [(0.0, GREY)] * 3))
    judge = Judge(opened, bundle.meta, OverTime(), None)
    assert not any(snapshot.unchanged for snapshot in judged(judge, [(5.0, GREY), (4.9, GREY)]))


@pytest.mark.parametrize("unchanged_s", [0.0, 1.0])
def test_a_picture_whose_quality_was_not_looked_at_yet_still_is(
    bundle: Bundle, opened: Model, unchanged_s: float
) -> None:
    """Quality is looked at every 0.2 s, so it may fall on a frame that is unchanged."""
    judge = Judge(opened, bundle.meta, OverTime(), 0.2, unchanged_s)
    found = list(judged(judge, [(0.0, GREY), (0.1, TINTED), (0.15, TINTED), (0.25, TINTED), (0.5, TINTED)]))
    assert [snapshot.quality.state for snapshot in found] == ["ok", "ok", "ok", "in colour", "in colour"]
    assert [snapshot.unchanged for snapshot in found] == [False, False, *[unchanged_s > 0] * 3]


runs = st.lists(
    st.tuples(st.integers(0, len(PICTURES) - 1), st.integers(1, 12), st.sampled_from([0.0, 1 / 30, 0.2, 0.5, 2.5])),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(runs, st.sampled_from([None, 0.0, 0.2]), st.sampled_from([0.3, 1.0]))
def test_the_same_is_said_with_and_without(
    bundle: Bundle, opened: Model, pictures: list, assess_s: float | None, unchanged_s: float
) -> None:
    """Guaranteed for any frames at any times: logits, change, quality, verdict and belief are equal, bit for bit."""
    at, frames = 0.0, []
    for number, times, pause in pictures:
        for _ in range(times):
            at += pause
            frames.append((at, PICTURES[number]))
    with_all = list(judged(Judge(opened, bundle.meta, OverTime(), assess_s, 0.0), frames))
    skipping = list(judged(Judge(opened, bundle.meta, OverTime(), assess_s, unchanged_s), frames))
    assert list(map(said, skipping)) == list(map(said, with_all))
