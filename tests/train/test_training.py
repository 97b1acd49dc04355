"""Teacher and student end to end on phantoms, through the command line a user types: slow tests."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from tiny_recipe import write_tiny_recipe

from device import RESEARCH_NOTICE, schema
from device.files import sha256_file
from device.main import main
from train.data.busi import CLASSES, load_lumas, read_dataset
from train.data.phantoms import write_phantoms
from train.data.splits import make_split
from train.data.torch_data import targets_of
from train.fit import predict
from train.metrics import nll
from train.recipe import load_recipe
from train.runs import RunMeta, load_run, make_network
from train.training import distill

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml")


@pytest.fixture(scope="module")
def teacher(phantoms: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "teacher"
    assert main(["train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def student(phantoms: Path, recipe: str, teacher: Path) -> Path:
    out = teacher.parent / "student"
    arguments = ["train", "distill", phantoms, "--recipe", recipe, "--teacher", teacher, "--out", out]
    assert main([str(a) for a in arguments]) == 0
    return out


def weights_hash(run: Path) -> str:
    return json.loads((run / "meta.json").read_text())["weights_sha256"]


def refused(capsys: pytest.CaptureFixture[str], arguments: list, *parts: str) -> None:
    """The command ends with status 2 and one sentence that holds `parts`."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    for part in parts:
        assert part in said


def test_meta_is_whole(teacher: Path, student: Path, phantoms: Path, recipe: str) -> None:
    data = read_dataset(phantoms)
    split = make_split(data, load_recipe(recipe).split, None)
    for run, kind, names in (
        (teacher, "teacher", ("test_vit", "test_resnet")),
        (student, "student", ("mobilenetv3_small_050",)),
    ):
        written = json.loads((run / "meta.json").read_text())
        assert set(written) == {field.name for field in dataclasses.fields(RunMeta)}
        meta = schema.load(RunMeta, written, run)
        weights = load_file(run / "model.safetensors")
        assert (meta.kind, meta.classes, meta.synthetic, meta.data_name) == (kind, CLASSES, True, "phantoms")
        assert meta.recipe == load_recipe(recipe)
        assert meta.data_fingerprint == data.fingerprint
        assert meta.split == split.describe()
        assert meta.initial_weights == tuple(f"{name}: random" for name in names)
        assert meta.teacher_sha256 == (weights_hash(teacher) if kind == "student" else None)
        assert meta.weights_sha256 == sha256_file(run / "model.safetensors")
        fresh = make_network(kind, meta.recipe, None)
        assert meta.parameters == sum(p.numel() for p in fresh.parameters())
        assert set(weights) == set(fresh.state_dict())
        assert meta.mebibytes == pytest.approx(sum(t.numel() * t.element_size() for t in weights.values()) / 2**20)
        assert 0.05 <= meta.temperature <= 20
        assert meta.seconds > 0
        assert meta.hardware
        assert {"busi-kd", "python", "torch", "timm", "lightning", "numpy"} <= set(meta.versions)
        assert all(meta.versions.values())
        assert 0 <= meta.validation["selected_epoch"] <= 2


def test_the_validation_figures_are_those_of_the_shipped_weights(student: Path, phantoms: Path) -> None:
    run = load_run(student, "student")
    split = make_split(read_dataset(phantoms), run.meta.recipe.split, None)
    logits = predict(run.network, load_lumas(split.val, run.meta.recipe.preprocess))
    targets = targets_of(split.val)
    figures = run.meta.validation
    assert figures["val_loss"] == pytest.approx(nll(logits, targets), abs=1e-4)
    state = torch.load(student / "checkpoints" / "best.ckpt", weights_only=True)
    assert figures["selected_epoch"] == state["epoch"]
    log = np.genfromtxt(student / "log" / "metrics.csv", delimiter=",", names=True)
    epochs, losses = log["epoch"][~np.isnan(log["val_loss"])], log["val_loss"][~np.isnan(log["val_loss"])]
    assert figures["selected_epoch"] == epochs[losses.argmin()]
    assert figures["val_loss"] == pytest.approx(losses.min(), abs=1e-4)
    assert figures["val_accuracy"] == pytest.approx(accuracy_score(targets, logits.argmax(1)), abs=1e-6)
    wanted = balanced_accuracy_score(targets, logits.argmax(1))
    assert figures["val_balanced_accuracy"] == pytest.approx(wanted, abs=1e-6)


def test_training_moves_the_weights_and_learns(teacher: Path, phantoms: Path) -> None:
    log = np.genfromtxt(teacher / "log" / "metrics.csv", delimiter=",", names=True)
    losses = log["train_loss"][~np.isnan(log["train_loss"])]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    student: Path, teacher: Path, phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    common = ["train", "distill", str(phantoms), "--recipe", recipe, "--teacher", str(teacher)]
    assert main([*common, "--out", str(tmp_path / "again")]) == 0
    assert weights_hash(tmp_path / "again") == weights_hash(student)
    assert main([*common, "--seed", "4", "--out", str(tmp_path / "other")]) == 0
    assert weights_hash(tmp_path / "other") != weights_hash(student)
    assert json.loads((tmp_path / "other" / "meta.json").read_text())["recipe"]["seed"] == 4


def test_a_finished_run_is_not_trained_again(
    student: Path, teacher: Path, phantoms: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in student.rglob("*") if p.is_file()}

    before = state()
    arguments = ["train", "distill", phantoms, "--recipe", recipe, "--teacher", teacher, "--out", student]
    assert main([str(a) for a in arguments]) == 0
    assert state() == before
    assert "finished already" in capsys.readouterr().out


def test_a_run_folder_takes_no_other_run(
    student: Path,
    teacher: Path,
    phantoms: Path,
    recipe: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = weights_hash(student)
    common = ["train", "distill", phantoms, "--out", student]
    other = write_tiny_recipe(tmp_path / "other.toml", ("alpha = 0.5", "alpha = 0.6"))
    refused(capsys, [*common, "--recipe", other, "--teacher", teacher], str(student), "other data, recipe or teacher")
    refused(capsys, [*common, "--recipe", recipe, "--no-teacher"], str(student), "choose another --out")
    refused(capsys, [*common, "--recipe", recipe, "--teacher", teacher, "--seed", 9], str(student))
    refused(capsys, ["train", "teacher", phantoms, "--recipe", recipe, "--out", student], str(student))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    refused(
        capsys, ["train", "teacher", phantoms, "--recipe", recipe, "--out", tmp_path / "full"], str(tmp_path / "full")
    )
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert len(list((tmp_path / "full").iterdir())) == 1
    assert weights_hash(student) == before


def test_a_teacher_that_may_know_the_test_pictures_is_refused(
    teacher: Path, student: Path, phantoms: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student"
    common = ["train", "distill", phantoms, "--teacher", teacher, "--out", out]
    split = write_tiny_recipe(tmp_path / "split.toml", ("[distill]", "[split]\nseed = 1\n\n[distill]"))
    refused(capsys, [*common, "--recipe", split], str(teacher), "another split")
    size = write_tiny_recipe(tmp_path / "size.toml", ("height = 64", "height = 80"))
    refused(capsys, [*common, "--recipe", size], str(teacher), "another input size")
    # Other pictures under the same names split alike; only their bytes tell.
    write_phantoms(tmp_path / "twin", per_class=24, seed=8, size=(96, 128))
    arguments = ["train", "distill", tmp_path / "twin", "--recipe", recipe, "--teacher", teacher, "--out", out]
    refused(capsys, arguments, str(teacher), "data set")
    groups = tmp_path / "groups.csv"
    names = [picture.name for picture in read_dataset(phantoms).pictures]
    groups.write_text("image,group_id\n" + "".join(f"{name},{n // 2}\n" for n, name in enumerate(names)))
    refused(capsys, [*common, "--recipe", recipe, "--groups", groups], str(teacher), "another split")
    refused(
        capsys,
        ["train", "distill", phantoms, "--recipe", recipe, "--teacher", student, "--out", out],
        str(student),
        "a teacher is wanted",
    )
    refused(
        capsys,
        ["train", "distill", phantoms, "--recipe", recipe, "--teacher", tmp_path / "none", "--out", out],
        str(tmp_path / "none"),
    )
    assert not out.exists()


def test_the_teacher_is_frozen_and_not_in_the_students_checkpoint(
    teacher: Path, phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    run = load_run(teacher, "teacher")
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    seen: list[torch.Tensor] = []
    run.network.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    data = read_dataset(phantoms)
    done = distill(data, load_recipe(recipe), None, None, run, tmp_path / "student")
    after = run.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "BatchNorm's statistics too"
    assert not any(p.requires_grad or p.grad is not None for p in run.network.parameters())
    for name in ("best", "last"):
        checkpoint = torch.load(tmp_path / "student" / "checkpoints" / f"{name}.ckpt", weights_only=True)
        names = {key.removeprefix("network.") for key in checkpoint["state_dict"] if key.startswith("network.")}
        assert names == set(done.network.state_dict())
        others = {key for key in checkpoint["state_dict"] if not key.startswith("network.")}
        assert all(key.startswith("metrics.") for key in others)
        (group,) = checkpoint["optimizer_states"][0]["param_groups"]
        assert len(group["params"]) == len(list(done.network.parameters()))
    # 43 or 44 training pictures in batches of 8: 5 a full epoch; the teacher saw augmented pictures, other ones each time.
    split = make_split(data, load_recipe(recipe).split, None)
    assert len(seen) == 3 * (len(split.train) // 8)
    assert all(batch.shape == (8, 1, 64, 64) for batch in seen)
    plain = {picture.tobytes() for picture in load_lumas(split.train, load_recipe(recipe).preprocess)}
    shown = [picture.numpy().astype(np.uint8).tobytes() for batch in seen for picture in batch]
    assert not plain & set(shown)
    assert len(set(shown)) == len(shown)


def test_without_a_teacher_the_student_learns_from_labels_alone(
    student: Path, phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    arguments = ["train", "distill", phantoms, "--recipe", recipe, "--no-teacher", "--out", tmp_path / "alone"]
    assert main([str(a) for a in arguments]) == 0
    run = load_run(tmp_path / "alone", "student")
    assert run.meta.teacher_sha256 is None
    assert run.meta.weights_sha256 != weights_hash(student)


def test_the_optimiser_is_the_recipes(teacher: Path, student: Path) -> None:
    for run, schedule_end in ((teacher, 0.0), (student, 2e-3)):
        state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert state["epoch"] == 2
        (group,) = state["optimizer_states"][0]["param_groups"]
        assert group["weight_decay"] == 0.01
        assert group["betas"] == (0.9, 0.999)
        assert group["decoupled_weight_decay"], "AdamW, not Adam"
        assert group["lr"] == pytest.approx(schedule_end, abs=1e-9), "cosine ends at zero, constant stays"


def _command(phantoms: Path, recipe: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "device.main", "train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(out)]


def _epoch_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["epoch"] if checkpoint.is_file() else -1


def _stop_when(command: list[str], seen: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    """Start a command, send it a signal once `seen` holds; returns its exit status and what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        while not seen():
            try:
                said, _ = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"it ended before it could be stopped: {said}")
        process.send_signal(how)
        said, _ = process.communicate()
        return process.returncode, said


def test_a_killed_training_goes_on_to_the_same_weights(phantoms: Path, tmp_path: Path) -> None:
    # The teacher, because it has dropout: its draws must not depend on where the process was killed.
    recipe = write_tiny_recipe(tmp_path / "tiny.toml", ("epochs = 3", "epochs = 16"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(_command(phantoms, recipe, whole), env=environment, check=True, capture_output=True)
    last = cut / "checkpoints" / "last.ckpt"

    status, _ = _stop_when(_command(phantoms, recipe, cut), lambda: _epoch_of(last) >= 1, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert (cut / "started.json").is_file()
    assert not (cut / "meta.json").exists()
    reached = _epoch_of(last)
    assert 1 <= reached < 15

    status, said = _stop_when(_command(phantoms, recipe, cut), lambda: _epoch_of(last) > reached, signal.SIGTERM)
    assert status == 130, said
    assert "busi-kd: interrupted" in said
    assert not (cut / "meta.json").exists()

    done = subprocess.run(_command(phantoms, recipe, cut), env=environment, check=True, capture_output=True, text=True)
    assert "Epoch 0" not in done.stdout + done.stderr, "it must go on, not begin anew"
    assert weights_hash(cut) == weights_hash(whole)
    assert "will be deleted" not in done.stdout + done.stderr
    logs = [pd for pd in (cut / "log").glob("metrics*.csv")]
    rows = {float(line.split(",")[0]) for log in logs for line in log.read_text().splitlines()[1:]}
    assert len(logs) == 3
    assert rows == set(range(16)), "the learning curve of before the kill is kept"
    mine, theirs = (json.loads((run / "meta.json").read_text())["validation"] for run in (cut, whole))
    assert mine == theirs


def test_killed_after_the_last_epoch_it_only_finishes(
    teacher: Path, phantoms: Path, recipe: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(teacher, cut)
    before = json.loads((cut / "meta.json").read_text())
    for name in ("meta.json", "model.safetensors"):
        (cut / name).unlink()
    # The checkpoint remembers where it lay; a moved folder must work too.
    shutil.move(cut, tmp_path / "moved")
    assert main(["train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(tmp_path / "moved")]) == 0
    after = json.loads((tmp_path / "moved" / "meta.json").read_text())
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["validation"] == before["validation"]
    assert after["temperature"] == before["temperature"]


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
