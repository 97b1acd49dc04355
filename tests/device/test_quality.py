"""What is refused before it is judged: what is no ultrasound picture, whatever it shows; and real pictures are not."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_sample_images

from device import quality
from device.bundle import load_bundle
from device.capture import Frame
from device.decide import ABSTAIN
from device.familiar import FEATURES, Familiar, score, statistics
from device.judge import Judge
from device.main import main
from device.over_time import OverTime
from device.preprocess import Preprocess, prepare, read_picture
from device.quality import BLANK, BLURRED, COLOURED, DARK, OK, UNFAMILIAR, assess
from device.runtime import open_bundle
from device.shipped import default_bundle

INPUT = load_bundle(default_bundle()).meta.preprocess
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def known() -> Familiar:
    """What the shipped model's training pictures are like."""
    found = load_bundle(default_bundle()).meta.familiar
    assert found is not None
    return found


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[np.ndarray]:
    """A thirteenth of BUSI, seen in training or not."""
    paths = sorted(p for p in (shared_data / "busi").rglob("*.png") if "_mask" not in p.name)
    return [read_picture(path) for path in paths[::13]]


def state(picture: np.ndarray, known: Familiar | None) -> str:
    return assess(prepare(picture, INPUT), picture, known).state


def states(pictures: list[np.ndarray], known: Familiar | None) -> list[str]:
    return [state(picture, known) for picture in pictures]


def photographs() -> list[np.ndarray]:
    """Two real ones in grey, whole and in pieces."""
    whole = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in load_sample_images().images]
    return whole + [one[y : y + 213, x : x + 320] for one in whole for y in (0, 213) for x in (0, 320)]


def noise() -> list[np.ndarray]:
    white = [RNG.integers(0, 256, (480, 640), np.uint8) for _ in range(3)]
    return white + [cv2.GaussianBlur(white[0], (0, 0), sigma) for sigma in (1, 2, 3, 5)]


def test_cards() -> list[np.ndarray]:
    bars = np.repeat(np.linspace(20, 235, 8).astype(np.uint8), 80)[None].repeat(480, axis=0)
    grid = np.full((480, 640), 40, np.uint8)
    grid[::40] = grid[:, ::40] = 220
    return [
        bars,
        grid,
        cv2.circle(grid.copy(), (320, 240), 200, 255, 3),
        np.tile(np.arange(256, dtype=np.uint8), (200, 1)),
    ]


test_cards.__test__ = False


def desktop(seed: int) -> np.ndarray:
    """Windows of text on a plain background."""
    rng = np.random.default_rng(seed)
    screen = np.full((720, 1280), rng.integers(0, 200), np.uint8)
    for _ in range(4):
        x, y, width, height = (int(rng.integers(*ends)) for ends in ((0, 900), (0, 450), (200, 600), (150, 400)))
        paper = int(rng.choice([245, 30]))
        cv2.rectangle(screen, (x, y), (x + width, y + height), paper, -1)
        for line in range(10):
            text = "File Edit View Window Help"[: rng.integers(5, 26)]
            cv2.putText(screen, text, (x + 8, y + 25 + line * 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255 - paper, 1)
    return screen


def test_real_pictures_pass(known: Familiar, real: list[np.ndarray]) -> None:
    found = states(real, known)
    assert len(found) == 60
    assert found.count(OK) >= 58, "the limit leaves 99 in a hundred"


@pytest.mark.parametrize(
    "pictures",
    [photographs(), noise(), test_cards(), [desktop(seed) for seed in range(8)]],
    ids=["photographs", "noise", "test cards", "desktops"],
)
def test_what_is_no_ultrasound_picture_is_refused(known: Familiar, pictures: list[np.ndarray]) -> None:
    assert set(states(pictures, known)) <= {UNFAMILIAR, BLANK}


def moved(picture: np.ndarray, rows: int) -> np.ndarray:
    """As it looks when it moves up by so many rows while it is taken."""
    return cv2.filter2D(picture, -1, np.full((rows, 1), 1 / rows))


def test_a_picture_that_motion_has_blurred_is_refused(known: Familiar, real: list[np.ndarray]) -> None:
    assert BLURRED not in states(real, known)
    fast = states([moved(picture, 25) for picture in real], known)
    assert set(fast) <= {BLURRED, UNFAMILIAR}
    assert states([moved(picture, 15) for picture in real], known).count(BLURRED) >= 30


@pytest.mark.parametrize("side", [96, 128, 192, 224, 256, 320])
def test_no_input_size_makes_a_picture_blurred(real: list[np.ndarray], side: int) -> None:
    lumas = [prepare(picture, Preprocess(height=side, width=side)) for picture in real]
    assert min(quality.edges(luma) for luma in lumas) > quality.least_edges((side, side))


@given(gain=st.floats(0.3, 0.95), rows=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_gain_makes_nothing_blurred(real: list[np.ndarray], gain: float, rows: int) -> None:
    luma = prepare(moved(real[0], rows), INPUT)
    dimmed = np.rint(luma * gain).astype(np.uint8)
    assert quality.edges(dimmed) == pytest.approx(quality.edges(luma), abs=0.03)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(32, 60), st.integers(32, 60))))
def test_brightness_and_edges_are_what_numpy_says(luma: np.ndarray) -> None:
    share = luma.size // 100
    assert quality._bright(luma) == np.partition(luma, -share, axis=None)[-share]
    by_numpy = np.abs(cv2.Laplacian(luma, cv2.CV_16S, ksize=1)).mean() / max(float(luma.std()), 1e-9)
    assert quality.edges(luma) == pytest.approx(by_numpy, rel=1e-9)


def test_a_machine_s_whole_screen_is_refused_until_it_is_cropped(known: Familiar, real: list[np.ndarray]) -> None:
    screens = [cv2.copyMakeBorder(p, 200, 200, 300, 300, cv2.BORDER_CONSTANT, value=(20, 20, 20)) for p in real[::6]]
    assert set(states(screens, known)) == {UNFAMILIAR}


def test_doppler_is_refused_and_coloured_marks_are_not(known: Familiar, real: list[np.ndarray]) -> None:
    for picture in real[::6]:
        grey = picture if picture.ndim == 2 else picture[:, :, 0]
        colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        height, width = grey.shape
        marked = colour.copy()
        cv2.drawMarker(marked, (width // 3, height // 2), (0, 255, 255), cv2.MARKER_CROSS, 12, 1)
        cv2.ellipse(colour, (width // 2, height // 2), (width // 8, height // 8), 0, 0, 360, (40, 40, 230), -1)
        assert state(colour, known) == COLOURED
        assert state(marked, known) == state(grey, known)


@pytest.mark.parametrize(
    ("picture", "wanted"),
    [
        (np.zeros((480, 640), np.uint8), BLANK),
        (np.full((480, 640, 3), (255, 0, 0), np.uint8), BLANK),  # a grabber's blue
        (RNG.integers(0, 40, (224, 224)).astype(np.uint8), DARK),
    ],
    ids=["black", "blue", "dark"],
)
def test_loss_and_darkness_have_their_names(picture: np.ndarray, wanted: str) -> None:
    assert state(picture, None) == wanted


def test_without_knowledge_nothing_is_unfamiliar() -> None:
    assert assess(prepare(desktop(1), INPUT), desktop(1), None) == quality.Quality(OK, None)


def test_a_grey_frame_that_was_coloured_is_refused_as_in_colour(real: list[np.ndarray]) -> None:
    luma = cv2.resize(real[0] if real[0].ndim == 2 else cv2.cvtColor(real[0], cv2.COLOR_BGR2GRAY), (224, 224))
    assert assess(luma, luma, None).state == OK
    assert assess(luma, luma, None, quality.COLOUR_SHARE).state == OK
    assert assess(luma, luma, None, quality.COLOUR_SHARE + 0.001).state == COLOURED


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_the_share_of_colour_is_that_of_the_plain_definition(pixels: np.ndarray) -> None:
    wanted = (np.ptp(pixels, axis=2) > quality.COLOUR_DIFFERENCE).mean()
    assert quality.coloured_share(pixels) == pytest.approx(wanted)
    assert quality.coloured_share(pixels[::2, ::2]) == pytest.approx(
        (np.ptp(pixels[::2, ::2], axis=2) > quality.COLOUR_DIFFERENCE).mean()
    )


def test_statistics_by_hand() -> None:
    # Left half 50, right half 150, 64 x 64: mean 100, spread 50, two shades of a half each: entropy ln 2.
    luma = np.full((64, 64), 50, np.uint8)
    luma[:, 32:] = 150
    found = dict(zip(FEATURES, statistics(luma), strict=True))
    assert (found["mean"], found["spread"]) == (pytest.approx(100), pytest.approx(50))
    assert found["entropy"] == pytest.approx(np.log(2))
    assert (found["black"], found["white"], found["upper_to_lower"], found["rows"]) == (0, 0, 0, 0)
    assert found["columns"] == pytest.approx(50 / 104)
    # one step of 100 in 63 from left to right, none from top to bottom
    assert found["grain_0"] == pytest.approx(np.log(100 / 63 + 0.5))
    assert found["direction_0"] == pytest.approx(np.log((100 / 63 + 0.25) / 0.25))


def test_the_score_is_the_distance_of_mahalanobis() -> None:
    count = len(FEATURES)
    luma = RNG.integers(0, 256, (64, 64), np.uint8)
    values = statistics(luma)
    precision = np.eye(count)
    precision[0, 1] = precision[1, 0] = 0.5
    rows = tuple(tuple(row) for row in precision)
    known = Familiar(FEATURES, tuple(values - 2.0), (2.0,) * count, rows, limit=9.0, derived_on="by hand")
    # each statistic is 1 scale off: their squares sum to the count, and twice 0.5 for the pair
    assert score(luma, known) == pytest.approx(count + 1)


@settings(deadline=None, max_examples=60)
@given(luma=hnp.arrays(np.uint8, st.tuples(st.integers(32, 80), st.integers(32, 80))))
def test_any_picture_has_finite_statistics(luma: np.ndarray) -> None:
    assert np.isfinite(statistics(luma)).all()


@pytest.mark.parametrize(
    "change", [{"limit": 0.0}, {"scale": (0.0,) * 20}, {"mean": (0.0,)}, {"features": ("a",) * 20}]
)
def test_knowledge_that_cannot_be_used_is_refused(known: Familiar, change: dict) -> None:
    with pytest.raises(ValueError, match=r"must|above 0|convert again"):
        dataclasses.replace(known, **change)


def test_a_refused_frame_is_abstained_from_and_forgets_what_was_seen(real: list[np.ndarray]) -> None:
    bundle = load_bundle(default_bundle())
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime())
    shown = [real[0], real[0], desktop(2), real[0]]
    found = [judge.judge(Frame(pixels, n, n / 30, str(n)), n / 30, n / 30) for n, pixels in enumerate(shown)]
    assert [one.quality.state for one in found] == [OK, OK, UNFAMILIAR, OK]
    assert (found[2].verdict.label, found[2].verdict.reason) == (ABSTAIN, UNFAMILIAR)
    assert (found[2].belief.verdict.label, found[2].belief.verdict.reason) == (ABSTAIN, UNFAMILIAR)
    assert [one.belief.frames for one in found] == [1, 2, 0, 1]


def test_quality_is_looked_at_now_and_then_but_at_once_in_a_new_scene(
    real: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, asked = load_bundle(default_bundle()), []
    monkeypatch.setattr("device.judge.assess", lambda *given: asked.append(1) or assess(*given))
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime(), assess_s=0.2)
    for n in range(12):  # 0.4 s of one picture, then another
        pixels = (real[0] if n < 11 else real[1]).copy()
        pixels[0, 0] = n  # what has not changed at all is not looked at again (tests/device/test_unchanged.py)
        judge.judge(Frame(pixels, n, n / 27.5, str(n)), n / 27.5, n / 27.5)
    assert len(asked) == 3, "at 0, at 0.22 and with the other picture"
    unasked = Judge(open_bundle(bundle), bundle.meta, OverTime(), assess_s=None)
    assert unasked.judge(Frame(desktop(3), 0, 0.0, "0"), 0.0, 0.0).quality.state == OK
    assert len(asked) == 3


def test_a_folder_is_told_state_by_state(tmp_path: Path, real: list[np.ndarray], capsys: pytest.CaptureFixture) -> None:
    for number, picture in enumerate([real[0], real[5], desktop(4), np.zeros((40, 60), np.uint8)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    (tmp_path / "9.png").write_bytes(b"\x89PNG and then nothing")
    assert main(["device", "quality", str(tmp_path), "--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Research use only")
    assert said[1].startswith("2.png: unfamiliar (")
    assert said[2:4] == ["3.png: blank", "ok 2, blank 1, too dark 0, in colour 0, blurred 0, unfamiliar 1 of 4."]
    assert "limit" in said[4]
    assert said[5] == "1 do not decode and were left out."


def test_a_bundle_without_knowledge_says_so(
    tmp_path: Path, bundle_dir: Path, capsys: pytest.CaptureFixture, trusted_keys: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), desktop(4))
    bundle = ["--bundle", str(bundle_dir / "int8-full"), "--trusted-keys", str(trusted_keys)]
    assert main(["device", "quality", str(tmp_path), *bundle]) == 0
    assert "tiny does not know its training pictures: none can be unfamiliar." in capsys.readouterr().out
    (tmp_path / "a.png").write_bytes(b"nothing")
    assert main(["device", "quality", str(tmp_path), *bundle]) == 2
    assert "none of its 1 pictures decodes" in capsys.readouterr().err


def test_a_grey_picture_with_a_channel_of_its_own_is_as_one_without() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert quality.assess(luma, luma[:, :, None], None) == quality.assess(luma, luma, None)
