"""`busi-kd train evaluate`: what it prints and writes, and what it refuses to evaluate: slow tests."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluations import OWN, a_candidate
from sklearn.metrics import accuracy_score, roc_auc_score
from train_commands import refused

from device import RESEARCH_NOTICE
from device.bundle import Bundle, load_bundle, write_bundle
from device.decide import softmax
from device.main import main
from train.calibrate import fit_temperature
from train.data.busi import load_lumas, read_dataset
from train.data.phantoms import write_phantoms
from train.data.split_file import read_split
from train.data.splits import Split
from train.data.torch_data import targets_of
from train.evaluation import page
from train.evaluation.evaluate import judge
from train.evaluation.figures import headline
from train.evaluation.folder import predictions
from train.fit import predict
from train.runs import load_run

pytestmark = pytest.mark.slow


@pytest.fixture
def split(student: Path, phantoms: Path) -> Split:
    return read_split(student / "split.json", read_dataset(phantoms))


def _evaluate(capsys: pytest.CaptureFixture[str], *arguments) -> str:
    """Run the command; it must succeed. Returns what it printed."""
    capsys.readouterr()
    assert main(["train", "evaluate", *(str(argument) for argument in arguments)]) == 0
    return capsys.readouterr().out


def _bundle(folder: Path, like: Path, student: Path) -> Bundle:
    """The tiny bundle as if it had been trained as `student` was."""
    source, meta = load_bundle(like), load_run(student).meta
    training = replace(source.meta.training, data_fingerprint=meta.data_fingerprint, split=meta.split)
    return write_bundle(folder, source.model_path, replace(source.meta, training=training))


def test_evaluate_prints_and_writes_the_figures(
    teacher: Path, student: Path, phantoms: Path, split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "figures.json"
    said = _evaluate(capsys, teacher, student, "--data", phantoms, "--json", target)
    assert RESEARCH_NOTICE in said
    assert "SYNTHETIC" in said
    report = json.loads(target.read_text())
    assert report["notice"] == RESEARCH_NOTICE
    assert report["synthetic"] is True
    assert set(report["models"]) == {str(teacher), str(student)}

    run = load_run(student)
    targets = targets_of(split.test)
    val_logits = predict(run.network, load_lumas(split.val, run.meta.recipe.preprocess))
    temperature = fit_temperature(val_logits, targets_of(split.val))
    p = softmax(predict(run.network, load_lumas(split.test, run.meta.recipe.preprocess)), temperature)
    found = report["models"][str(student)]
    assert (found["name"], found["part"], found["pictures"]) == ("tiny student", "test", len(split.test))
    assert found["split"] == split.describe()
    assert found["calibration"]["temperature"] == temperature
    metrics = {name: figure["value"] for name, figure in found["metrics"].items()}
    assert metrics["accuracy"] == pytest.approx(accuracy_score(targets, p.argmax(axis=1)))
    assert metrics["auc_malignant_rest"] == pytest.approx(roc_auc_score(targets == 1, p[:, 1]))
    called = p[:, 1] >= found["calibration"]["threshold"]
    assert metrics["sensitivity"] == pytest.approx(called[targets == 1].mean())
    for name in ("accuracy", "balanced_accuracy", "auc_benign_malignant"):
        figure = found["metrics"][name]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    row = next(line for line in said.splitlines() if line.startswith("| tiny student"))
    assert f"| test | {len(split.test)} | {100 * metrics['accuracy']:.1f} [" in row
    assert f"sensitivity {100 * metrics['sensitivity']:.1f} [" in said
    assert f"Brier score {metrics['brier']:.3f} [" in said
    minus = found["minus_first"]["accuracy"]
    assert minus["value"] == metrics["accuracy"] - report["models"][str(teacher)]["metrics"]["accuracy"]["value"]
    assert f"tiny student minus tiny teacher: accuracy {100 * minus['value']:+.1f} [" in said


def test_a_part_and_repeats_can_be_chosen(
    student: Path, phantoms: Path, split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    said = _evaluate(capsys, student, "--data", phantoms, "--part", "val", "--repeats", 20, "--json", target)
    assert f"| tiny student | val | {len(split.val)} |" in said
    assert "chosen on these very pictures" in said
    assert json.loads(target.read_text())["models"][str(student)]["repeats"] == 20


def test_a_page_is_written_and_written_again(
    teacher: Path, student: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page"
    arguments = [teacher, student, "--data", phantoms, "--repeats", 50, "--out", out]
    assert str(out) in _evaluate(capsys, *arguments)
    page = (out / "report.md").read_text()
    assert "## Differences to tiny teacher" in page
    for name in ("confusion", "roc", "reliability", "errors"):
        assert f"](tiny-student/{name}.png)" in page
        assert (out / "tiny-student" / f"{name}.png").is_file()
    _evaluate(capsys, *arguments)
    assert (out / "report.md").read_text() == page
    # The folder of the runs is not taken for one of an evaluation, before anything is computed.
    capsys.readouterr()
    assert main(["train", "evaluate", str(student), "--data", str(phantoms), "--out", str(student.parent)]) == 2
    said = capsys.readouterr()
    assert str(student.parent) in said.err
    assert said.out == ""
    assert (student / "model.safetensors").is_file()


def test_a_bundle_is_judged_with_its_own_threshold_and_abstention(
    bundle_dir: Path, student: Path, phantoms: Path, split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = _bundle(tmp_path / "bundle", bundle_dir / "float32", student)
    target = tmp_path / "figures.json"
    arguments = [bundle.folder, "--data", phantoms, "--repeats", 20, "--json", target]
    refused(capsys, ["train", "evaluate", *arguments], "split.json", "--split")
    said = _evaluate(capsys, *arguments, "--split", student / "split.json")
    assert "| tiny float32 | test |" in said
    assert "verdicts as on the device" in said
    found = json.loads(target.read_text())["models"][str(bundle.folder)]
    assert found["kind"] == "bundle"
    assert (found["calibration"]["temperature"], found["calibration"]["threshold"]) == (1.0, 0.5)
    verdicts = found["verdicts"]["pictures"]
    assert sum(map(sum, verdicts)) == len(split.test)
    answered = 1 - sum(row[3] for row in verdicts) / len(split.test)
    assert found["metrics"]["verdict_coverage"]["value"] == pytest.approx(answered)


def test_a_list_of_pictures_can_be_judged_alone(
    student: Path, phantoms: Path, split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [picture.name for picture in split.test if picture.label != "normal"]
    chosen, target = tmp_path / "list.txt", tmp_path / "figures.json"
    chosen.write_text("\n".join(names))
    arguments = [student, "--data", phantoms, "--repeats", 20, "--json", target]
    _evaluate(capsys, *arguments, "--only", chosen)
    only = json.loads(target.read_text())["models"][str(student)]
    assert (only["pictures"], only["split"]["only"]) == (len(names), True)
    assert only["metrics"]["recall_normal"]["value"] is None
    assert only["metrics"]["balanced_accuracy"]["value"] is not None
    _evaluate(capsys, *arguments, "--exclude", chosen)
    rest = json.loads(target.read_text())["models"][str(student)]
    assert rest["pictures"] == len(split.test) - len(names)
    # A training picture is no test picture, and what is not in the data set is no picture.
    evaluate = ["train", "evaluate", student, "--data", phantoms]
    refused(capsys, [*evaluate, "--part", "val", "--only", chosen], "--only", "--part val")
    chosen.write_text(split.train[0].name)
    refused(capsys, [*evaluate, "--only", chosen], "leaks")
    chosen.write_text("benign (999).png")
    refused(capsys, [*evaluate, "--only", chosen], "benign (999).png", "--only")


def test_evaluate_refuses_another_data_set(
    student: Path, phantoms: Path, bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "figures.json", tmp_path / "page"
    # The same names with other pictures, and more pictures.
    write_phantoms(tmp_path / "twin", per_class=24, seed=8, size=(96, 128))
    write_phantoms(tmp_path / "more", per_class=25, seed=7, size=(96, 128))
    for data in ("twin", "more"):
        arguments = ["train", "evaluate", student, "--data", tmp_path / data, "--json", report, "--out", out]
        refused(capsys, arguments, str(student), str(tmp_path / data))
    bundle = bundle_dir / "float32"
    refused(capsys, ["train", "evaluate", bundle, "--data", phantoms], str(bundle))
    refused(capsys, ["train", "evaluate", tmp_path / "none", "--data", phantoms], str(tmp_path / "none"))
    refused(capsys, ["train", "evaluate", student, student, "--data", phantoms], "given twice")
    assert not report.exists()
    assert not out.exists()


@pytest.mark.parametrize("repeats", ["0", "-1", "1.5", "10001", "many"])
def test_a_wrong_number_of_repeats_is_refused(repeats: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "evaluate", "run", "--data", "data", "--repeats", repeats])
    assert stopped.value.code == 2
    assert f"'{repeats}' is no number in 1..10000" in capsys.readouterr().err


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


def test_another_data_set_is_judged_whole(
    student: Path, bundle_dir: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    write_phantoms(other, per_class=5, seed=99, size=(96, 128))
    call = ["train", "evaluate", student, bundle_dir / "int8-full", "--data", other, "--part", "all"]
    assert main([str(a) for a in [*call, "--json", tmp_path / "e.json", "--out", tmp_path / "out"]]) == 0
    said = capsys.readouterr().out
    assert "whether it holds copies of training pictures was not checked" in said
    models = json.loads((tmp_path / "e.json").read_text())["models"]
    run, bundle = models[str(student)], models[str(bundle_dir / "int8-full")]
    assert (run["pictures"], bundle["pictures"], run["split"]) == (15, 15, None)
    assert (run["calibration"]["temperature"], run["calibration"]["threshold"]) == (1.0, 0.5)
    assert bundle["calibration"]["threshold"] == 0.5
    lumas = load_lumas(read_dataset(other).pictures, load_run(student).meta.recipe.preprocess)
    logits = predict(load_run(student).network, lumas)
    targets = targets_of(read_dataset(other).pictures)
    assert run["metrics"]["accuracy"]["value"] == pytest.approx(accuracy_score(targets, logits.argmax(1)))
    inside = ["--json", tmp_path / "new" / "figures.json", "--out", tmp_path / "new"]
    refused(capsys, [*call, *inside], str(tmp_path / "new" / "figures.json"), "another place for --json")
    assert not (tmp_path / "new").exists()
    own = ["train", "evaluate", student, "--data", phantoms, "--part", "all"]
    refused(capsys, own, str(student), "leave --part all away")
    (other / "dataset.json").write_text(json.dumps({"synthetic": True, "view": "lesion-crop"}))
    refused(capsys, call, "'lesion-crop'", "another data set")


def test_a_page_names_the_pictures_that_were_judged_and_not_the_trainings(
    student: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "clinic", per_class=4, seed=98, size=(96, 128))
    (tmp_path / "clinic" / "dataset.json").unlink()  # as a clinic's own folder is: nothing says that it is synthetic
    call = ["train", "evaluate", student, "--data", tmp_path / "clinic", "--part", "all", "--repeats", 20]
    assert main([str(a) for a in [*call, "--out", tmp_path / "out"]]) == 0
    said = capsys.readouterr().out
    assert "trained on SYNTHETIC phantoms: it knows no patient" in said
    assert "The pictures are SYNTHETIC" not in said
    written = (tmp_path / "out" / "report.md").read_text()
    assert written.startswith("# Evaluation on clinic, all part\n")
    assert not (tmp_path / "out" / "predictions.csv").read_text().startswith("# SYNTHETIC")


def test_phantoms_stay_synthetic_whatever_model_judges_them(phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    shown, known = data.pictures[:12], a_candidate(synthetic=False, data_name="BUSI")
    logits = np.eye(3, dtype=np.float32)[targets_of(shown)]
    found = judge(known, shown, np.arange(12), logits, OWN, "all", None, repeats=20, data=data)
    assert page.page([found], [""]).startswith(f"# Evaluation on SYNTHETIC {data.name}, all part\n")
    assert "The pictures are SYNTHETIC phantoms" in page.page([found], [""])
    assert predictions(found).startswith("# SYNTHETIC. ")
    assert "SYNTHETIC" in headline(found)
