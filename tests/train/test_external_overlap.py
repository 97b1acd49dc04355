"""Copies of a data set's pictures among external ones: found where they are, and only there."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_external import write_small_external

from device.errors import UserError
from device.phantom import make_phantom
from device.preprocess import read_picture
from train.data.busi import DataSet, read_dataset, write_picture
from train.data.phantoms import write_phantoms
from train.external.adapters import ExternalPicture, ExternalSet, read_external
from train.external.crops import write_crops
from train.external.overlap import MIN_CORRELATION, copies_in, look, match, without_bars


def external(folder: Path, pictures: dict[str, np.ndarray]) -> ExternalSet:
    for name, pixels in pictures.items():
        write_picture(folder / name, pixels)
    found = tuple(ExternalPicture(name, folder / name, "benign", (), False, name) for name in pictures)
    return ExternalSet("made", "whole", found, "made here.", "0" * 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, per_class=5, seed=1, size=(300, 400))
    return read_dataset(folder)


def picture_of(data: DataSet, name: str) -> np.ndarray:
    return read_picture(next(p.path for p in data.pictures if p.name == name))


def test_padded_zoomed_and_darkened_copies_are_found(data: DataSet, tmp_path: Path) -> None:
    padded = np.zeros((512, 512), np.uint8)
    padded[64:448] = cv2.resize(picture_of(data, "benign (2).png"), (512, 384), interpolation=cv2.INTER_AREA)
    zoomed = cv2.resize(picture_of(data, "malignant (3).png")[60:240, 100:300], None, fx=2.5, fy=2.5)
    darkened = (picture_of(data, "normal (4).png") * 0.7 + 5).astype(np.uint8)
    new = make_phantom("benign", 987, (300, 400)).image
    one = external(tmp_path, {"a.png": padded, "b.png": zoomed, "c.png": darkened, "d.png": new})
    found = copies_in([one], data)
    assert [(c.name, c.of, c.label_of) for c in found] == [
        ("a.png", "benign (2).png", "benign"),
        ("b.png", "malignant (3).png", "malignant"),
        ("c.png", "normal (4).png", "normal"),
    ]
    assert all(c.set == "made" and c.label == "benign" and c.correlation > 0.9 and c.matched >= 12 for c in found)


def test_smooth_copy_without_key_points_is_found_by_its_thumbnail(data: DataSet, tmp_path: Path) -> None:
    """Training on an external set by a detour through the BUSI layout takes it out of the table, small crops too."""
    rows, columns = np.mgrid[0:60, 0:80]
    smooth = (60 + rows + columns).astype(np.uint8)
    assert len(look(smooth).points) < 12
    folder = tmp_path / "converted"
    for label, pixels in (("benign", smooth), ("malignant", smooth.T.copy()), ("normal", smooth[::-1].copy())):
        write_picture(folder / label / f"{label} (1).png", pixels)
    one = external(tmp_path, {"a.png": smooth, "b.png": picture_of(data, "benign (1).png")})
    found = copies_in([one], read_dataset(folder))
    assert [(c.name, c.of, c.matched) for c in found] == [("a.png", "benign (1).png", 0)]
    assert found[0].correlation == pytest.approx(1)


def test_phantoms_of_other_seeds_are_no_copies(phantoms: Path, tmp_path: Path) -> None:
    """All phantoms share one layout, so that eighty key points may agree between two of them."""
    assert copies_in(read_external(write_small_external(tmp_path)), read_dataset(phantoms)) == ()


def test_points_that_agree_without_the_picture_are_no_copy(data: DataSet) -> None:
    """Burned-in marks lie alike on many pictures: key points may agree where the tissue does not."""
    rng = np.random.default_rng(0)
    marks = cv2.resize(rng.integers(0, 2, (20, 40), np.uint8) * 255, (160, 80), interpolation=cv2.INTER_NEAREST)
    marked = []
    for name in ("benign (1).png", "malignant (2).png"):
        pixels = picture_of(data, name).copy()
        pixels[:80, :160] = marks
        marked.append(look(pixels))
    matched, correlation = match(*marked)
    assert matched >= 12
    assert correlation < MIN_CORRELATION


def test_bars_are_cut_away_and_tissue_is_not() -> None:
    tissue = np.random.default_rng(0).integers(40, 200, (60, 80), np.uint8)
    framed = np.zeros((100, 90), np.uint8)
    framed[20:80, 5:85] = tissue
    assert np.array_equal(without_bars(framed), tissue)
    assert np.array_equal(without_bars(tissue), tissue)
    blank = np.zeros((50, 50), np.uint8)
    assert np.array_equal(without_bars(blank), blank)
    assert not look(blank).thumbnail.any()


def test_crops_are_refused(data: DataSet, tmp_path: Path) -> None:
    write_crops(data, tmp_path / "crops", denoise=False)
    with pytest.raises(UserError, match="whole pictures"):
        copies_in([], read_dataset(tmp_path / "crops"))


def test_known_copies_of_busi_in_bus_cot(shared_data: Path, tmp_path: Path) -> None:
    """Confirmed by eye. Three of the five are zoomed in; two bear the other class than in BUSI."""
    known = {"003501@0.png": 86, "003507@1.png": 50, "003524@0.png": 27, "003528@0.png": 72, "003621@0.png": 7}
    wanted = {f"malignant ({n}).png" for n in (*known.values(), 45, 133)}
    whole = read_dataset(shared_data / "busi")
    few = [p for p in whole.pictures if p.name in wanted or p.name in ("benign (306).png", "benign (252).png")]
    data = DataSet(whole.root, whole.name, tuple(few), whole.fingerprint, whole.synthetic)
    cot = next(one for one in read_external(shared_data / "external") if one.name == "BUS-CoT_43")
    found = copies_in([cot], data)
    assert {c.name: c.of for c in found} == {name: f"malignant ({n}).png" for name, n in known.items()}
    assert all(c.correlation > 0.98 for c in found)
    assert [c.name for c in found if c.label != c.label_of] == ["003501@0.png", "003524@0.png"]
