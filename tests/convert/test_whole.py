"""`busi-kd all` and `busi-kd demo`: the real steps in real processes, at the smallest scale."""

import csv
import json
from pathlib import Path

import cv2
import pytest

from convert import demo, summary, whole
from device import main as command
from device.errors import UserError
from device.phantom_clip import PhantomClip

TINY = """
name = "tiny"
preprocess = { height = 64, width = 64 }
convert = { calibration_pictures = 20, int8_agreement = 0.01, float_agreement = 0.5 }

[teacher]
hidden = [16]
backbones = [{ name = "resnet10t", weights = "random" }, { name = "mobilenetv3_small_050", weights = "random" }]
fit = { epochs = 1, batch = 8 }

[student]
network = { name = "mobilenetv3_small_050", weights = "random", mean = 0.5, std = 0.5 }
fit = { epochs = 1, batch = 8 }
"""


@pytest.mark.slow
def test_the_whole_path_from_a_data_folder_to_one_page(phantoms: Path, tmp_path: Path, capsys) -> None:
    recipe, out = tmp_path / "tiny.toml", tmp_path / "out"
    recipe.write_text(TINY)
    arguments = ["all", str(phantoms), "--recipe", str(recipe), "--out", str(out), "--seconds", "0.05"]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    facts, page = json.loads((out / "summary.json").read_text()), (out / "summary.md").read_text()
    assert page in printed
    assert "never a diagnosis" in page
    assert "SYNTHETIC" in page
    assert list(facts["models"]) == [
        *("teacher (PyTorch)", "student (PyTorch)", "student without teacher (PyTorch)"),
        *("float32", "float16", "int8-dynamic", "int8-full"),
    ]
    assert all(facts["models"][variant]["latency"]["2"]["p50"] > 0 for variant in ("float32", "int8-full"))
    held_out = facts["split"]["pictures"]["test"]
    assert facts["daemon"]["frames"]["judged"] == held_out == facts["pictures"]
    asked = {truth: sum(said.values()) for truth, said in facts["verdicts"].items()}
    assert asked == {label: len(list((out / "test" / label).iterdir())) for label in ("benign", "malignant", "normal")}
    assert len(list((out / "test").rglob("*.png"))) == held_out
    assert cv2.imread(str(out / "summary.png")) is not None
    assert not list((out / "test").rglob("*_mask*"))

    weights = (out / "student" / "model.safetensors").read_bytes()
    assert command.main(arguments) == 0  # trained already: only what follows is done again
    assert "nothing to do" in (out / "logs" / "1-train-the-hybrid.log").read_text()
    assert (out / "student" / "model.safetensors").read_bytes() == weights


def test_a_failed_step_shows_its_last_lines_and_its_log(tmp_path: Path, capsys) -> None:
    missing = ["train", "teacher", str(tmp_path / "nowhere"), "--recipe", "demo", "--out", str(tmp_path / "run")]
    assert whole.run_steps(tmp_path / "out", [("train the teacher", missing)]) == 2
    said = capsys.readouterr().out
    assert "nowhere: no such data folder" in said
    assert str(tmp_path / "out" / "logs") in said
    assert not (tmp_path / "out" / "summary.md").exists()


def test_nothing_is_begun_with_what_cannot_work(phantoms: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    for wrong in (
        [str(tmp_path / "nowhere")],
        [str(phantoms), "--recipe", "nonsense"],
        [str(phantoms), "--groups", str(tmp_path / "no.csv")],
        [str(phantoms), "--split", str(tmp_path / "no.json")],
        [str(phantoms), "--only", str(tmp_path / "no.txt")],
    ):
        assert command.main(["all", *wrong, "--out", str(out)]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        assert not out.exists()


def test_the_whole_path_does_not_touch_what_is_not_its_own(phantoms: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "verdicts.csv").write_text("mine")
    assert command.main(["all", str(phantoms), "--recipe", "demo", "--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert (tmp_path / "verdicts.csv").read_text() == "mine"


def test_a_demonstration_does_not_remove_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no earlier demonstration"):
        demo.main(["--out", str(tmp_path)])
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_truth_of_the_clip_follows_from_the_frames_number(tmp_path: Path) -> None:
    clip, path = PhantomClip(), tmp_path / "verdicts.csv"
    numbers = range(0, 1440, 90)
    with open(path, "w", newline="") as stream:
        stream.write("# research only\n")
        rows = csv.writer(stream)
        rows.writerow(["sequence", "name", "verdict"])
        rows.writerows([n, f"phantom {n}", "abstain"] for n in numbers)
    found = summary.verdicts_by_truth(path, of_clip=True)
    labels = [clip.frame(n).label for n in numbers]
    assert found == {label: {"abstain": labels.count(label)} for label in sorted(set(labels))}
    assert len(found) == 3


def test_truth_of_a_replayed_picture_is_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text(
        "# research only\nsequence,name,verdict\n0,benign/benign (1).png,benign\n1,benign/benign (2).png,malignant\n"
        "2,normal/normal (4).png,normal\n"
    )
    found = summary.verdicts_by_truth(path, of_clip=False)
    assert found == {"benign": {"benign": 1, "malignant": 1}, "normal": {"normal": 1}}
