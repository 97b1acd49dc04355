"""Outlines by what an audit found in the pictures, the pictures that all rows miss, and an audit's flags read back."""

from pathlib import Path

import pytest
from small_segment_study import write_study

from device.errors import UserError
from train.audit.flags import FLAGS
from train.audit.known import CONFLICT, NAMES, read_flags
from train.segmentation.by_flag import Miss, missed, parts, write_by_flag
from train.segmentation.results import SegResult
from train.segmentation.scores import Score
from train.segmentation.study import read_study
from train.studies.grid.results import Pictures

_NAMES = ("benign (1).png", "benign (2).png", "malignant (1).png", "malignant (2).png", "normal (1).png")
_PICTURES = Pictures(
    "phantoms", "f", True, "sha256:0", {name: (name.split()[0], str(n)) for n, name in enumerate(_NAMES)}
)


def _lesion(dice: float, found: int = 1) -> Score:
    return Score(dice, dice, 0.5, 0.5, 0.9, 3.0, 0.1, 0.1, 0.0, lesions=1, found=found, false_pieces=0)


_CLEAN = Score(None, None, None, None, 1.0, None, 0.0, 0.0, 0.0, lesions=0, found=0, false_pieces=0)
_RUN = dict(zip(_NAMES, (_lesion(0.9), _lesion(0.1, 0), _lesion(0.7), _lesion(0.3, 0), _CLEAN), strict=True))
_HAS = {name: name in _NAMES[1:3] for name in _NAMES}


def _csv(path: Path, *changes: tuple[str, str]) -> Path:
    """An audit's pictures.csv of _NAMES: the second and third say axilla; text was not read on the fourth."""
    lines = [",".join(("image", "group_id", *NAMES))]
    for number, name in enumerate(_NAMES):
        values = {flag: "0" for flag in NAMES} | {"axilla": str(int(_HAS[name])), "text": "" if number == 3 else "0"}
        lines.append(",".join((name, str(number), *(values[flag] for flag in NAMES))))
    text = "\n".join(lines) + "\n"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_figures_with_and_without_a_flag_by_hand() -> None:
    (found,) = parts([_RUN], _PICTURES, {"axilla": _HAS}, 20)
    assert found.count == (2, 2), "the normal picture has no lesion to outline"
    with_, without = found.figures
    assert with_["dice"].value == pytest.approx(0.4)
    assert without["dice"].value == pytest.approx(0.6)
    assert with_["lesions_found"].value == pytest.approx(0.5)
    assert with_["dice"].low is not None


def test_two_seeds_are_averaged_and_an_unknown_flag_is_on_neither_side() -> None:
    other = _RUN | {_NAMES[0]: _lesion(0.5)}
    (found,) = parts([_RUN, other], _PICTURES, {"text": dict(_HAS) | {_NAMES[3]: None}}, 20)
    assert found.count == (2, 1)
    assert found.figures[1]["dice"].value == pytest.approx(0.7)


def test_a_flag_that_no_picture_has_is_unknown_and_not_zero() -> None:
    (found,) = parts([_RUN], _PICTURES, {"colour": dict.fromkeys(_NAMES, False)}, 20)
    assert found.count == (0, 4)
    assert found.figures[0]["dice"].value is None
    assert found.figures[1]["dice"].value == pytest.approx(0.5)


def test_missed_is_what_two_rows_judged_and_none_outlines() -> None:
    again = {_NAMES[1]: _lesion(0.2), _NAMES[3]: _lesion(0.5), _NAMES[4]: _CLEAN}
    alone = {name: score for name, score in _RUN.items() if name != _NAMES[1]}
    assert missed([[_RUN], [again]], {"axilla": _HAS}) == [Miss(_NAMES[1], 2, pytest.approx(0.2), ("axilla",))]
    assert missed([[alone], [again]], {}) == [], "one row alone says nothing of the others"
    assert missed([[_RUN, {_NAMES[1]: _lesion(0.9)}], [again]], {}) == [], "of two seeds the mean counts"


def test_the_page_says_what_it_counts(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    results = {
        (slug, 0, fold): SegResult(
            row=slug, seed=0, fold=fold, recipe={}, data="", split="", teachers={}, parameters=1, mebibytes=1.0,
            multiply_adds=1, validation={}, seconds=1.0, hardware="", versions={}, scores=scores,
                classes={},
        )
        for slug in ("alone", "taught")
        for fold, scores in ((0, dict(list(_RUN.items())[:2])), (2, dict(list(_RUN.items())[2:])))
    }  # fmt: skip
    flags = read_flags(_csv(tmp_path / "pictures.csv"), _NAMES)
    page = write_by_flag(tmp_path, study, _PICTURES, results, flags, 20).read_text()
    assert "never a diagnosis" in page
    assert "SYNTHETIC phantoms" in page
    assert "## benign teacher" not in page, "it has no results"
    assert page.count("| axilla | 2, 2 | 40.0 [") == 2
    assert "2 of 4 lesion pictures have a Dice under 50%" in page
    assert "| benign (2).png | 2 | 10.0 | axilla |\n| malignant (2).png | 2 | 30.0 |  |\n" in page


def test_flags_are_read_as_the_audit_writes_them(tmp_path: Path) -> None:
    flags = read_flags(_csv(tmp_path / "pictures.csv"), _NAMES[1:4])
    assert flags is not None
    assert set(flags) == {*FLAGS, CONFLICT}
    assert flags["axilla"] == {_NAMES[1]: True, _NAMES[2]: True, _NAMES[3]: False}
    assert flags["text"][_NAMES[3]] is None


def test_groups_of_another_kind_have_no_flags(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("image,group_id\nbenign (1).png,0\n")
    assert read_flags(path, ["benign (1).png"]) is None


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("axilla", "armpit"), "the column 'axilla' is missing"),
        (("benign (2)", "benign (9)"), r"names no picture 'benign \(2\)"),
        (("benign (1).png,0,0", "benign (1).png,0,yes"), r"several_masks of 'benign \(1\).png' is 'yes'"),
    ],
)
def test_a_damaged_audit_is_refused(tmp_path: Path, change: tuple[str, str], wanted: str) -> None:
    path = _csv(tmp_path / "pictures.csv", change)
    with pytest.raises(UserError, match=wanted) as caught:
        read_flags(path, _NAMES)
    assert str(path) in str(caught.value)


def test_an_unreadable_audit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: not readable as CSV"):
        read_flags(tmp_path / "none.csv", _NAMES)
    (tmp_path / "bytes.csv").write_bytes(b"image,axilla\n\xff\xfe,1\n")
    with pytest.raises(UserError, match=r"bytes\.csv: not readable as CSV"):
        read_flags(tmp_path / "bytes.csv", _NAMES)
