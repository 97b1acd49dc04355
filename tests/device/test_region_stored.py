"""The file of regions: a hand's word stays, damage is said, another layout is noticed, and nothing is readable."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import Screen, draw_layout

from device.errors import UserError
from device.phantom import make_phantom
from device.region import furniture, stored
from device.region.region import Region
from device.region.stored import Stored

REGION = Region(320, 90, 640, 480, 1280, 720)
OTHER = Region(300, 80, 600, 400, 1280, 720)
SOURCE = "v4l2 MacroSilicon 534d:2109"
PICTURES = [make_phantom(label, seed, (384, 480)).image for label, seed in (("benign", 1), ("malignant", 2))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "regions.json"


def test_nothing_is_stored_at_first_and_what_is_stored_comes_back(path: Path) -> None:
    assert dict(stored.load(path)) == {}
    found = Stored(SOURCE, REGION, "found", "0f" * (furniture.LENGTH // 2))
    small = Stored(SOURCE, Region(0, 0, 64, 64, 640, 360), "set by hand")
    for one in (found, small):
        assert stored.store(one, path) == one
    assert list(stored.load(path).values()) == [found, small]
    assert stored.clear(small.key, path)
    assert not stored.clear(small.key, path)
    assert list(stored.load(path)) == [(SOURCE, 1280, 720)]


@pytest.mark.parametrize("hand", ["set by hand", "confirmed by hand"])
def test_what_is_found_does_not_overwrite_a_hand(path: Path, hand: stored.State) -> None:
    by_hand, found = Stored(SOURCE, REGION, hand), Stored(SOURCE, OTHER, "found")
    stored.store(found, path)
    assert stored.store(by_hand, path) == by_hand
    assert stored.store(found, path) == by_hand
    assert stored.load(path)[by_hand.key] == by_hand


NAMES = st.sampled_from(["a", "b", "video c d.avi"])
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["found", "confirmed by hand", "set by hand", None]), st.booleans()))


@settings(deadline=None, max_examples=40)
@given(STEPS)
def test_it_is_a_table_whatever_is_done(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    path, wanted = tmp_path_factory.mktemp("regions") / "r.json", {}
    for source, state, first in steps:
        if state is None:
            gone = stored.clear((source, 1280, 720), path)
            assert gone == (wanted.pop(source, None) is not None)
            continue
        new, old = Stored(source, REGION if first else OTHER, state), wanted.get(source)
        if old is None or state != "found" or old.state == "found":
            wanted[source] = new
        assert stored.store(new, path) == wanted[source]
    assert {key[0]: one for key, one in stored.load(path).items()} == wanted


def test_a_full_file_gives_up_the_oldest_found_one_and_never_one_by_hand(path: Path) -> None:
    stored.store(Stored("hand", REGION, "set by hand"), path)
    for number in range(stored.MOST):
        stored.store(Stored(f"n{number}", REGION, "found"), path)
    kept = [key[0] for key in stored.load(path)]
    assert len(kept) == stored.MOST
    assert kept[:2] == ["hand", "n1"]
    for number in range(1, stored.MOST):
        stored.store(Stored(f"n{number}", REGION, "confirmed by hand"), path)
    with pytest.raises(UserError, match="remove one first"):
        stored.store(Stored("more", REGION, "set by hand"), path)
    assert len(stored.load(path)) == stored.MOST


def whole_file() -> dict:
    entry = {"source": SOURCE, "region": str(REGION), "state": "found", "signature": None}
    return {"schema": 1, "regions": [entry]}


def damaged() -> dict[str, bytes]:
    text = json.dumps(whole_file())
    entry = text[text.index("[") + 1 : text.rindex("]")]
    return {
        "half": text[: len(text) // 2].encode(),
        "empty": b"",
        "binary": b"\xff\x00\x80",
        "deep": b"[" * 5000,
        "list": b"[]",
        "schema": text.replace('"schema": 1', '"schema": 2').encode(),
        "state": text.replace("found", "guessed").encode(),
        "region": text.replace("640x480", "6400x480").encode(),
        "number": text.replace(f'"{SOURCE}"', "7").encode(),
        "signature": text.replace("null", '"zz"').encode(),
        "unknown key": text.replace('"state"', '"more": 1, "state"').encode(),
        "twice": text.replace(entry, f"{entry}, {entry}").encode(),
        "too many": text.replace(entry, ", ".join([entry] * 65)).encode(),
        "too large": text.encode() + b" " * stored.MOST_BYTES,
    }


@pytest.mark.parametrize("what", damaged())
def test_a_damaged_file_is_named_with_what_to_do_and_left_alone(path: Path, what: str) -> None:
    path.parent.mkdir()
    path.write_bytes(damaged()[what])
    for call in (lambda: stored.load(path), lambda: stored.store(Stored(SOURCE, OTHER, "found"), path)):
        with pytest.raises(UserError, match=r"regions\.json: is damaged .*delete it"):
            call()
    assert path.read_bytes() == damaged()[what]


def test_a_file_that_cannot_be_read_is_said(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        stored.load(path)


@pytest.mark.parametrize("source", ["", " a", "a\nb", "x" * 201])
def test_a_source_s_name_is_one_line(source: str) -> None:
    with pytest.raises(ValueError, match="a source's name"):
        Stored(source, REGION, "found")


def test_another_patient_and_picture_fit_and_another_layout_or_size_does_not() -> None:
    layout = draw_layout(310)
    screen = Screen(layout, PICTURES[0], "sweep", patient=0)
    one = Stored(SOURCE, screen.region, "found").signed(screen.frame(0))
    for number in (1, 9, 40):
        assert one.still_valid(Screen(layout, PICTURES[1], "sweep", patient=number).frame(number))
    half = screen.frame(0)[::2, ::2]
    assert one.no_longer_valid(half).startswith(f"frames are {half.shape[1]}x{half.shape[0]} now")
    shifted = np.roll(screen.frame(0), layout.width // 5, axis=1)
    assert "looks different" in one.no_longer_valid(shifted)
    assert not one.still_valid(np.zeros_like(screen.frame(0)))
    assert replace(one, signature=None).still_valid(shifted), "unsigned, the size is all that is known"


def test_a_picture_that_has_grown_over_the_region_is_noticed() -> None:
    layout = replace(draw_layout(310), shape="linear")
    narrow = Screen(layout, PICTURES[0][:, :300], "held")
    wide = Screen(layout, PICTURES[0], "held")
    assert wide.region.width > 1.2 * narrow.region.width
    one = Stored(SOURCE, narrow.region, "found").signed(narrow.frame(0))
    assert "beside the picture" in one.no_longer_valid(wide.frame(3))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_nothing_of_the_picture_is_in_a_signature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = Screen(draw_layout(310), PICTURES[0], "held").frame(0)
    before = furniture.signature(frame, REGION)
    frame[REGION.y : REGION.bottom, REGION.x : REGION.right] = rng.integers(0, 256, (480, 640), np.uint8)
    assert furniture.signature(frame, REGION) == before
    assert furniture.LENGTH * 4 < 700, "bits for the whole screen: fewer than one line of writing has pixels"


def test_a_signature_is_of_a_full_frame_and_of_known_form() -> None:
    with pytest.raises(ValueError, match="not one of the region's"):
        furniture.signature(np.zeros((360, 640), np.uint8), REGION)
    with pytest.raises(ValueError, match="hexadecimal"):
        furniture.changed(np.zeros((720, 1280), np.uint8), REGION, "00")
    edge, frame = Region(0, 0, 1280, 720, 1280, 720), np.zeros((720, 1280), np.uint8)
    assert furniture.changed(frame + 9, edge, furniture.signature(frame, edge)) is None
