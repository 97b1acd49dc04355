"""The tables of a study in which one row has more seeds than the others."""

from pathlib import Path

import pytest
from small_segment_study import write_study

from train.segmentation.results import SegResult
from train.segmentation.scores import Score
from train.segmentation.study import read_study
from train.segmentation.summary import summarise
from train.segmentation.tables import PAGE, PICTURES_CSV, write
from train.studies.grid.results import Pictures

_NAMES = ("benign (1).png", "benign (2).png")
_PICTURES = Pictures("phantoms", "f", True, "sha256:0", {name: ("benign", str(n)) for n, name in enumerate(_NAMES)})


def _result(slug: str, seed: int, fold: int, dice: float) -> SegResult:
    scores = {_NAMES[fold // 2]: Score(dice, dice, 0.5, 0.5, 0.9, 3.0, 0.1, 0.1, 0.0, 1, 1, 0)}
    return SegResult(
        row=slug, seed=seed, fold=fold, recipe={}, data="", split="", teachers={}, parameters=1, mebibytes=1.0,
        multiply_adds=1, validation={}, seconds=1.0, hardware="", versions={}, scores=scores, classes={},
    )  # fmt: skip


def test_a_row_of_two_seeds_is_their_mean_and_compared_on_the_seed_that_both_have(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, ('name = "taught"\n', 'name = "taught"\nseeds = [0]\n')))
    more = read_study(write_study(tmp_path, ('name = "alone"\n', 'name = "alone"\nseeds = [0, 4]\n')))
    found = [_result("taught", 0, 0, 0.5), _result("taught", 0, 2, 0.7)]
    found += [_result("alone", 0, 0, 0.4), _result("alone", 0, 2, 0.6)]
    found += [_result("alone", 4, 0, 0.8), _result("alone", 4, 2, 0.8)]
    results = {(one.row, one.seed, one.fold): one for one in found}
    alone, _, taught = summarise(more, _PICTURES, results, 20)
    assert (alone.trainings, alone.planned) == (4, 4)
    assert (taught.trainings, taught.planned) == (2, 2)
    assert alone.figures["all"]["dice"].value == pytest.approx(0.65)
    assert taught.against is not None
    assert taught.against["dice"].value == pytest.approx(0.1), "seed 4 of the other row has no partner"
    page = write(tmp_path, more, _PICTURES, results, [alone, taught]).read_text()
    assert "seeds [0], 'alone' [0, 4]; 6 of 6 trainings" in page
    assert "| alone | 4 of 4 |" in page
    assert len((tmp_path / PICTURES_CSV).read_text().splitlines()) == 1 + 6
    plain = summarise(study, _PICTURES, results, 20)
    assert plain[0].figures["all"]["dice"].value == pytest.approx(0.5), "seed 4 is not of this study"
    assert "seeds [0]; " in write(tmp_path, study, _PICTURES, results, plain).read_text()
    assert (tmp_path / PAGE).is_file()
