"""The adapters of the external sets, on the real folders and on small ones with one thing wrong."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_external import DOUBTFUL, LABELS, write_small_external
from train_commands import refused

from device.errors import UserError
from device.preprocess import Preprocess, prepare, read_picture
from train.data.busi import read_dataset, write_picture
from train.external.adapters import load_lumas, read_external


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_small_external(tmp_path / "external")


def test_real_sets_are_whole_and_counted_as_published(shared_data: Path) -> None:
    found = {one.name: one for one in read_external(shared_data / "external")}
    counts = {name: Counter(p.label for p in one.pictures) for name, one in found.items()}
    assert counts == {
        "BrEaST": {"benign": 154, "malignant": 98},
        "BUID": {"benign": 109, "malignant": 123},
        "BUS-CoT_43": {"benign": 27, "malignant": 16},
        "STU-Hospital": {None: 42},
    }
    assert {name: one.view for name, one in found.items()} == {
        "BrEaST": "lesion-crop",
        "BUID": "lesion-crop",
        "BUS-CoT_43": "whole",
        "STU-Hospital": "whole",
    }
    assert sum(p.doubtful for p in found["BUS-CoT_43"].pictures) == 16
    assert len({p.group for p in found["BUS-CoT_43"].pictures}) == 41
    assert len({p.group for p in found["BUID"].pictures}) == 231
    assert all(p.path.is_file() and p.masks[0].is_file() for one in found.values() for p in one.pictures)
    assert load_lumas(found["STU-Hospital"].pictures[:2], Preprocess()).shape == (2, 224, 224)


def test_known_rows_of_real_tables(shared_data: Path) -> None:
    of = {(one.name, p.name): p for one in read_external(shared_data / "external") for p in one.pictures}
    assert of["BrEaST", "007_img.png"].label == "malignant"
    assert of["BUID", "53 Benign_img.png"].masks[0].name == "53 Benign_roi.png"
    doubtful = of["BUS-CoT_43", "000029@0.png"]
    assert (doubtful.label, doubtful.doubtful) == ("malignant", True)
    assert of["STU-Hospital", "Test_Image_12.png"].masks[0].name == "mask_12.png"


def test_small_sets(root: Path) -> None:
    found = {one.name: one for one in read_external(root)}
    for name in ("BrEaST", "BUID", "BUS-CoT_43"):
        assert tuple(p.label for p in found[name].pictures) == LABELS
    assert tuple(p.doubtful for p in found["BUS-CoT_43"].pictures) == tuple(bool(d) for d in DOUBTFUL)
    assert not any(p.doubtful for p in found["BrEaST"].pictures)
    assert all(p.group == p.name for one in found.values() for p in one.pictures)
    picture = found["BUID"].pictures[2]
    expected = prepare(read_picture(root / "BUID" / "img" / "2_img.png"), Preprocess(32, 32))
    assert np.array_equal(load_lumas([picture], Preprocess(32, 32))[0], expected)


def test_any_subset_but_not_none(root: Path, tmp_path: Path) -> None:
    (root / "BrEaST").rename(tmp_path / "BrEaST")
    assert [one.name for one in read_external(root)] == ["BUID", "BUS-CoT_43", "STU-Hospital"]
    with pytest.raises(UserError, match="none of the external sets"):
        read_external(tmp_path / "nothing")


@pytest.mark.parametrize(
    "changed",
    ["BrEaST/img/1_img.png", "BrEaST/roi_mask/1_roi.png", "BrEaST/metadata.csv"],
    ids=["img", "mask", "class"],
)
def test_fingerprint_covers_pictures_masks_and_classes(root: Path, changed: str) -> None:
    before = read_external(root)
    path = root / changed
    if path.suffix == ".csv":
        path.write_text(path.read_text().replace("1,1,1_img.png", "1,0,1_img.png"))
    else:
        write_picture(path, read_picture(path) // 2)
    after = read_external(root)
    assert after[0].fingerprint != before[0].fingerprint
    assert [one.fingerprint for one in after[1:]] == [one.fingerprint for one in before[1:]]
    assert len(before[0].fingerprint) == len(hashlib.sha256().hexdigest())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("BrEaST/img/2_img.png", "missing"),
        ("BUID/roi_mask/2_roi.png", "missing"),
        ("BUS-CoT_43/images/2@0.png", "missing"),
        ("BUS-CoT_43/masks/2@0.png", "missing"),
        ("STU-Hospital/mask_2.png", "missing"),
        ("STU-Hospital/Test_Image_2.png", "mask_2.png"),
        ("BUID/metadata.csv", "no such table"),
        ("BUS-CoT_43/labels.csv", "no such table"),
    ],
)
def test_missing_file_is_named(root: Path, path: str, said: str) -> None:
    (root / path).unlink()
    with pytest.raises(UserError, match=said) as error:
        read_external(root)
    assert Path(path).parent.name in str(error.value)


@pytest.mark.parametrize(
    "path",
    ["BrEaST/img/9_img.png", "BUID/roi_mask/9_roi.png", "BUS-CoT_43/images/9@0.png", "STU-Hospital/mask_9.png"],
)
def test_file_without_a_row_is_named(root: Path, path: str) -> None:
    write_picture(root / path, np.zeros((96, 128), np.uint8))
    with pytest.raises(UserError, match="no picture or row") as error:
        read_external(root)
    assert Path(path).name in str(error.value)


@pytest.mark.parametrize("path", ["BrEaST/img/2_img.png", "STU-Hospital/mask_2.png", "BUS-CoT_43/masks/1@0.png"])
def test_unreadable_file_is_named(root: Path, path: str) -> None:
    (root / path).write_bytes(b"no picture")
    with pytest.raises(UserError, match="does not decode") as error:
        read_external(root)
    assert Path(path).name in str(error.value)


@pytest.mark.parametrize(
    ("path", "size"), [("BrEaST/roi_mask/2_roi.png", (192, 256)), ("STU-Hospital/mask_2.png", (192, 250))]
)
def test_mask_of_another_size_is_named(root: Path, path: str, size: tuple[int, int]) -> None:
    """An enlarged mask is right for STU alone, and there only with the picture's proportions."""
    write_picture(root / path, np.zeros(size, np.uint8))
    with pytest.raises(UserError, match=f"the mask is {size[0]} x {size[1]}, its picture 96 x 128"):
        read_external(root)


@pytest.mark.parametrize(
    ("table", "old", "new", "said"),
    [
        ("BrEaST/metadata.csv", "2,0,2_img.png", "2,2,2_img.png", "'2_img.png' has '2', not one of 0, 1"),
        ("BrEaST/metadata.csv", "2,0,2_img.png", "2,,2_img.png", "not complete"),
        ("BrEaST/metadata.csv", "2,0,2_img.png", "2,0,1_img.png", "named twice"),
        ("BrEaST/metadata.csv", "Malignancy", "malignancy", "the column 'Malignancy' is missing"),
        ("BUS-CoT_43/labels.csv", "2@0.png,benign,0", "2@0.png,normal,0", "'2@0.png' has 'normal'"),
        ("BUS-CoT_43/labels.csv", "2@0.png,benign,0", "2@0.png,benign,yes", "'2@0.png' has 'yes'"),
    ],
)
def test_wrong_table_is_told(root: Path, table: str, old: str, new: str, said: str) -> None:
    text = (root / table).read_text()
    assert old in text
    (root / table).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=said) as error:
        read_external(root)
    assert Path(table).name in str(error.value) or "1_img.png" in str(error.value)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00broken", b"image,label,both_colours_present\n"], ids=["bytes", "rows"]
)
def test_unreadable_table_is_told(root: Path, content: bytes) -> None:
    (root / "BUS-CoT_43" / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"labels\.csv"):
        read_external(root)


def test_no_training_command_takes_an_external_set(
    shared_data: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (shared_data / "external", *(shared_data / "external").iterdir()):
        with pytest.raises(UserError, match="class folder 'benign' is missing"):
            read_dataset(folder)
        for command in (["teacher"], ["distill", "--no-teacher"]):
            arguments = ["train", command[0], folder, *command[1:], "--recipe", recipe, "--out", tmp_path / "run"]
            refused(capsys, arguments, "class folder 'benign' is missing")
    assert not (tmp_path / "run").exists()
