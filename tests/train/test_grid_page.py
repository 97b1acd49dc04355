"""The page of a study: every figure on it, in CSV and JSON too, what is missing, and the drawing."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_study import made_up
from train_commands import refused

from device import RESEARCH_NOTICE
from device.main import main
from train.studies.grid import plot
from train.studies.grid.table import METRICS, summarise

ROWS = """
[[row]]
name = "plain"
[[row]]
name = "more | of it"
change.student.fit = { epochs = 20, lr = 1e-3, schedule = "constant" }
change.teacher.hidden = [32, 16]
[[row]]
name = "taught"
base = "plain"
teacher = "soft"
soft = ["caches/vit"]
"""
SKILLS = {"plain": 0.7, "more | of it": 1.4, "taught": 1.0}
MISSING = (("taught", 0, 1), ("taught", 1, 2))


def run(folder: Path, *more: str) -> int:
    call = ["train", "grid", folder / "study.toml", "--out", folder / "out", "--table-only", "--repeats", 50, *more]
    return main([str(word) for word in call])


def table(page: str, title: str) -> list[list[str]]:
    """The cells of the first table after a heading, its head included."""
    lines = page.partition(f"\n## {title}")[2].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| "))
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    rows = [line.replace("\\|", "§").strip("|").split("|") for line in lines[start:end] if not line.startswith("|--")]
    return [[cell.strip().replace("§", "|") for cell in row] for row in rows]


def test_the_page_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS, skip=MISSING)
    assert run(tmp_path) == 0
    page = (tmp_path / "out" / "README.md").read_text()
    assert page in capsys.readouterr().out
    assert RESEARCH_NOTICE in page
    assert "SYNTHETIC" in page
    assert "16 of 18 trainings are done, 8 minutes in all, on a machine." in page
    rows = summarise(study, known, found, repeats=50)
    head = table(page, "Mean over folds and seeds")
    assert [row[:3] for row in head[1:]] == [
        ["plain", "6", "0, 1"],
        ["more | of it", "6", "0, 1"],
        ["taught", "4 of 6", "0, 1"],
    ]
    one = rows[1].everywhere.mean["auc_benign_malignant"]
    assert head[2][3] == f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    decide = rows[0].decide.mean["accuracy"].value, rows[0].held_out.mean["accuracy"].value
    assert [float(cell.split()[0]) for cell in table(page, "Deciding folds (1, 2) and held-out folds (0)")[1][3:5]] == [
        round(100 * value, 1) for value in decide
    ]
    gained = 100 * rows[1].everywhere.difference["accuracy"].value
    assert "| more \\| of it | plain | 6 | " in page
    assert f"| {gained:+.1f} [" in page
    assert "| taught | plain | 4 | " in page
    assert table(page, "Missing")[1:] == [["taught", "0-1, 1-2"]]
    seeds = table(page, "Each seed")
    assert seeds[0][2:] == ["seed 0", "seed 1", "SD"]
    assert seeds[1][2] == f"{100 * rows[0].seeds[0]['auc_benign_malignant']:.1f}"
    assert seeds[-1][2:] == ["", "", ""], "no seed of it is complete: unknown, not 0"


def test_the_rows_changes_are_told_as_the_file_has_them(tmp_path: Path) -> None:
    made_up(tmp_path, ROWS, SKILLS)
    assert run(tmp_path) == 0
    told = table((tmp_path / "out" / "README.md").read_text(), "The rows")
    assert told[1:] == [
        ["plain", "demo", "labels", "none"],
        [
            "more | of it",
            "demo",
            "labels",
            '`student.fit.epochs = 20`; `student.fit.lr = 0.001`; `student.fit.schedule = "constant"`; '
            "`teacher.hidden = [32, 16]`",
        ],
        ["taught", "plain", "labels and cached answers of teachers: vit", "none"],
    ]
    assert "## Missing" not in (tmp_path / "out" / "README.md").read_text()


def test_csv_and_json_hold_what_the_page_says(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS, skip=MISSING)
    assert run(tmp_path) == 0
    rows = summarise(study, known, found, repeats=50)
    with open(tmp_path / "out" / "table.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 3 * 4 * 3
    by = {(line["row"], line["scope"], line["metric"]): line for line in lines}
    for row in rows:
        for scope in ("everywhere", "decide", "held_out", "pooled"):
            for metric in METRICS:
                line, one = by[row.row.name, scope, metric], getattr(row, scope)
                assert line["trainings"] == str(one.trainings)
                for column, value in (
                    ("value", one.mean[metric].value),
                    ("low", one.mean[metric].low),
                    ("difference", one.difference and one.difference[metric].value),
                    ("difference_high", one.difference and one.difference[metric].high),
                ):
                    assert line[column] == ("" if value is None else f"{value:.6f}")
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert facts["notice"] == RESEARCH_NOTICE
    assert [row["row"]["name"] for row in facts["rows"]] == list(SKILLS)
    assert facts["rows"][1]["everywhere"]["mean"]["accuracy"]["value"] == rows[1].everywhere.mean["accuracy"].value
    assert facts["rows"][1]["row"]["recipe"]["student"]["fit"]["epochs"] == 20
    assert facts["rows"][2]["missing"] == [[0, 1], [1, 2]]
    assert facts["hardware"] == ["a machine"]


def test_the_same_page_again_and_wherever_the_folder_lies(tmp_path: Path) -> None:
    made_up(tmp_path / "one", ROWS, SKILLS)
    assert run(tmp_path / "one") == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert run(tmp_path / "two") == 0
    for name in ("README.md", "table.csv", "study.json", "study.png"):
        one, two = ((tmp_path / folder / "out" / name).read_bytes() for folder in ("one", "two"))
        assert one == two
    assert str(tmp_path) not in (tmp_path / "one" / "out" / "README.md").read_text()


def test_results_of_no_row_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(tmp_path, ROWS, SKILLS)
    path = tmp_path / "study.toml"
    path.write_text(path.read_text().partition('[[row]]\nname = "taught"')[0])
    assert run(tmp_path) == 0
    said = capsys.readouterr().out
    assert "6 results belong to no row, seed or fold of the study file" in said
    assert "taught" not in (tmp_path / "out" / "README.md").read_text()


def test_a_study_that_was_never_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(tmp_path, ROWS, SKILLS)
    call = ["train", "grid", tmp_path / "study.toml", "--out", tmp_path / "new", "--table-only"]
    refused(capsys, call, "no study was trained there")
    assert not (tmp_path / "new").exists()
    refused(capsys, call[:-1], "which data?")
    point = ["train", "operating-point", tmp_path / "study.toml", "--results", tmp_path / "out", "--row"]
    refused(capsys, [*point, "plian"], "no row 'plian' (did you mean 'plain'?)")


def pixels(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_the_drawing_has_a_bar_per_row(tmp_path: Path) -> None:
    study, known, found = made_up(tmp_path, ROWS, SKILLS)
    picture = pixels(plot.draw(summarise(study, known, found, 50), synthetic=True))
    blue = picture[..., 0] - picture[..., 2] > 100
    orange = picture[..., 2] - picture[..., 0] > 150
    assert picture.shape[1] > picture.shape[0] > 200
    bands = np.flatnonzero(blue.any(axis=1))
    assert (np.diff(bands) > 1).sum() == 2, "three rows of bars"
    assert (np.diff(np.flatnonzero(orange.any(axis=1))) > 1).sum() == 1, "two differences: plain has none"
    fewer = pixels(plot.draw(summarise(study, known, {}, 50), synthetic=True))
    assert not (fewer[..., 0] - fewer[..., 2] > 100).any(), "nothing is drawn of what is unknown"


@pytest.mark.parametrize(
    "wrong",
    [["--workers", "-1"], ["--workers", "x"], ["--repeats", "1"], ["--gpu", "2"], ["--gpu", "x"], ["--rows", "a,,b"]],
)
def test_a_wrong_command_line(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "grid", "study.toml", "data", "--out", str(tmp_path / "out"), *wrong])
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()
