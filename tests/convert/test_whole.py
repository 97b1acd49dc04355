"""`busi-kd all` and `busi-kd demo`: the real steps in real processes, at the smallest scale."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import psutil
import pytest

from convert import demo, summary, whole
from device import RESEARCH_NOTICE, shipped
from device import main as command
from device.bundle import load_bundle, sign_bundle
from device.errors import UserError
from device.phantom_clip import PhantomClip

TINY = """
name = "tiny"
preprocess = { height = 64, width = 64 }

[convert]  # gates that a student of one epoch passes
variants = ["float32", "float16", "int8-full"]
calibration_pictures = 20
int8_agreement = 0.01
float_agreement = 0.5
accuracy_loss = 1.0
auc_loss = 1.0
flip_margin = 1.0
calibration_agreement = 0.01

[teacher]
hidden = [16]
backbones = [{ name = "resnet10t", weights = "random" }, { name = "mobilenetv3_small_050", weights = "random" }]
fit = { epochs = 1, batch = 8 }

[student]
network = { name = "mobilenetv3_small_050", weights = "random", mean = 0.5, std = 0.5 }
fit = { epochs = 1, batch = 8 }
"""


@pytest.fixture
def model_that_ships(bundle_dir: Path, maker_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the model that ships with busi-kd, said to be trained on patients' pictures."""
    folder = tmp_path / "models" / "stand-in"
    shutil.copytree(bundle_dir / "int8-full", folder)
    meta = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(meta | {"name": "stand-in", "synthetic": False}))
    sign_bundle(folder, maker_key)
    monkeypatch.setattr(shipped, "FOLDER", folder.parent)
    return folder


def shipped_steps(out: Path, seconds: float, keys: Path) -> list[whole.Step]:
    """The demonstration's, with the key of the stand-in trusted instead of those that ship."""
    return [(what, [*command, "--trusted-keys", str(keys)]) for what, command in demo.shipped_steps(out, seconds)]


@pytest.mark.slow
def test_the_whole_path_from_a_data_folder_to_one_page(
    phantoms: Path, model_that_ships: Path, trusted_keys: Path, tmp_path: Path, capsys
) -> None:
    recipe, out = tmp_path / "tiny.toml", tmp_path / "out"
    arguments = ["all", str(phantoms), "--recipe", str(recipe), "--out", str(out), "--seconds", "0.05"]
    recipe.write_text(TINY.replace(', "int8-full"', ""))
    assert command.main(arguments) == 2
    assert "makes no int8-full, which the daemon is to run; add it to variants." in capsys.readouterr().err
    assert not out.exists()
    recipe.write_text(TINY)
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    facts, page = json.loads((out / "summary.json").read_text()), (out / "summary.md").read_text()
    assert page in printed
    assert "never a diagnosis" in page
    assert "SYNTHETIC" in page
    assert list(facts["models"]) == [
        *("teacher (PyTorch)", "student (PyTorch)", "student without teacher (PyTorch)"),
        *("float32", "float16", "int8-full"),
    ]
    assert all(facts["models"][variant]["latency"]["2"]["p50"] > 0 for variant in ("float32", "int8-full"))
    held_out = facts["split"]["pictures"]["test"]
    assert facts["daemon"]["frames"]["judged"] == held_out == facts["pictures"]
    asked = {truth: sum(said.values()) for truth, said in facts["verdicts"].items()}
    assert asked == {label: len(list((out / "test" / label).iterdir())) for label in ("benign", "malignant", "normal")}
    assert len(list((out / "test").rglob("*.png"))) == held_out
    assert cv2.imread(str(out / "summary.png")) is not None
    assert not list((out / "test").rglob("*_mask*"))

    (log,) = (out / "logs").glob("*-run-the-daemon.log")
    assert "signed_by=maker.pub" in log.read_text()
    for made in (out / "bundles").glob("*/bundle.json"):
        assert load_bundle(made.parent, [out / "keys"]).signed_by == "maker.pub"

    assert facts["shipped"] is None
    assert (
        whole.run_steps(out, shipped_steps(out, 0.4, trusted_keys)) == 0
    )  # writes the page anew, with one more section
    facts, longer = json.loads((out / "summary.json").read_text()), (out / "summary.md").read_text()
    before, section = longer.split("\n## The model that ships with busi-kd\n")
    assert before.splitlines()[:-1] == page.splitlines()[:-1]  # but for the time it took
    assert "stand-in: int8-full, " in section
    assert RESEARCH_NOTICE in section
    assert "trained on patients' pictures" in section
    assert f"judged {facts['shipped']['daemon']['frames']['judged']} frames of the phantom clip" in section
    assert "verdicts" not in facts["shipped"]["daemon"]
    assert json.loads((out / "shipped.json").read_text())["bundle"]["name"] == "stand-in"
    (out / "shipped.json").unlink()

    weights = (out / "student" / "model.safetensors").read_bytes()
    assert command.main(arguments) == 0  # trained already: only what follows is done again
    assert "nothing to do" in (out / "logs" / "1-train-the-hybrid.log").read_text()
    assert (out / "student" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_the_whole_path_with_cross_fitted_teachers(phantoms: Path, tmp_path: Path, capsys) -> None:
    recipe, out, point = tmp_path / "tiny.toml", tmp_path / "out", tmp_path / "point.json"
    folds = "split = { folds = 3 }\ndistill = { views = 2 }\n"
    recipe.write_text(TINY.replace('name = "tiny"\n', f'name = "tiny"\n{folds}'))
    point.write_text("{}")  # so that it ends at the conversion, which another test lets run
    common = ["all", str(phantoms), "--recipe", str(recipe), "--operating-point", str(point)]
    assert command.main([*common, "--cross-fitted", "--out", str(out)]) == 2
    assert "is no operating point of a study" in capsys.readouterr().out
    caches = sorted(path.name for path in (out / "soft" / "cache").iterdir())
    assert caches == ["0-1-tiny-0.safetensors", "0-2-tiny-0.safetensors"], "the pairs that hold the test fold, 0"
    student, alone = (json.loads((out / name / "meta.json").read_text()) for name in ("student", "student-alone"))
    assert student["soft_targets_sha256"]
    assert student["teacher_sha256"] is alone["soft_targets_sha256"] is None
    assert not (out / "teacher").exists()
    assert list(json.loads((out / "evaluation.json").read_text())["models"]) == [
        str(out / "student"),
        str(out / "student-alone"),
    ]

    again = tmp_path / "again"
    assert command.main([*common, "--soft-targets", str(out / "soft"), "--out", str(again)]) == 2
    same = json.loads((again / "student" / "meta.json").read_text())
    assert same["weights_sha256"] == student["weights_sha256"], "the same answers make the same student"
    assert not (again / "soft").exists()


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
        [str(phantoms), "--recipe", "demo", "--cross-fitted", "--protocol", "random"],
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


def test_a_demonstration_ends_with_the_model_that_ships(
    model_that_ships: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "demo", []
    without_file = ("device", "run", "--config", "none")  # a machine's own file must not change a demonstration
    monkeypatch.setattr(demo, "run_steps", lambda out, todo: kept.append(todo) or 0)
    for seconds, shipped_seconds in (("20", "5"), ("2", "2")):
        assert demo.main(["--out", str(out), "--seconds", seconds]) == 0
        own, (_, show), (_, run) = kept[-1][-3:]
        assert own[1][:6] == [*without_file, "--bundle", str(out / "bundles" / "int8-full")]
        assert show == ["device", "show", str(model_that_ships)]
        assert run == [
            *(*without_file, "--bundle", str(model_that_ships), "--source", "phantom"),
            *("--duration", shipped_seconds, "--summary", str(out / "shipped.json")),
        ]


def test_a_shipped_model_that_is_damaged_fails_the_demonstration(
    model_that_ships: Path, trusted_keys: Path, tmp_path: Path, capsys
) -> None:
    (model_that_ships / "model.tflite").write_bytes(b"altered")
    assert whole.run_steps(tmp_path / "out", shipped_steps(tmp_path / "out", 1, trusted_keys)) == 2
    assert "wrong hash" in capsys.readouterr().out


def test_a_demonstration_without_a_model_that_ships_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")
    assert demo.shipped_steps(tmp_path, 5) == []
    assert capsys.readouterr().out.startswith("No model ships with this copy of busi-kd")
    assert summary.shipped_facts(tmp_path) is None


def test_the_key_is_made_once_and_anew_after_a_kill(tmp_path: Path) -> None:
    key = whole.signing_key(tmp_path)
    first = key.read_bytes()
    assert whole.signing_key(tmp_path).read_bytes() == first
    assert key.stat().st_mode & 0o777 == 0o600
    key.with_name("maker.pub").unlink()
    assert whole.signing_key(tmp_path).read_bytes() != first
    assert key.with_name("maker.pub").is_file()


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


def test_a_stop_ends_the_step_that_runs(tmp_path: Path) -> None:
    step = ["device", "run", "--source", "phantom", "--fps", "5"]
    call = f"from pathlib import Path; from convert.whole import run_steps; run_steps(Path('out'), [('watch', {step})])"
    environment = {**os.environ, "PYTHONPATH": str(Path(whole.ROOT))}
    command = [sys.executable, "-c", call]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as one:
        log = tmp_path / "out" / "logs" / "1-watch.log"
        while not (log.is_file() and b"waiting -> ok" in log.read_bytes()):
            assert one.poll() is None, one.stderr.read()
            try:
                one.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        started = psutil.Process(one.pid).children(recursive=True)
        one.send_signal(signal.SIGTERM)
        assert one.wait() != 0
    assert started
    assert psutil.wait_procs(started, timeout=30)[1] == []
    assert b"stopped: SIGTERM" in log.read_bytes()
