"""Teacher and student end to end on phantoms, through the command line a user types: slow tests."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from tiny_recipe import write_tiny_recipe
from train_commands import refused, weights_hash

from device import schema
from device.files import sha256_file
from device.main import main
from train.data.busi import CLASSES, load_lumas, read_dataset
from train.data.phantoms import write_phantoms
from train.data.split_file import read_split
from train.data.splits import make_split
from train.data.torch_data import targets_of
from train.evaluation.metrics import nll
from train.fit import predict
from train.networks.backbone import Luma
from train.recipe import load_recipe
from train.runs import RunMeta, load_run, make_network
from train.training import distill

pytestmark = pytest.mark.slow


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
        assert meta.view == "whole"
        assert read_split(run / "split.json", data) == split
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
    learnt: list[torch.Tensor] = []  # what the student saw while training; the teacher's own networks are in eval mode
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: learnt.append(args[0].clone()) if isinstance(module, Luma) and module.training else None
    )
    data = read_dataset(phantoms)
    split = make_split(data, load_recipe(recipe).split, None)
    try:
        done = distill(data, load_recipe(recipe), split, None, run, tmp_path / "student")
    finally:
        hook.remove()
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
    # The teacher saw what the student saw: augmented pictures, other ones each time, and whole batches of 8 only.
    assert len(seen) == len(learnt) == 3 * (len(split.train) // 8)
    assert all(torch.equal(taught, shown) for taught, shown in zip(seen, learnt, strict=True))
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


def test_the_conversions_settings_may_change_after_the_training(
    student: Path, teacher: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # They decide nothing before the conversion, so the finished run is still this run.
    other = write_tiny_recipe(tmp_path / "other.toml", ("[distill]", "[convert]\ncoverage = 0.8\n\n[distill]"))
    before = weights_hash(student)
    arguments = ["train", "distill", phantoms, "--recipe", other, "--teacher", teacher, "--out", student]
    assert main([str(a) for a in arguments]) == 0
    assert "finished already" in capsys.readouterr().out
    assert weights_hash(student) == before


def test_a_teacher_of_half_precision_teaches(phantoms: Path, tmp_path: Path) -> None:
    recipe = write_tiny_recipe(
        tmp_path / "half.toml", ("lr = 1e-3,", 'lr = 1e-3, precision = "bf16-mixed",'), ("epochs = 3", "epochs = 1")
    )
    common = ["train", "distill", phantoms, "--recipe", recipe, "--out", tmp_path / "student", "--teacher"]
    assert main(["train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(tmp_path / "teacher")]) == 0
    assert main([str(a) for a in (*common, tmp_path / "teacher")]) == 0
    weights = load_file(tmp_path / "student" / "model.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.float32, torch.int64}
    assert all(torch.isfinite(t).all() for t in weights.values())
    teacher = load_file(tmp_path / "teacher" / "model.safetensors")
    assert {t.dtype for t in teacher.values()} == {torch.float32, torch.int64}, "only the arithmetic is halved"
