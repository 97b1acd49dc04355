"""`busi-kd train evaluate`: its figures, and what it refuses to evaluate: slow tests."""

import json
import shutil
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score
from train_commands import refused

from device import RESEARCH_NOTICE
from device.main import main
from train.data.busi import load_lumas, read_dataset
from train.data.phantoms import write_phantoms
from train.data.splits import make_split
from train.data.torch_data import targets_of
from train.fit import predict
from train.runs import load_run

pytestmark = pytest.mark.slow


def test_evaluate_prints_and_writes_the_figures(
    teacher: Path, student: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "figures.json"
    arguments = ["train", "evaluate", teacher, student, "--data", phantoms, "--json", target]
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr().out
    assert RESEARCH_NOTICE in said
    assert "SYNTHETIC" in said
    report = json.loads(target.read_text())
    assert report["notice"] == RESEARCH_NOTICE
    assert report["synthetic"] is True
    assert set(report["models"]) == {str(teacher), str(student)}

    run = load_run(student)
    split = make_split(read_dataset(phantoms), run.meta.recipe.split, None)
    targets = targets_of(split.test)
    chosen = predict(run.network, load_lumas(split.test, run.meta.recipe.preprocess)).argmax(axis=1)
    found = report["models"][str(student)]
    assert (found["name"], found["part"], found["pictures"]) == ("tiny student", "test", len(split.test))
    assert found["split"] == split.describe()
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(accuracy_score(targets, chosen), abs=1e-6)
    for name in ("accuracy", "balanced_accuracy", "auc_benign_malignant"):
        figure = found["metrics"][name]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    row = next(line for line in said.splitlines() if "tiny student" in line)
    assert f"{100 * found['metrics']['accuracy']['value']:.1f} [" in row

    assert main(["train", "evaluate", str(student), "--data", str(phantoms), "--part", "val"]) == 0
    assert f"| tiny student | val | {len(split.val)} |" in capsys.readouterr().out


def test_evaluate_refuses_another_data_set(
    student: Path, phantoms: Path, bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "figures.json"
    # The same names with other pictures, more pictures, and other groups.
    write_phantoms(tmp_path / "twin", per_class=24, seed=8, size=(96, 128))
    write_phantoms(tmp_path / "more", per_class=25, seed=7, size=(96, 128))
    for data in ("twin", "more"):
        arguments = ["train", "evaluate", student, "--data", tmp_path / data, "--json", report]
        refused(capsys, arguments, str(student), str(tmp_path / data))
    groups = tmp_path / "groups.csv"
    names = [picture.name for picture in read_dataset(phantoms).pictures]
    groups.write_text("image,group_id\n" + "".join(f"{name},{n // 2}\n" for n, name in enumerate(names)))
    refused(capsys, ["train", "evaluate", student, "--data", phantoms, "--groups", groups], "--groups")
    bundle = bundle_dir / "float32"
    refused(capsys, ["train", "evaluate", bundle, "--data", phantoms], str(bundle))
    refused(capsys, ["train", "evaluate", tmp_path / "none", "--data", phantoms], str(tmp_path / "none"))
    assert not report.exists()


def test_altered_or_missing_weights_do_not_load(
    student: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(student, copy)
    evaluate = ["train", "evaluate", copy, "--data", phantoms]
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(capsys, evaluate, str(weights), "altered")
    weights.write_bytes(whole[: len(whole) // 2])
    refused(capsys, evaluate, str(weights), "altered")
    weights.unlink()
    refused(capsys, evaluate, str(weights), "missing")
    weights.write_bytes(whole)
    assert main([str(a) for a in evaluate]) == 0


def test_an_altered_meta_does_not_load(
    student: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(student, copy)
    evaluate = ["train", "evaluate", copy, "--data", phantoms]
    path = copy / "meta.json"
    text = path.read_text()
    meta = json.loads(text)
    for changed, part in (
        (text[:-20], "JSON"),
        (json.dumps({**meta, "sead": 1}), "'sead' (did you mean 'seconds'?)"),
        (json.dumps({k: v for k, v in meta.items() if k != "split"}), "'split' is missing"),
        (json.dumps({**meta, "classes": ["malignant", "benign", "normal"]}), "classes"),
        (text.replace("mobilenetv3_small_050", "test_resnet"), "does not fit"),
    ):
        path.write_text(changed)
        refused(capsys, evaluate, str(copy), part)
    path.unlink()
    refused(capsys, evaluate, str(copy), "run the same command again")
    (copy / "started.json").unlink()
    refused(capsys, evaluate, str(copy), "finished training")
