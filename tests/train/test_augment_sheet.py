"""The command that shows what a recipe does: the very pixels of a training, an outline, and refusals."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from device import RESEARCH_NOTICE
from device.errors import UserError
from train.augment import cli, sheet
from train.data.busi import load_lumas, read_dataset
from train.data.extra import load_masks
from train.data.views import view_of
from train.recipe import load_recipe

RECIPE = """
name = "small"
seed = 5
[preprocess]
height = 112
width = 96
[augment]
flip = 0.5
rotate = 8.0
speckle = 0.2
calipers = 0.5
"""


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    args = parser.parse_args(["augmentations", *map(str, arguments)])
    return args.run(args)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_the_sheet_shows_what_a_training_sees(phantoms: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "sheet.png"
    assert run(phantoms, "--recipe", recipe_file, "--out", out, "--pictures", 3, "--views", 2) == 0
    said = capsys.readouterr().out
    assert str(out) in said
    assert RESEARCH_NOTICE in said
    page = cv2.imread(str(out))
    data, recipe = read_dataset(phantoms), load_recipe(str(recipe_file))
    pictures = sheet.chosen(data, 3, 5)
    assert [p.label for p in pictures] == ["benign", "malignant", "normal"]
    lumas = load_lumas(pictures, recipe.preprocess)
    masks, _ = load_masks(tuple(pictures), recipe.preprocess)
    for row, (picture, luma, mask) in enumerate(zip(pictures, lumas, masks)):
        for number in range(3):
            seen, moved = view_of(luma, mask, recipe.augment, 5, picture.name, number)
            top = page.shape[0] - (3 - row) * (224 + 26) + 20
            tile = page[top : top + 224, 6 + number * 198 : 6 + number * 198 + 192]
            grey = (tile == tile[:, :, :1]).all(axis=2)
            wanted = seen.repeat(2, axis=0).repeat(2, axis=1)
            assert np.array_equal(tile[grey][:, 0], wanted[grey])
            outlined = np.argwhere(~grey)
            assert bool(len(outlined)) == bool(moved.any())
            if len(outlined):
                ys, xs = np.nonzero(moved.repeat(2, axis=0).repeat(2, axis=1))
                assert outlined.min(axis=0).tolist() == [ys.min(), xs.min()]
                assert outlined.max(axis=0).tolist() == [ys.max(), xs.max()]
                assert {tuple(colour) for colour in tile[~grey].tolist()} == {(0, 214, 255)}  # BGR


def test_the_seed_chooses_pictures_and_views(phantoms: Path, recipe_file: Path, tmp_path: Path) -> None:
    out, sheets = tmp_path / "sheet.png", []
    for seed in (5, 6, 5):
        arguments = ("--recipe", recipe_file, "--out", out, "--pictures", 2, "--views", 1, "--seed", seed)
        assert run(phantoms, *arguments) == 0
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[2] != sheets[1], "the sheet of an earlier call is replaced"


def test_the_heading_says_what_was_done(phantoms: Path, recipe_file: Path) -> None:
    data, recipe = read_dataset(phantoms), load_recipe(str(recipe_file))
    lines = sheet.heading(data, recipe, 5)
    assert RESEARCH_NOTICE in lines[0]
    assert "SYNTHETIC" in lines[0]
    assert "recipe small, seed 5" in lines[0]
    assert lines[2:] == ["flip 0.5, rotate 8", "speckle 0.2, calipers 0.5"]


def test_no_more_pictures_than_there_are(phantoms: Path) -> None:
    data = read_dataset(phantoms)
    names = [p.name for p in sheet.chosen(data, 1000, 0)]
    assert sorted(names) == sorted(p.name for p in data.pictures)
    assert names != [p.name for p in sheet.chosen(data, 1000, 1)]


def test_the_sheet_replaces_a_png_and_nothing_else(phantoms: Path, recipe_file: Path, tmp_path: Path) -> None:
    note, folder = tmp_path / "note.txt", tmp_path / "folder.png"
    note.write_text("mine")
    folder.mkdir()
    for out, part in ((note, ".png file"), (tmp_path / "new", ".png file"), (folder, "no file")):
        with pytest.raises(UserError, match=part) as refused:
            run(phantoms, "--recipe", recipe_file, "--out", out)
        assert str(out) in str(refused.value)
    assert note.read_text() == "mine"
    with pytest.raises(UserError, match="cannot be written"):
        run(phantoms, "--recipe", recipe_file, "--out", note / "sheet.png", "--pictures", 1, "--views", 1)


@pytest.mark.parametrize(
    ("option", "value"), [("--pictures", "0"), ("--views", "51"), ("--seed", "-1"), ("--seed", "x")]
)
def test_a_wrong_number_is_refused(option: str, value: str, phantoms: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(phantoms, "--out", tmp_path / "a.png", option, value)
    assert stopped.value.code == 2
    assert option in capsys.readouterr().err
