"""The finder on drawn screens with real and phantom pictures, and what it must not take for a picture."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import FPS, Screen, draw_layout

from device.phantom import make_phantom
from device.phantom_clip import PhantomClip
from device.preprocess import read_picture, to_luma
from device.region.find import EVERY_S, LEAST, Finder, Finding
from device.region.region import Region, crop, overlap
from device.region.still import propose

FRAMES = 23
PHANTOM = make_phantom("benign", 3, (384, 480)).image


def seen(frames: list[np.ndarray]) -> Finding:
    finder = Finder(frames[0].shape[1], frames[0].shape[0])
    for number, frame in enumerate(frames):
        finder.feed(frame, number / FPS)
    return finder.finding()


def frames(screen: Screen, count: int = FRAMES) -> list[np.ndarray]:
    return [screen.frame(number) for number in range(count)]


def check(finding: Finding, screen: Screen, least: float) -> None:
    assert finding.kind == "found", finding.reason
    assert overlap(finding.region, screen.region) >= least
    assert not crop(finding.region, screen.patient_text).any()
    assert not crop(finding.region, screen.text).any()


@pytest.mark.parametrize(("layout", "motion"), [(300, "sweep"), (302, "held"), (303, "sweep"), (304, "sweep")])
def test_the_picture_is_found_and_no_writing_with_it(layout: int, motion: str) -> None:
    screen = Screen(draw_layout(layout), PHANTOM, motion)
    check(seen(frames(screen)), screen, 0.85)


def test_a_real_picture_is_found_under_every_place_of_the_name(shared_data: Path) -> None:
    path = shared_data / "busi" / "Dataset_BUSI_with_GT" / "benign" / "benign (7).png"
    for place, shape in (("above", "linear"), ("corner", "convex"), ("menu", "linear")):
        layout = replace(draw_layout(301), patient=place, shape=shape)
        screen = Screen(layout, to_luma(read_picture(path)), "sweep")
        assert screen.patient_text.any()
        check(seen(frames(screen)), screen, 0.85)


def test_a_frozen_picture_is_unknown_and_a_proposal_says_that_it_is_one() -> None:
    screen = Screen(draw_layout(300), PHANTOM, "frozen")
    finding = seen(frames(screen))
    assert (finding.kind, finding.region, finding.confidence) == ("unknown", None, None)
    assert "frozen" in finding.reason
    proposal = propose(screen.frame(1))
    assert proposal.kind == "proposal"
    assert overlap(proposal.region, screen.region) > 0.85
    assert "confirm" in proposal.reason


def test_clock_figures_pointer_and_a_moving_thumbnail_alone_are_no_picture() -> None:
    layout = replace(draw_layout(300), pointer=True, noise=2.0)
    screen = Screen(layout, PHANTOM, "frozen")
    clip = PhantomClip(1, (76, 100), fps=FPS)
    shown = frames(screen)
    for number, frame in enumerate(shown):
        frame[-90:-14, -110:-10] = clip.frame(7 * number).image
    assert seen(shown).kind == "unknown"


def test_a_whole_frame_that_moves_is_not_taken_for_the_picture() -> None:
    clip = PhantomClip(2, (360, 640), fps=FPS)
    finding = seen([clip.frame(number).image for number in range(FRAMES)])
    assert finding.region is None
    assert "the whole frame moves" in finding.reason


def test_of_two_pictures_side_by_side_none_is_chosen() -> None:
    shown = np.full((FRAMES, 720, 1280), 20, np.uint8)
    for number, frame in enumerate(shown):
        for left in (60, 700):
            frame[200:584, left : left + 480] = np.roll(PHANTOM, 9 * number, axis=1)
    finding = seen(shown)
    assert finding.region is None
    assert "two large areas" in finding.reason


def test_little_seen_is_said_and_only_looks_that_are_due_are_taken() -> None:
    finder = Finder(640, 360)
    frame = np.zeros((360, 640), np.uint8)
    assert finder.finding().reason == f"too little was seen yet (0 of {2 * LEAST} looks)"
    taken = [finder.feed(frame, number / 30) for number in range(60)]
    assert sum(taken) == len(range(0, 60, 6))  # 6 / 30 s is the first multiple at or above EVERY_S
    assert 5 / 30 < EVERY_S <= 6 / 30
    assert finder.looks == sum(taken) - 1
    assert finder.feed(frame, 0.0), "a clock that goes back must not stop the looks"


def test_it_forgets_what_is_long_gone() -> None:
    """A picture that moved to another place is found there after a while, and both never at once."""
    finder = Finder(640, 360)
    rng = np.random.default_rng(3)
    found = []
    for number in range(420):
        frame = np.full((360, 640), 10, np.uint8)
        left = 40 if number < 60 else 330
        frame[40:320, left : left + 270] = cv2.GaussianBlur(rng.integers(0, 256, (280, 270), np.uint8), (0, 0), 1.5)
        finder.feed(frame, number * EVERY_S * 1.001)
        if number in (59, 419):
            found.append(finder.finding().region)
    assert overlap(found[0], Region(40, 40, 270, 280, 640, 360)) > 0.9
    assert overlap(found[1], Region(330, 40, 270, 280, 640, 360)) > 0.9


def test_frames_decoded_smaller_lead_to_the_same_place() -> None:
    screen = Screen(draw_layout(304), PHANTOM, "sweep")
    finder = Finder(screen.layout.width, screen.layout.height)
    half = screen.layout.width // 2, screen.layout.height // 2
    for number in range(FRAMES):
        finder.feed(cv2.resize(screen.frame(number), half, interpolation=cv2.INTER_AREA), number / FPS)
    check(finder.finding(), screen, 0.85)


def test_the_same_frames_give_the_same_finding() -> None:
    shown = frames(Screen(draw_layout(303), PHANTOM, "sweep"))
    assert seen(shown) == seen(shown)


@settings(deadline=None, max_examples=15)
@given(
    width=st.integers(33, 700), height=st.integers(33, 500), seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 256)
)
def test_whatever_comes_a_region_lies_in_the_frame(width: int, height: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    still = rng.integers(0, levels, (height, width), np.uint8)
    left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    finder = Finder(width, height)
    for number in range(22):
        frame = still.copy()
        frame[top : top + height // 2, left : left + width // 2] = rng.integers(0, 256)
        finder.feed(frame, float(number))
    for finding in (finder.finding(), propose(still)):
        assert (finding.region is None) == (finding.kind == "unknown") == (finding.confidence is None)
        if finding.region is not None:
            assert (finding.region.frame_width, finding.region.frame_height) == (width, height)
            assert 0 <= finding.confidence <= 1
