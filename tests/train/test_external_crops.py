"""The lesion crops cut from a data set in the BUSI layout."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_busi import write_small_busi
from train_commands import refused

from device.errors import UserError
from device.main import main
from device.preprocess import read_picture
from train.data.busi import load_mask, read_dataset, write_picture
from train.data.groups import read_groups
from train.external.crops import cut, write_crops


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    return write_small_busi(tmp_path / "small")  # 40 x 60, mask in rows 5..14, columns 10..29


def write_groups(path: Path, folder: Path) -> Path:
    names = [p.name for p in read_dataset(folder).pictures]
    path.write_text("image,group_id,phash\n" + "".join(f"{name},g{n // 2},0\n" for n, name in enumerate(names)))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_crop_is_the_masks_box_with_its_margin(busi: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    assert write_crops(read_dataset(busi), out, denoise=False) == 6
    whole, crop = (read_picture(f / "benign" / "benign (2).png") for f in (busi, out))
    assert np.array_equal(crop, whole[1:19, 6:34])
    mask = read_picture(out / "benign" / "benign (2)_mask.png")
    expected = np.zeros((18, 28), np.uint8)
    expected[4:14, 4:24] = 255
    assert np.array_equal(mask, expected)


def test_crop_ends_at_the_edge(busi: Path, tmp_path: Path) -> None:
    write_crops(read_dataset(busi), tmp_path / "crops", margin=12, denoise=False)
    crop = read_picture(tmp_path / "crops" / "malignant" / "malignant (1).png")
    assert np.array_equal(crop, read_picture(busi / "malignant" / "malignant (1).png")[0:27, 0:42])


def test_result_is_a_data_set_of_two_classes(busi: Path, tmp_path: Path) -> None:
    data = read_dataset(busi)
    write_crops(data, tmp_path / "crops")
    crops = read_dataset(tmp_path / "crops")
    assert (crops.name, crops.view, crops.classes) == ("small lesion crops", "lesion-crop", ("benign", "malignant"))
    assert [p.name for p in crops.pictures] == [p.name for p in data.pictures if p.label != "normal"]
    assert not crops.synthetic
    about = json.loads((tmp_path / "crops" / "dataset.json").read_text())["about"]
    assert (about["source_fingerprint"], about["margin"], about["denoise"]) == (data.fingerprint, 4, 3)
    for picture in crops.pictures:
        assert load_mask(picture, read_picture(picture.path).shape).any()


def test_synthetic_stays_synthetic(phantoms: Path, tmp_path: Path) -> None:
    assert write_crops(read_dataset(phantoms), tmp_path / "crops", denoise=False) == 48
    assert read_dataset(tmp_path / "crops").synthetic


@settings(max_examples=40, deadline=None)
@given(
    top=st.integers(0, 50), left=st.integers(0, 60), height=st.integers(1, 20), width=st.integers(1, 20),
    margin=st.integers(0, 9), seed=st.integers(0, 99),
)  # fmt: skip
def test_denoised_crop_is_the_denoised_pictures_crop(
    top: int, left: int, height: int, width: int, margin: int, seed: int
) -> None:
    luma = np.random.default_rng(seed).integers(0, 256, (70, 80), np.uint8)
    luma = cv2.GaussianBlur(luma, (0, 0), 2)
    mask = np.zeros(luma.shape, bool)
    mask[top : top + height, left : left + width] = True
    crop, place = cut(luma, mask, margin, denoise=True)
    assert np.array_equal(crop, cv2.fastNlMeansDenoising(luma, None, 3, 7, 21)[place])
    rows, columns = place
    assert mask[place].sum() == mask.sum()
    assert (rows.start, columns.start) == (max(0, top - margin), max(0, left - margin))
    assert (rows.stop, columns.stop) == (min(70, top + height + margin), min(80, left + width + margin))


def test_denoising_changes_what_is_written(busi: Path, tmp_path: Path) -> None:
    for path in (busi / "benign").glob("benign (?).png"):
        write_picture(path, cv2.GaussianBlur(read_picture(path), (0, 0), 2))
    raw = np.float64(read_picture(busi / "benign" / "benign (1).png")[1:19, 6:34])
    write_crops(read_dataset(busi), tmp_path / "crops")
    smooth = np.float64(read_picture(tmp_path / "crops" / "benign" / "benign (1).png"))
    assert np.abs(np.diff(smooth)).mean() < np.abs(np.diff(raw)).mean()


def test_largest_mask_is_cut_out_with_what_it_shows_of_the_others(busi: Path, tmp_path: Path) -> None:
    small, far = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    small[13:17, 28:36] = 255  # rows 13..16: the crop ends with row 18
    far[30:36, 50:58] = 255
    write_picture(busi / "benign" / "benign (1)_mask_1.png", small)
    write_picture(busi / "benign" / "benign (1)_mask_2.png", far)
    write_crops(read_dataset(busi), tmp_path / "crops", denoise=False)
    folder = tmp_path / "crops" / "benign"
    assert read_picture(folder / "benign (1).png").shape == (18, 28)
    assert int((read_picture(folder / "benign (1)_mask_1.png") > 0).sum()) == 4 * 6
    assert not (folder / "benign (1)_mask_2.png").exists()


def test_groups_are_those_of_the_pictures_kept(busi: Path, tmp_path: Path) -> None:
    data, csv = read_dataset(busi), write_groups(tmp_path / "groups.csv", busi)
    write_crops(data, tmp_path / "crops", csv)
    before, _ = read_groups(csv, data)
    after, _ = read_groups(tmp_path / "crops" / "groups.csv", read_dataset(tmp_path / "crops"))
    assert after == {p.name: before[p.name] for p in data.pictures if p.label != "normal"}


def test_same_call_leaves_the_folder_as_it_is(busi: Path, tmp_path: Path) -> None:
    data, out = read_dataset(busi), tmp_path / "crops"
    write_crops(data, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write_crops(data, out) == 6
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("what", ["margin", "denoise", "groups", "mask", "picture", "lost", "foreign"])
def test_anything_else_in_the_way_is_refused_and_kept(busi: Path, tmp_path: Path, what: str) -> None:
    out, csv = tmp_path / "crops", write_groups(tmp_path / "groups.csv", busi)
    arguments = {"groups": csv}
    write_crops(read_dataset(busi), out, **arguments)
    if what == "margin":
        arguments["margin"] = 5
    elif what == "denoise":
        arguments["denoise"] = False
    elif what == "groups":
        csv.write_text(csv.read_text().replace("g0", "g1"))
    elif what == "mask":
        mask = busi / "benign" / "benign (1)_mask.png"
        write_picture(mask, np.roll(read_picture(mask), 3, axis=0))
    elif what == "picture":
        write_picture(busi / "normal" / "normal (1).png", np.zeros((40, 60), np.uint8))
    elif what == "lost":
        (out / "benign" / "benign (1).png").unlink()
        (out / "benign" / "benign (1)_mask.png").unlink()
    else:
        (out / "dataset.json").write_text("{}")
    before = tree(out)
    with pytest.raises(UserError, match="crops"):
        write_crops(read_dataset(busi), out, **arguments)
    assert tree(out) == before


@pytest.mark.parametrize("what", ["no mask", "empty", "size"])
def test_lesion_that_cannot_be_cut_is_named_and_nothing_is_left(busi: Path, tmp_path: Path, what: str) -> None:
    mask = busi / "malignant" / "malignant (3)_mask.png"
    if what == "no mask":
        mask.unlink()
    else:
        write_picture(mask, np.zeros((40, 60) if what == "empty" else (41, 60), np.uint8))
    with pytest.raises(UserError, match=r"malignant \(3\)"):
        write_crops(read_dataset(busi), tmp_path / "out" / "crops")
    assert list((tmp_path / "out").iterdir()) == []


def test_command(busi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "crops"
    arguments = ["train", "crops", busi, "--out", out, "--margin", "2", "--no-denoise"]
    assert main([str(a) for a in arguments]) == 0
    assert "6 lesion crops of small. Research use only" in capsys.readouterr().out
    assert read_picture(out / "benign" / "benign (1).png").shape == (14, 24)
    refused(capsys, ["train", "crops", out, "--out", tmp_path / "again"], "lesion crops already")
    refused(capsys, ["train", "crops", busi, "--out", tmp_path / "x", "--margin", "-1"], "--margin")
    refused(capsys, ["train", "crops", busi, "--out", tmp_path / "x", "--groups", tmp_path / "none.csv"], "none.csv")
    assert not (tmp_path / "x").exists()


def test_real_crops_have_the_external_sets_margins(shared_data: Path, tmp_path: Path) -> None:
    """BUSI's masks leave 4 pixels of border in the crop, unless the lesion touches the picture's edge."""
    data = read_dataset(shared_data / "busi")
    folder = tmp_path / "some"
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
    (folder / "normal").mkdir()
    chosen = [p for p in data.pictures if p.name in ("benign (5).png", "benign (8).png", "malignant (2).png")]
    chosen.append(next(p for p in data.pictures if p.label == "normal"))
    for picture in chosen:
        for path in (picture.path, *picture.masks):
            (folder / picture.label / path.name).symlink_to(path)
    write_crops(read_dataset(folder), tmp_path / "crops")
    for picture in read_dataset(tmp_path / "crops").pictures:
        source = next(p for p in chosen if p.name == picture.name)
        before, after = (load_mask(p, read_picture(p.path).shape[:2]) for p in (source, picture))
        assert borders(after) == tuple(min(4, border) for border in borders(before))
        assert after.sum() == before.sum()


def borders(mask: np.ndarray) -> tuple[int, ...]:
    """Pixels above, left of, below and right of what a mask shows."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return tuple(map(int, (rows[0], columns[0], len(mask) - 1 - rows[-1], mask.shape[1] - 1 - columns[-1])))
