"""Calipers, colour boxes, text, axilla words, sizes: drawn ones by construction, real ones by name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from audit_pictures import tissue
from hypothesis import given
from hypothesis import strategies as st

from device.preprocess import read_picture
from train.audit.flags import unusual_sizes
from train.audit.marks import caliper_marks, has_colour_box, tint
from train.audit.text import is_text, may_have_text, read_lines, says_axilla


def real(shared_data: Path, name: str) -> np.ndarray:
    return read_picture(shared_data / "busi" / "Dataset_BUSI_with_GT" / name.split()[0] / f"{name}.png")


def crossed(*places: tuple[int, int], kind: int = cv2.MARKER_CROSS, level: int = 230) -> np.ndarray:
    picture = tissue(1, (300, 400)) // 2
    for place in places:
        cv2.drawMarker(picture, place, level, kind, 17, 2)
    return picture


@pytest.mark.parametrize("kind", [cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS])
def test_drawn_calipers_are_found_where_they_are(kind: int) -> None:
    places = [(100, 80), (250, 90), (170, 40), (180, 150)]
    found = caliper_marks(crossed(*places, kind=kind))
    assert len(found) == 4
    for place in places:
        assert np.abs(found - place).sum(1).min() <= 2


def test_yellow_calipers_are_found_in_a_colour_picture() -> None:
    picture = cv2.cvtColor(tissue(2, (300, 400)) // 3, cv2.COLOR_GRAY2BGR)
    for place in ((100, 80), (250, 90)):
        cv2.drawMarker(picture, place, (0, 255, 255), cv2.MARKER_CROSS, 17, 2)
    assert len(caliper_marks(picture)) == 2


def test_one_cross_or_faint_crosses_or_lines_or_boxes_are_no_calipers() -> None:
    assert len(caliper_marks(crossed((100, 80)))) == 0
    assert len(caliper_marks(np.full((300, 400), 90, np.uint8))) == 0
    for level, wanted in ((115, 0), (130, 0), (160, 2)):
        faint = np.full((300, 400), 90, np.uint8)
        for place in ((100, 80), (250, 90)):
            cv2.drawMarker(faint, place, level, cv2.MARKER_CROSS, 17, 2)
        assert len(caliper_marks(faint)) == wanted
    boxed = tissue(3, (300, 400)) // 2
    cv2.rectangle(boxed, (60, 60), (300, 200), 230, 2)
    assert len(caliper_marks(boxed)) == 0
    assert len(caliper_marks(tissue(4, (300, 400)))) == 0


def test_calipers_in_real_pictures(shared_data: Path) -> None:
    for name, wanted in {"benign (222)": 4, "malignant (127)": 4, "benign (261)": 2}.items():
        assert len(caliper_marks(real(shared_data, name))) == wanted, name
    for name in ("benign (207)", "benign (236)", "malignant (103)", "normal (118)"):
        assert len(caliper_marks(real(shared_data, name))) == 0, name


def test_a_colour_box_is_a_coloured_rectangle() -> None:
    grey = cv2.cvtColor(tissue(5, (300, 400)), cv2.COLOR_GRAY2BGR)
    boxed = grey.copy()
    cv2.rectangle(boxed, (80, 40), (260, 180), (100, 170, 170), 1)
    assert has_colour_box(boxed)
    white = grey.copy()
    cv2.rectangle(white, (80, 40), (260, 180), (200, 200, 200), 1)
    assert not has_colour_box(white)
    flow = grey.copy()
    cv2.circle(flow, (200, 100), 12, (0, 0, 255), -1)
    assert not has_colour_box(flow)
    assert not has_colour_box(grey)
    assert not has_colour_box(grey[:, :, 0])


def test_colour_boxes_in_real_pictures(shared_data: Path) -> None:
    for name in ("benign (6)", "benign (261)", "malignant (196)"):
        assert has_colour_box(real(shared_data, name)), name
    for name in ("benign (69)", "malignant (65)", "normal (113)"):
        assert not has_colour_box(real(shared_data, name)), name


def test_tint_is_the_spread_of_the_channels() -> None:
    assert tint(np.array([[[10, 30, 25], [7, 7, 7]]], np.uint8)).tolist() == [[20, 0]]
    assert tint(np.array([[10, 200]], np.uint8)).tolist() == [[0, 0]]


def test_text_is_read_and_plain_tissue_has_none() -> None:
    picture = tissue(6, (300, 400)) // 2
    assert not may_have_text(picture)
    assert read_lines(picture) == ()
    cv2.putText(picture, "LT AXILLA", (60, 250), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 230, 2)
    assert may_have_text(picture)
    assert [line.replace(" ", "") for line in read_lines(picture)] == ["LTAXILLA"]
    assert read_lines(np.dstack([picture] * 3)) == read_lines(picture)


def test_text_in_real_pictures(shared_data: Path) -> None:
    names = {
        "benign (207)": "LTAXILLA",
        "benign (236)": "RTAXILLA",
        "malignant (11)": "AXILLA",
        "malignant (61)": "TAX",
    }
    for name, wanted in names.items():
        assert wanted in [line.replace(" ", "") for line in read_lines(real(shared_data, name))], name


@pytest.mark.parametrize(
    "line",
    [
        "RT AXILLA",
        "RTAXILLA",
        "It axilla",
        "rt axilla",
        "AXILLA",
        "LT AX",
        "T AX",
        "RTB AX",
        "AX1LLA",
        "L AXIL",
        "AXILLARY",
        "RTAX",
    ],
)
def test_lines_that_say_axilla(line: str) -> None:
    assert says_axilla(line)


@pytest.mark.parametrize("line", ["AX TAIL", "LT AX TAIL", "RT UOQ", "MAXIMUM", "AXIS", "LOGIQ E9", "", "FAX"])
def test_lines_that_do_not(line: str) -> None:
    assert not says_axilla(line)


@pytest.mark.parametrize(("line", "wanted"), [("RT", True), ("LT3", True), ("1", False), ("12", False), ("- .", False)])
def test_a_number_alone_is_no_text(line: str, wanted: bool) -> None:
    assert is_text(line) == wanted


def test_unusual_sizes_by_hand() -> None:
    sizes = [(480, 560), (478, 566), (470, 560), (485, 570), (476, 550), (481, 561), (700, 300), (1400, 1680)]
    assert unusual_sizes(sizes, 5).tolist() == [False] * 6 + [True, True]
    assert unusual_sizes([(100, 100)] * 5 + [(100, 101)], 5).tolist() == [False] * 5 + [True]
    assert unusual_sizes([(100, 100)] * 5, 5).tolist() == [False] * 5


@given(st.lists(st.tuples(st.integers(32, 2000), st.integers(32, 2000)), min_size=1, max_size=30), st.integers(2, 4))
def test_unusual_sizes_do_not_depend_on_the_unit(sizes: list[tuple[int, int]], factor: int) -> None:
    found = unusual_sizes(sizes, 5)
    assert found.sum() <= len(sizes) // 2 * 2  # per measure at most half can be far from the median
    assert unusual_sizes([(h * factor, w * factor) for h, w in sizes], 5).tolist() == found.tolist()
