"""The list of pairs that a person has looked at."""

from pathlib import Path

import pytest

from device.errors import UserError
from train.audit.reviewed import BUSI, COLUMNS, Review, decided, read_reviews

HEAD = ",".join(COLUMNS) + "\n"
A, B = "0123456789abcdef", "fedcba9876543210"


def written(folder: Path, text: str) -> Path:
    path = folder / "reviewed.csv"
    path.write_text(text)
    return path


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        read_reviews(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_rows_are_read_and_comments_are_not(tmp_path: Path) -> None:
    path = written(tmp_path, f'# why\n\n{HEAD}a.png,b.png,{A},{B},same,"one lesion, two frames"\n# x\n')
    assert read_reviews(path) == [Review("a.png", "b.png", A, B, "same", "one lesion, two frames")]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none.csv", "not readable")
    refused(written(tmp_path, ""), "columns")
    refused(written(tmp_path, "name_a,name_b\n"), "columns")
    refused(written(tmp_path, f"{HEAD}a.png,b.png,{A},{B},maybe,x\n"), "'a.png'", "same or different")
    refused(written(tmp_path, f"{HEAD}a.png,b.png,{A[:5]},{B},same,x\n"), "'01234'", "pixel hash")
    refused(written(tmp_path, f"{HEAD}a.png,b.png,{A},{B.upper()},same,x\n"), "pixel hash")
    refused(written(tmp_path, f"{HEAD}a.png,b.png,{A},{B},same\n"), "6 cells")
    refused(written(tmp_path, f"{HEAD}a.png,b.png,{A},{B},same,x,y\n"), "6 cells")
    path = tmp_path / "bytes.csv"
    path.write_bytes(b"\xff\xfe\x00")
    refused(path, "UTF-8")


def test_a_decision_counts_only_for_the_very_pixels() -> None:
    review = Review("b.png", "a.png", B, A, "same", "")
    assert decided([review], {"a.png": A + "77", "b.png": B + "88"}) == {("a.png", "b.png"): review}
    assert decided([review], {"a.png": A, "b.png": A}) == {}
    assert decided([review], {"a.png": A}) == {}


def test_the_shipped_list_is_about_busi(shared_data: Path) -> None:
    reviews = read_reviews(BUSI)
    assert len({(one.name_a, one.name_b) for one in reviews}) == len(reviews) > 30
    root = shared_data / "busi" / "Dataset_BUSI_with_GT"
    for one in reviews:
        for name in (one.name_a, one.name_b):
            assert (root / name.split()[0] / name).is_file()
