"""Outlines on other hospitals' pictures: what is true there, what is left out, whose figures are averaged."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_external import write_small_external
from tiny_bundle import SIZE, lesion_picture
from train_commands import refused

from device.errors import UserError
from device.main import main
from train.data.busi import MARKER, write_picture
from train.external.adapters import ExternalPicture, read_external
from train.external.overlap import Copy
from train.segmentation.external import Outliner, judge_outlines, open_outliner, truth, whole_sets

BOX = (0.25, 0.25, 0.75, 0.5)  # left, top, right, bottom; in cells of the tiny bundle's mask


def _stu(root: Path, count: int = 3) -> Path:
    """A set of pictures in which the tiny bundle outlines BOX; the masks say so too, but the last has nothing there."""
    folder = root / "STU-Hospital"
    for n in range(count):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        left, top, right, bottom = (round(SIZE * share) for share in BOX)
        mask[top:bottom, left:right] = 255
        if n == count - 1:
            mask = np.roll(mask, SIZE // 2, axis=0)
        write_picture(folder / f"Test_Image_{n}.png", lesion_picture("benign", BOX))
        write_picture(folder / f"mask_{n}.png", mask)
    return root


def _picture(folder: Path, *masks: np.ndarray) -> ExternalPicture:
    write_picture(folder / "a.png", np.zeros((8, 8), np.uint8))
    paths = []
    for n, mask in enumerate(masks):
        paths.append(folder / f"m{n}.png")
        write_picture(paths[-1], mask)
    return ExternalPicture("a.png", folder / "a.png", None, tuple(paths), False, "a")


def test_a_mask_of_an_enlarged_picture_is_brought_back(tmp_path: Path) -> None:
    large = np.zeros((16, 16), np.uint8)
    large[4:8, 4:8] = 255
    large[8, 4:8] = 120  # a grey edge, as enlarging leaves it
    found = truth(_picture(tmp_path, large))
    assert found.shape == (8, 8)
    assert sorted(zip(*np.nonzero(found))) == [(2, 2), (2, 3), (3, 2), (3, 3)]


def test_masks_of_one_picture_are_merged(tmp_path: Path) -> None:
    one, other = np.zeros((2, 8, 8), np.uint8)
    one[0, 0], other[7, 7] = 255, 255
    assert sorted(zip(*np.nonzero(truth(_picture(tmp_path, one, other))))) == [(0, 0), (7, 7)]


def _fixed(name: str, share: float) -> Outliner:
    """Outlines the upper `share` of every picture."""

    def outlines(pictures):
        for picture in pictures:
            outline = np.zeros(truth(picture).shape, bool)
            outline[: round(share * len(outline))] = True
            yield outline

    return Outliner(Path(name), "upper part", "f" * 64, False, None, outlines)


def test_networks_of_one_title_are_averaged_and_copies_left_out(tmp_path: Path) -> None:
    sets = read_external(write_small_external(tmp_path))
    assert {one.name for one in whole_sets(sets)} == {"BUS-CoT_43", "STU-Hospital"}
    first = whole_sets(sets)[0]
    copy = Copy(first.name, first.pictures[0].name, "benign", "x", "benign", 0, 1.0)
    models = [_fixed("a", 0.5), _fixed("b", 0.25)]
    rows = judge_outlines(models, sets, (copy,), repeats=20)
    assert [(row.set, row.networks, len(row.pictures)) for row in rows] == [
        ("BUS-CoT_43", 2, 3),
        ("STU-Hospital", 2, 4),
    ]
    # The lesion: rows 10 to 29 and columns 12 to 39 of 96 x 128, 560 pixels; all 48 rows hold it, 24 rows 14 of 20.
    whole, part = 2 * 560 / (560 + 48 * 128), 2 * 14 * 28 / (560 + 24 * 128)
    for row in rows:
        assert row.figures["dice"].value == pytest.approx((whole + part) / 2)
        assert row.figures["recall"].value == pytest.approx((1 + 0.7) / 2)
        assert row.figures["lesions_found"].value == 0.0


def test_nothing_left_and_the_same_model_twice_are_refused(tmp_path: Path) -> None:
    sets = read_external(_stu(tmp_path))
    copies = [Copy("STU-Hospital", p.name, None, "x", "benign", 0, 1.0) for p in sets[0].pictures]
    with pytest.raises(UserError, match="nothing is left to judge"):
        judge_outlines([_fixed("a", 0.5)], sets, copies)
    with pytest.raises(UserError, match="given twice"):
        judge_outlines([_fixed("a", 0.5), _fixed("a", 0.5)], sets)


def test_a_bundle_is_judged_with_the_device_s_code(mask_bundle_dir: Path, tmp_path: Path, capsys) -> None:
    root, out = _stu(tmp_path / "sets"), tmp_path / "out"
    call = ["train", "outlines", *(mask_bundle_dir / v for v in ("float32", "int8-full")), "--external", root]
    assert main([str(word) for word in (*call, "--out", out, "--repeats", "20")]) == 0
    page = (out / "report.md").read_text()
    assert page in capsys.readouterr().out
    assert "Research use only" in page
    assert "Nobody looked for copies" in page
    rows = json.loads((out / "outlines.json").read_text())["rows"]
    assert [row["network"].split()[-1] for row in rows] == ["float32", "int8-full"]
    for row in rows:  # two of three outlines are as drawn, up to the mask's grid; the third meets no pixel
        assert row["pictures"] == 3
        assert 0.55 < row["figures"]["dice"]["value"] <= 2 / 3
        assert row["figures"]["lesions_found"]["value"] == pytest.approx(2 / 3)
    with open(out / "pictures.csv") as stream:
        scores = list(csv.DictReader(stream))
    assert [float(one["dice"]) > 0.85 for one in scores] == [True, True, False] * 2
    assert len(list(out.glob("STU-Hospital-*.png"))) == 2
    assert main([str(word) for word in (*call, "--out", out, "--repeats", "20")]) == 0  # its own result it replaces
    (out / "notes.txt").write_text("mine")
    refused(capsys, [*call, "--out", out], "which no judgement of outlines wrote")


def test_what_does_not_outline_is_refused(bundle_dir: Path, mask_bundle_dir: Path, tmp_path: Path, capsys) -> None:
    root = _stu(tmp_path / "sets")
    refused(capsys, ["train", "outlines", bundle_dir / "float32", "--external", root], "not where")
    refused(capsys, ["train", "outlines", tmp_path, "--external", root], "no meta.json")
    crops = write_small_external(tmp_path / "all")
    for name in ("BUS-CoT_43", "STU-Hospital"):
        (crops / name).rename(tmp_path / name)
    refused(capsys, ["train", "outlines", mask_bundle_dir / "float32", "--external", crops], "hold lesion crops")


def test_copies_are_looked_for_in_the_training_s_data(mask_bundle_dir: Path, phantoms: Path, tmp_path: Path, capsys):
    call = ["train", "outlines", mask_bundle_dir / "float32", "--external", _stu(tmp_path), "--data", phantoms]
    refused(capsys, call, "was trained on other pictures")
    crops = tmp_path / "crops"
    shutil.copytree(phantoms, crops)
    (crops / MARKER).write_text('{"synthetic": true, "view": "lesion-crop"}')
    refused(capsys, [*call[:-1], crops], "holds lesion crops")
    assert open_outliner(mask_bundle_dir / "float32").title.endswith("float32")
