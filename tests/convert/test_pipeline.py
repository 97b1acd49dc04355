"""The whole conversion on a real, tiny student trained on phantoms: bundles that load, gates that refuse."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from convert import calibration, tflite
from device import main as command
from device import schema
from device.bundle import VARIANTS, Abstain, OperatingPoint, load_bundle
from device.errors import UserError
from device.preprocess import Preprocess, prepare, read_picture
from device.runtime import open_bundle
from train.calibrate import fit_temperature, operating_point
from train.data.busi import CLASSES, load_lumas, read_dataset
from train.data.torch_data import targets_of
from train.evaluation.metrics import accuracy
from train.evaluation.models import open_model, run_bundle, split_of
from train.runs import load_run

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
preprocess = {{ height = 64, width = 64 }}
student = {{ network = {{ name = "mobilenetv3_small_050", weights = "random", mean = 0.5, std = 0.5 }}, \
fit = {{ epochs = 3, batch = 8, lr = 2e-3 }} }}
convert = {{ calibration_pictures = 20, {gates} }}
"""
OPEN = (
    "int8_agreement = 0.01, float_agreement = 0.9, float32_logit_difference = 0.01, accuracy_loss = 1.0, "
    "auc_loss = 1.0, flip_margin = 1.0, calibration_agreement = 0.01"
)


@pytest.fixture(scope="module")
def student(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(gates=OPEN))
    out = folder / "student"
    arguments = ["train", "distill", str(phantoms), "--no-teacher", "--recipe", str(recipe), "--out", str(out)]
    assert command.main(arguments) == 0
    return out


@pytest.fixture(scope="module")
def bundles(student: Path, phantoms: Path) -> Path:
    out = student.parent / "bundles"
    assert command.main(["convert", str(student), "--data", str(phantoms), "--out", str(out)]) == 0
    return out


def test_each_variant_is_a_loadable_bundle_that_says_what_it_is(bundles: Path, student: Path) -> None:
    meta_of_run = load_run(student).meta
    for variant in VARIANTS:
        bundle = load_bundle(bundles / variant)
        meta = bundle.meta
        assert meta.variant == variant
        assert meta.synthetic
        assert "synthetic phantoms" in meta.intended_use
        assert meta.classes == CLASSES
        assert meta.input.dtype == ("int8" if variant == "int8-full" else "float32")
        assert meta.training.student_sha256 == meta_of_run.weights_sha256
        assert meta.training.split["fingerprint"] == meta_of_run.split["fingerprint"]
        assert {"accuracy", "balanced_accuracy", "auc_benign_malignant", "malignant_missed"} <= set(meta.metrics)
        assert meta.training.recipe["convert"]["calibration_pictures"] == 20
    int8 = load_bundle(bundles / "int8-full").meta
    assert (int8.input.scale, int8.input.zero_point) == (1.0, 0), "the mean 127.5 is luma 128"
    sizes = {variant: (bundles / variant / "model.tflite").stat().st_size for variant in VARIANTS}
    assert sizes["int8-full"] < sizes["float16"] < sizes["float32"]


def test_figures_in_the_bundle_come_from_the_file_itself(bundles: Path, phantoms: Path) -> None:
    data = read_dataset(phantoms)
    for variant in ("float32", "int8-full"):
        bundle = load_bundle(bundles / variant)
        split = split_of(open_model(bundle.folder), data)
        test = run_bundle(bundle, load_lumas(split.test, bundle.meta.preprocess))
        assert bundle.meta.metrics["accuracy"].value == accuracy(test, targets_of(split.test))
        val, targets = run_bundle(bundle, load_lumas(split.val, bundle.meta.preprocess)), targets_of(split.val)
        assert bundle.meta.temperature == fit_temperature(val, targets)
        found = operating_point(val, targets, bundle.meta.temperature, 0.95, bundle.meta.operating_point.derived_on)
        assert bundle.meta.operating_point == found


def test_an_operating_point_from_out_of_fold_answers(student: Path, phantoms: Path, tmp_path: Path, capsys) -> None:
    meta = load_run(student).meta
    split = {**schema.dump(meta.recipe.split), "test_fold": 3, "val_fold": 4}
    facts = {
        "threshold": schema.dump(OperatingPoint(0.123, 0.95, 0.96, 0.7, "answers of four other networks")),
        "abstain": schema.dump(Abstain(0.456, 0.9, "answers of four other networks")),
        "folds": [1, 2, 3],
        "recipe": schema.dump(meta.recipe) | {"split": split},
        "groups": meta.split["groups"],
        "data": {"fingerprint": meta.data_fingerprint},
    }
    path, out = tmp_path / "operating_point.json", tmp_path / "bundles"
    path.write_text(json.dumps(facts))
    (mine := out.with_name(out.name + ".log")).write_text("the shell's own")
    (taken := out.with_name(out.name + ".converter.log")).write_text("somebody's")
    call = ["convert", str(student), "--data", str(phantoms), "--variants", "float32", "--out", str(out)]
    assert command.main([*call, "--operating-point", str(path), "--name", "their-own.2"]) == 0
    assert (mine.read_text(), taken.read_text()) == ("the shell's own", "somebody's")
    assert {path.name for path in tmp_path.iterdir()} == {path.name, out.name, mine.name, taken.name}
    made = load_bundle(out / "float32").meta
    assert made.name == "their-own.2"
    assert schema.dump(made.operating_point) == facts["threshold"]
    assert schema.dump(made.abstain) == facts["abstain"]
    path.write_text(json.dumps(facts | {"folds": [0, 1, 2, 3]}))
    assert command.main([*call, "--operating-point", str(path)]) == 2
    assert "which is the student's test part" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "two words", "x" * 65])
def test_a_bundles_name_can_be_a_folders(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["convert", "run", "--data", "data", "--out", "out", f"--name={name}"])
    assert f"{name!r} is no name: 1 to 64 letters" in capsys.readouterr().err


def test_calibration_pictures_come_from_the_training_part_alone(bundles: Path, phantoms: Path) -> None:
    training = load_bundle(bundles / "int8-full").meta.training
    split = split_of(open_model(bundles / "int8-full"), read_dataset(phantoms))
    names = training.calibration["names"]
    assert set(names) <= {picture.name for picture in split.train}
    assert len(names) == training.calibration["pictures"] >= 18
    assert {name.split(" ")[0] for name in names} == set(CLASSES)


def test_float_file_answers_as_pytorch_on_every_held_out_picture(bundles: Path) -> None:
    rows = {row["variant"]: row for row in json.loads((bundles / "report.json").read_text())["variants"]}
    assert list(rows) == ["onnx", "onnx-int8", *VARIANTS]
    for name in ("onnx", "float32"):
        assert rows[name]["parity"]["agreement"] == 1.0
        assert rows[name]["parity"]["max_difference"] < 1e-3
    assert rows["float32"]["parity"]["pictures"] == load_bundle(bundles / "float32").meta.parity["pictures"] > 20
    page = (bundles / "report.md").read_text()
    assert "never a diagnosis" in page
    assert "| int8-full |" in page


def test_the_report_tells_calibration_noise_and_flips(bundles: Path) -> None:
    report = json.loads((bundles / "report.json").read_text())
    page = (bundles / "report.md").read_text()
    again, held_out = report["calibration"]["again"], sum(report["pictures"].values())
    assert again["pictures"] == held_out
    assert 0 < again["agreement"] <= 1
    assert f"the same answer to {100 * again['agreement']:.1f} % of {held_out} held-out pictures" in page

    layers = report["layers"]
    assert [layer["number"] for layer in layers] == sorted({layer["number"] for layer in layers})
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MUL", "MEAN"} <= {layer["kind"] for layer in layers}
    section = page.split("## Noise of int8-full, layer by layer")[1]
    worst = min((layer for layer in layers if layer["decibel"] is not None), key=lambda layer: layer["decibel"])
    first = next(line for line in section.splitlines() if line.startswith("| ") and "dB" not in line)
    assert first.startswith(f"| {worst['number']} | {worst['kind']} | ")
    assert f"| {worst['decibel']:.1f} |" in first
    assert cv2.imread(str(bundles / "noise.png")) is not None

    rows = {row["variant"]: row for row in report["variants"]}
    flips = [(name, flip) for name, row in rows.items() for flip in (*row["parity"]["flips"], *row["hard"]["flips"])]
    told = [f"| {n} | {f['picture']} | {f['was']} | {f['became']} | {f['margin']:.2f} |" for n, f in flips]
    table = page.split("## Pictures whose top class changed")[1] if flips else ""
    assert [line for line in table.split("\n## ")[0].splitlines() if line.startswith("| ")][1:] == told
    changed = any(row["parity"]["flips"] for row in rows.values())
    assert [cv2.imread(str(sheet)) is not None for sheet in bundles.glob("flips*")] == [True] * changed


def test_a_bundle_says_how_often_it_comes_to_the_same_verdict(bundles: Path, student: Path, phantoms: Path) -> None:
    rows = {row["variant"]: row for row in json.loads((bundles / "report.json").read_text())["variants"]}
    assert rows["onnx"]["verdict_agreement"] is rows["onnx-int8"]["verdict_agreement"] is None
    for variant in VARIANTS:
        parity = load_bundle(bundles / variant).meta.parity
        assert parity["verdict_agreement"] == rows[variant]["verdict_agreement"]
        assert parity["top1_agreement"] == rows[variant]["parity"]["agreement"]
        assert parity["hard_top1_agreement"] == rows[variant]["hard"]["agreement"]
        assert parity["hard_frames"] == rows[variant]["hard"]["pictures"] == 18
        assert parity["accuracy_difference"] == rows[variant]["differences"]["accuracy"]["value"]
    assert load_bundle(bundles / "float32").meta.parity["verdict_agreement"] == 1.0


def test_int8_alone_needs_no_float_file(student: Path, phantoms: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "bundles", tmp_path / "one.toml"
    recipe.write_text(RECIPE.format(gates=f'variants = ["int8-full"], {OPEN}'))
    call = ["convert", str(student), "--data", str(phantoms), "--recipe", str(recipe), "--out", str(out)]
    assert command.main(call) == 0
    assert (out / "student-int8.onnx").is_file()
    assert not (out / "student.onnx").exists()
    rows = json.loads((out / "report.json").read_text())["variants"]
    assert [row["variant"] for row in rows] == ["onnx-int8", "int8-full"]


def test_evaluate_reads_bundles_through_the_device(bundles: Path, phantoms: Path, tmp_path: Path, capsys) -> None:
    report = tmp_path / "evaluation.json"
    arguments = ["train", "evaluate", str(bundles / "int8-full"), "--data", str(phantoms), "--json", str(report)]
    assert command.main(arguments) == 0
    said = json.loads(report.read_text())["models"][str(bundles / "int8-full")]["metrics"]["accuracy"]["value"]
    assert said == load_bundle(bundles / "int8-full").meta.metrics["accuracy"].value
    assert "never a diagnosis" in capsys.readouterr().out


def test_a_leak_by_protocol_is_told_by_report_and_bundle(phantoms: Path, tmp_path: Path) -> None:
    recipe, run, out = tmp_path / "tiny.toml", tmp_path / "student", tmp_path / "bundles"
    recipe.write_text(RECIPE.format(gates=OPEN).replace("epochs = 3", "epochs = 1"))
    common = [str(phantoms), "--no-teacher", "--recipe", str(recipe), "--protocol", "paper", "--out", str(run)]
    assert command.main(["train", "distill", *common]) == 0
    assert load_run(run).meta.recipe.split.protocol == "paper"
    call = ["convert", str(run), "--data", str(phantoms), "--variants", "float32", "--out", str(out)]
    assert command.main(call) == 0
    assert "**The protocol 'paper' leaks by construction" in (out / "report.md").read_text()
    assert load_bundle(out / "float32").meta.cautions[0].startswith("LEAKY SPLIT")
    assert json.loads((out / "report.json").read_text())["split"]["leaks"] is True


def test_one_picture_from_file_to_logits(bundles: Path, phantoms: Path) -> None:
    """The device's own calls on a PNG give what the report's path gives."""
    bundle = load_bundle(bundles / "int8-full")
    picture = read_dataset(phantoms).pictures[5]
    luma = prepare(read_picture(picture.path), bundle.meta.preprocess)
    np.testing.assert_array_equal(open_bundle(bundle).logits(luma), run_bundle(bundle, luma[None])[0])


def test_a_failed_gate_writes_no_bundle_and_leaves_the_old_ones(
    student: Path, phantoms: Path, bundles: Path, tmp_path: Path, capsys
) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(RECIPE.format(gates="float32_logit_difference = 1e-12"))
    before = {path: path.read_bytes() for path in sorted(bundles.rglob("*")) if path.is_file()}
    arguments = ["convert", str(student), "--data", str(phantoms), "--recipe", str(strict), "--out", str(bundles)]
    assert command.main([*arguments, "--variants", "float32"]) == 3
    said = capsys.readouterr().err.strip()
    assert "no bundle was written" in said
    assert len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in sorted(bundles.rglob("*")) if path.is_file()} == before
    refused = bundles.with_name("bundles.refused")
    assert "## Refused" in (refused / "report.md").read_text()
    assert not list(refused.rglob("*.tflite"))
    assert sorted(path.name for path in bundles.parent.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("part", ["other data", "teacher", "nothing"])
def test_what_does_not_belong_together_is_refused(
    part: str, student: Path, phantoms: Path, tmp_path: Path, capsys
) -> None:
    from train.data.phantoms import write_phantoms

    run, data = student, phantoms
    if part == "other data":
        data = tmp_path / "other"
        write_phantoms(data, per_class=24, seed=8, size=(96, 128))  # same names, other pictures
    else:
        run = tmp_path / "run"
        run.mkdir()
        if part == "teacher":
            meta = json.loads((student / "meta.json").read_text())
            (run / "meta.json").write_text(json.dumps({**meta, "kind": "teacher"}))
            (run / "model.safetensors").write_bytes((student / "model.safetensors").read_bytes())
    assert command.main(["convert", str(run), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_only_an_earlier_conversion_is_replaced(student: Path, phantoms: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "runs" / "student").mkdir(parents=True)
    (tmp_path / "runs" / "student" / "model.safetensors").write_text("months of work")
    for out in (tmp_path / "runs", tmp_path / "runs" / "student" / "model.safetensors"):
        assert command.main(["convert", str(student), "--data", str(phantoms), "--out", str(out)]) == 2
        assert "no earlier conversion" in capsys.readouterr().err
    assert (tmp_path / "runs" / "student" / "model.safetensors").read_text() == "months of work"


def test_calibration_needs_pictures(phantoms: Path) -> None:
    with pytest.raises(UserError, match="at least 20"):
        calibration.draw(read_dataset(phantoms).pictures[:19], Preprocess(height=64, width=64), 100, 0)


def test_two_draws_share_no_picture(phantoms: Path) -> None:
    pictures, preprocess = read_dataset(phantoms).pictures, Preprocess(height=64, width=64)
    first, second = calibration.draw(pictures, preprocess, 30, 0)
    assert second is not None
    assert not set(first.manifest["names"]) & set(second.manifest["names"])
    for drawn in (first, second):
        assert drawn.lumas.shape == (30, 64, 64)
        assert drawn.manifest["pictures"] == 30
        assert [sum(name.startswith(label) for name in drawn.manifest["names"]) for label in CLASSES] == [10, 10, 10]
        assert (drawn.lumas[0].min(), drawn.lumas[0].max()) == (0, 255)
    again, _ = calibration.draw(pictures, preprocess, 30, 0)
    assert again.manifest == first.manifest
    assert calibration.draw(pictures, preprocess, 60, 0)[1] is None, "12 are left, under 20"


def test_a_converter_that_fails_says_so_and_keeps_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "student.onnx"
    broken.write_bytes(b"no model")
    np.save(tmp_path / "calibration.npy", np.zeros((1, 64, 64), np.uint8))
    job = tflite.Job(str(broken), str(broken), 0, (str(tmp_path / "calibration.npy"),))
    for variant in ("float32", "int8-full"):
        with pytest.raises(UserError, match="conversion failed"):
            tflite.write_variants(job, tmp_path / "out", [variant], tmp_path / "convert.log")
    assert (tmp_path / "convert.log").stat().st_size > 0
