"""The lines of a comparison, its choice and its frontier, by hand."""

from pathlib import Path

import pytest
from made_up_study import made_up

from convert.compare.alone import Load
from convert.compare.made import Made
from convert.compare.page import About, markdown
from convert.compare.plot import draw
from convert.compare.table import Line, frontier, lines, recommended
from convert.compare.timing import Time
from device.bundle import Estimate

ROWS = '[[row]]\nname = "wide"\n[[row]]\nname = "narrow"\nchange.augment.flip = 0.25\n'
VARIANTS = ("float32", "int8-full")
METRIC = "balanced_accuracy"


def line(name: str, kilobytes: float | None, value: float, half: float, time: float | None = None, **more) -> Line:
    """half: of the 95 % interval's width."""
    figures = {METRIC: Estimate(value, value - half, value + half)}
    known = {"trainings": 5, "planned": 5} | more
    timed = None if time is None else Time(time, time, 1.0)
    return Line(name, "int8-full", **known, figures=figures, lost=None, kilobytes=kilobytes, parameters=1,
                multiply_adds=1, size=(96, 96), time=timed, load=None, why=None)  # fmt: skip


def test_the_smallest_within_one_standard_error_is_recommended() -> None:
    best = line("best", 1000.0, 0.80, 0.0392)  # standard error 0.02
    found = [best, line("near", 100.0, 0.785, 0.05), line("far", 5.0, 0.775, 0.05), line("large", 3000.0, 0.79, 0.05)]
    assert [one.row for one in recommended(found, METRIC)] == ["near", "best"]
    assert [one.row for one in recommended([*found, line("edge", 50.0, 0.7801, 0.05)], METRIC)] == ["edge", "best"]
    assert recommended([*found, line("twin", 100.0, 0.786, 0.05)], METRIC)[0].row == "twin", "of equal sizes"
    assert recommended([*found, line("half", 50.0, 0.9, 0.05, trainings=4)], METRIC)[0].row == "near"
    assert recommended([line("half", 50.0, 0.9, 0.05, trainings=4)], METRIC) is None


def test_the_frontier_is_what_no_other_beats() -> None:
    small, large = line("small", 5.0, 0.6, 0.1, 2.0), line("large", 500.0, 0.8, 0.1, 1.0)
    beaten, untimed = line("beaten", 600.0, 0.8, 0.1, 3.0), line("untimed", 700.0, 0.9, 0.1)
    found = [beaten, untimed, large, small]
    assert [one.row for one in frontier(found, METRIC, "kilobytes")] == ["small", "large", "untimed"]
    assert [one.row for one in frontier(found, METRIC, "milliseconds")] == ["large"]


def test_a_file_is_compared_with_its_own_network(tmp_path: Path) -> None:
    study, pictures, results = made_up(tmp_path, ROWS, {"wide": 1.4, "narrow": 0.7})
    made = {}
    for (slug, seed, fold), one in results.items():
        if slug == "narrow" and (seed, fold) == (0, 0):
            continue  # its run folder was not kept
        worse = {name: tuple(-v for v in logits) for name, logits in one.test.items()}
        made[slug, seed, fold] = Made("", {}, (96, 64), 1000, 2_000_000, {"float32": 8.0, "int8-full": 4.0 + fold},
                                      {"float32": one.test, "int8-full": {} if slug == "narrow" else worse},
                                      {"int8-full": "cannot be opened"} if slug == "narrow" else {})  # fmt: skip
    times = {("wide", "float32"): Time(2.0, 3.0, 1.0), ("wide", "int8-full"): Time(1.0, 1.5, 0.5)}
    failed = {("narrow", None): "narrow, seed 0, fold 0: its network was not kept",
              ("wide", "int8-full"): "the measurement did not end within 126 s and was stopped."}  # fmt: skip
    loads = {("wide", "float32"): Load(250.0, 4.0, 99.6, 61.2, 3.44, None)}
    found = lines(study, pictures, results, made, VARIANTS, times, loads, failed, repeats=50)
    assert [one.name for one in found] == [
        "wide", "wide, float32", "wide, int8-full", "narrow", "narrow, float32", "narrow, int8-full",
    ]  # fmt: skip
    wide, same, int8, narrow, short, broken = found
    assert same.figures == wide.figures
    assert all(lost == Estimate(0.0, 0.0, 0.0) for lost in same.lost.values())
    assert wide.lost is None
    assert int8.lost["accuracy"].high < 0
    assert int8.lost["accuracy"].value == pytest.approx(int8.figures["accuracy"].value - wide.figures["accuracy"].value)
    assert (wide.kilobytes, same.kilobytes, int8.kilobytes) == (None, 8.0, 5.0)  # the mean of 4, 5 and 6
    assert (int8.time, int8.size, wide.multiply_adds) == (Time(1.0, 1.5, 0.5), (96, 64), 2_000_000)
    assert (narrow.trainings, short.trainings, broken.trainings) == (6, 5, 0)
    assert (wide.why, same.why, short.why, broken.why) == (None, None, failed["narrow", None], "cannot be opened")
    assert (int8.why, int8.load) == (failed["wide", "int8-full"], None)  # its answers and its size stay
    assert broken.figures["accuracy"] == Estimate(None)

    page = markdown(study, pictures, found, METRIC, About("busi-kd convert compare", "a test"))
    assert "Research use only" in page
    assert "- narrow, int8-full: cannot be opened" in page
    assert "**wide, float32** (8.00 kB)" in page
    assert f"| wide | int8-full | {wide.planned} |" in page
    assert "| wide | float32 | 250 | 4.000 | 100 | 61.2 | 3.4 | unknown |" in page
    assert "On a board" not in page
    assert "hospitals" not in page
    assert draw(found, METRIC, "balanced accuracy", synthetic=True).startswith(b"\x89PNG")


def test_nothing_trained_is_nothing_recommended(tmp_path: Path) -> None:
    study, pictures, _ = made_up(tmp_path, ROWS, {"wide": 1.4, "narrow": 0.7})
    found = lines(study, pictures, {}, {}, VARIANTS, {}, {}, {}, repeats=10)
    assert {one.why for one in found if one.variant} == {"no training of this row is finished"}
    page = markdown(study, pictures, found, METRIC, About("", "a test"))
    assert "nothing to recommend" in page
    assert "takes of the machine" not in page
