"""`busi-kd train segment` as a whole, on phantoms: tables, sheet, what is left after a failure: slow tests."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_segment_study import write_groups, write_study
from train_commands import refused

from device.main import main
from train.audit.known import NAMES as FLAGS
from train.segmentation import job as jobs

pytestmark = pytest.mark.slow


def _call(study: str, data: Path, groups: Path, out: Path, *more: str) -> list[str]:
    call = ["train", "segment", study, data, "--groups", groups, "--out", out, "--repeats", "20", *more]
    return [str(word) for word in call]


@pytest.fixture(scope="module")
def done(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segment")
    call = _call(write_study(folder), phantoms, write_groups(folder / "groups.csv"), folder / "out")
    assert main(call) == 0
    return folder


def test_the_tables_hold_every_row_once(done: Path) -> None:
    page = (done / "out" / "tables.md").read_text()
    assert "Table I" in page
    assert "Table III" in page
    assert "Ablations" not in page
    assert "SYNTHETIC phantoms" in page
    assert "Research" in page
    table = page[page.index("## Table III") :].split("\n## ")[0]
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")][1:] == ["| alone", "| taught"]
    with open(done / "out" / "table-i.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row"] for row in rows] == ["alone", "taught"]
    assert [row["trainings"] for row in rows] == ["2", "2"]
    assert rows[1]["against"] == "alone"
    difference = float(rows[1]["all_dice"]) - float(rows[0]["all_dice"])
    assert float(rows[1]["dice_difference"]) == pytest.approx(difference, abs=2e-6)


def test_the_tables_are_the_mean_of_the_pictures(done: Path) -> None:
    with open(done / "out" / "pictures.csv") as stream:
        pictures = list(csv.DictReader(stream))
    with open(done / "out" / "table-i.csv") as stream:
        rows = {row["row"]: row for row in csv.DictReader(stream)}
    for name, row in rows.items():
        own = [one for one in pictures if one["row"] == name]
        assert len({one["picture"] for one in own}) == len(own) == int(row["pictures"])
        lesions = [one for one in own if one["label"] != "normal"]
        assert all(one["dice"] == "" for one in own if one["label"] == "normal"), "unknown, not zero"
        assert float(row["all_dice"]) == pytest.approx(np.mean([float(one["dice"]) for one in lesions]), abs=1e-4)
        found, total = (sum(int(one[key]) for one in own) for key in ("found", "lesions"))
        assert float(row["all_lesions_found"]) == pytest.approx(found / total, abs=1e-6)


def test_the_sheet_is_a_picture_and_says_what_it_is(done: Path) -> None:
    sheet = Image.open(done / "out" / "outlines-taught.png")
    colours = {colour for _, colour in sheet.getcolors(2**24)}
    assert {(255, 214, 0), (0, 220, 255)} <= colours, "the truth's outline and the prediction's"


def test_the_same_command_trains_nothing_again_and_checkpoints_are_gone(
    done: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = sorted(done.glob("out/runs/*/*"))
    assert len(runs) == 6
    assert not [one for one in runs if (one / "checkpoints").exists()]
    before = {path: path.stat().st_mtime_ns for path in done.glob("out/r*/**/*")}
    assert main(_call(str(done / "study.toml"), phantoms, done / "groups.csv", done / "out")) == 0
    assert "6 trainings are done, 0 to go" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in done.glob("out/r*/**/*")} == before


def test_a_failed_training_is_told_and_the_others_go_on(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One row's loss becomes infinite; its student has no teacher then, and a third one is trained all the same.
    study = write_study(
        tmp_path, ("change.network.channels = [8, 8]", "change.fit.lr = 1e30"), ("folds = [0, 2]", "folds = [0]")
    )
    assert main(_call(study, phantoms, write_groups(tmp_path / "groups.csv"), tmp_path / "out")) == 1
    said = capsys.readouterr().out
    assert "benign teacher, seed 0, fold 0: the training loss became" in said
    assert "taught, seed 0, fold 0: its teacher 'benign teacher' was not trained" in said
    assert (tmp_path / "out" / "results" / "alone" / "0-0.json").is_file()
    assert "0 of 1" in (tmp_path / "out" / "tables.md").read_text()


def test_a_kill_between_two_trainings_loses_neither(
    done: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(done / "out", tmp_path / "out"))
    lost = [out / "results" / "taught" / "0-2.json", out / "runs" / "taught" / "0-2"]
    wanted = json.loads(lost[0].read_text())
    lost[0].unlink()
    shutil.rmtree(lost[1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    call = _call(str(done / "study.toml"), phantoms, done / "groups.csv", out)
    monkeypatch.setattr(jobs, "write_outline", killed)
    assert main(call) == 130
    assert not lost[0].exists()
    monkeypatch.undo()
    assert main(call) == 0
    again = json.loads(lost[0].read_text())
    assert again["scores"] == wanted["scores"]


def test_what_does_not_fit_is_refused(
    done: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, groups, out = str(done / "study.toml"), done / "groups.csv", done / "out"
    refused(capsys, ["train", "segment", study, phantoms], "Give --out")
    refused(capsys, ["train", "segment", study, "--out", tmp_path / "x"], "which data?")
    refused(capsys, _call(study, phantoms, groups, out, "--rows", "tought"), "no row 'tought'", "taught")
    other = write_study(tmp_path / "other", ("hard_share = 0.5", "hard_share = 0.6"))
    refused(capsys, _call(other, phantoms, groups, out), "trained with another recipe")
    without = ["train", "segment", study, phantoms, "--no-groups", "--out", out]
    refused(capsys, without, "trained with another split")
    refused(capsys, _call(study, phantoms, groups, out, "--classifier", str(tmp_path)), "holds no results")


def test_tables_can_be_written_without_the_data(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "segment", str(done / "study.toml"), "--table-only", "--out", str(done / "out")]) == 0
    assert "Table II" in capsys.readouterr().out
    assert not (done / "out" / "by-flag.md").exists(), "these groups hold no flags"


def test_flags_of_the_audit_make_a_page_of_their_own(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(done / "out", tmp_path / "out"))
    audit = tmp_path / "pictures.csv"
    with open(out / "pictures.csv") as stream:
        names = sorted({row["picture"] for row in csv.DictReader(stream)})
    odd = {names[0], names[-1]}
    lines = [",".join((name, "0", *(str(int(name in odd)) for _ in FLAGS))) for name in names]
    whole = json.loads((out / "pictures.json").read_text())["pictures"]
    lines += [",".join((name, "0", *("0" for _ in FLAGS))) for name in whole if name not in names]
    audit.write_text("\n".join([",".join(("image", "group_id", *FLAGS)), *lines]) + "\n")
    call = ["train", "segment", str(done / "study.toml"), "--table-only", "--out", str(out), "--groups", str(audit)]
    assert main([*call, "--repeats", "20"]) == 0
    assert "by-flag.md" in capsys.readouterr().out
    page = (out / "by-flag.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## alone",
        "## benign teacher",
        "## taught",
        "## Missed by every row",
    ]
    assert "| axilla |" in page


def test_costs_need_neither_data_nor_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "segment", "paper", "--costs"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    by_name = {row[0].removeprefix("| "): row for row in rows}
    assert by_name["simplified U-Net"][2] == "2,184,453"
    assert float(by_name["teacher, both classes"][4]) == pytest.approx(206.1, abs=0.1)
