"""Cross-fitted teachers and their answers end to end on phantoms, as a user makes them: slow tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.metrics import accuracy_score, roc_auc_score
from soft_caches import THREE, soft_targets, student_split
from tiny_recipe import write_tiny_recipe
from train_commands import refused, weights_hash

from device import RESEARCH_NOTICE
from device.errors import UserError
from device.main import main
from train.data.busi import CLASSES, DataSet, load_lumas, read_dataset
from train.data.torch_data import Answers, LumaSet, targets_of
from train.fit import predict
from train.recipe import Recipe, load_recipe
from train.runs import load_run
from train.soft import answers
from train.soft.cache import Cache, read_cache, write_cache
from train.soft.targets import out_of_fold, read_soft_targets
from train.training import distill

pytestmark = pytest.mark.slow
STEMS = ("0-1-tiny-3", "0-2-tiny-3", "1-2-tiny-3")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # the same sums in every process


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "device.main", *soft_targets(*words)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", *THREE)


@pytest.fixture(scope="module")
def recipe(tiny: str) -> Recipe:
    return load_recipe(tiny)


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


@pytest.fixture(scope="module")
def made(phantoms: Path, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole cross-fitting over three folds, and what the command said."""
    out = tmp_path_factory.mktemp("soft") / "out"
    done = subprocess.run(
        command(phantoms, tiny, out), env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=500
    )
    return out, done.stdout


def figures(said: str) -> list[str]:
    """The lines with figures; Lightning's progress stands between them."""
    return [line for line in said.splitlines() if line.startswith(("folds ", "|"))]


def cached(made: tuple[Path, str], data: DataSet) -> list[Cache]:
    return [read_cache(made[0] / "cache" / f"{stem}.safetensors", data) for stem in STEMS]


def test_one_teacher_and_one_cache_per_pair(made: tuple[Path, str], data: DataSet, recipe: Recipe) -> None:
    out, said = made
    assert sorted(p.stem for p in (out / "cache").iterdir()) == list(STEMS)
    assert sorted(p.name for p in (out / "teachers").iterdir()) == list(STEMS)
    assert said.count("\nfolds ") == 3
    assert RESEARCH_NOTICE in said.splitlines()[0]
    assert RESEARCH_NOTICE in said.splitlines()[-1]
    assert "SYNTHETIC" in said.splitlines()[-1]
    for cache, (j, k) in zip(cached(made, data), ((0, 1), (0, 2), (1, 2))):
        meta = load_run(out / "teachers" / cache.path.stem, "teacher").meta
        assert meta.validation["selected_epoch"] == 1, "the last"
        assert cache.meta.recipe == meta.recipe
        assert cache.meta.teacher_sha256 == meta.weights_sha256
        assert cache.meta.hardware == meta.hardware
        assert (cache.meta.views, cache.meta.data_fingerprint) == (3, data.fingerprint)
        unseen = student_split(data, recipe, j, k)
        assert set(cache.meta.names) == {p.name for p in unseen.test + unseen.val}
        assert cache.meta.trained == {p.name: p.name for p in unseen.train}
        # The teacher's own meta.json has the honest figures of its validation fold.
        rows = [cache.meta.names.index(p.name) for p in unseen.test]
        accuracy = accuracy_score(targets_of(unseen.test), cache.logits[rows, 0].argmax(1))
        assert meta.validation["val_accuracy"] == pytest.approx(accuracy)


def test_view_0_is_what_the_teacher_says_of_the_picture(made: tuple[Path, str], data: DataSet, recipe: Recipe) -> None:
    by_name = {p.name: p for p in data.pictures}
    for cache in cached(made, data):
        network = load_run(made[0] / "teachers" / cache.path.stem).network
        wanted = predict(network, load_lumas([by_name[n] for n in cache.meta.names], recipe.preprocess))
        np.testing.assert_allclose(cache.logits[:, 0], wanted, atol=1e-5)
        spread = np.abs(cache.logits - cache.logits[:, :1]).max(axis=(0, 2))
        assert min(spread[1:]) > 1e-3, "the other views are other pictures"


def test_the_figures_are_scikit_learns(made: tuple[Path, str], data: DataSet) -> None:
    said = made[1]
    label = {p.name: CLASSES.index(p.label) for p in data.pictures}
    whole = out_of_fold([made[0]], data, {p.name: p.name for p in data.pictures})
    rows = [(f"| {c.path.stem[:3]} | 3 |", c.logits[:, 0], c.meta.names) for c in cached(made, data)]
    for start, logits, names in [*rows, ("| all | mean |", whole.logits, whole.names)]:
        targets = np.array([label[name] for name in names])
        lesion = targets < 2
        accuracy = accuracy_score(targets, logits.argmax(1))
        area = roc_auc_score(targets[lesion], logits[lesion, 1] - logits[lesion, 0])
        row = next(line for line in said.splitlines() if line.startswith(start))
        assert row == f"{start} {len(names)} | {accuracy:.3f} | {accuracy:.3f} | {area:.3f} |"  # classes of one size
    assert "of the 2 teachers" in said


def test_the_student_sees_the_picture_that_was_answered(made: tuple[Path, str], data: DataSet, recipe: Recipe) -> None:
    split = student_split(data, recipe, 1, 0)  # trains on fold 2, so the teacher is 1-2
    soft = read_soft_targets([made[0]], data, split, recipe)
    network = load_run(made[0] / "teachers" / STEMS[2]).network
    names = tuple(p.name for p in split.train)
    shown = LumaSet(
        load_lumas(split.train, recipe.preprocess),
        targets_of(split.train),
        recipe.augment,
        answers=Answers(names, soft.logits, soft.seed, by_view=True),
    )
    for shown.epoch in range(3):
        items = [shown[i] for i in range(len(shown))]
        with torch.no_grad():
            now = network(torch.stack([item["luma"] for item in items])).log_softmax(1)
        np.testing.assert_allclose(now, torch.stack([item["soft"] for item in items]), atol=1e-4)


def test_a_student_learns_from_them(
    made: tuple[Path, str], data: DataSet, recipe: Recipe, phantoms: Path, tiny: str, tmp_path: Path
) -> None:
    split = student_split(data, recipe, 0, 1)
    soft = read_soft_targets([made[0]], data, split, recipe)
    run = distill(data, replace(recipe, split=split.recipe), split, None, None, tmp_path / "student", soft)
    assert run.meta.soft_targets_sha256 == soft.sha256
    assert run.meta.teacher_sha256 is None


def test_a_second_call_trains_nothing_and_needs_no_teacher(
    made: tuple[Path, str], phantoms: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0] / "cache", tmp_path / "cache")
    before = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (tmp_path / "cache").iterdir()}
    assert main(soft_targets(phantoms, tiny, tmp_path)) == 0
    assert figures(capsys.readouterr().out) == figures(made[1])
    assert {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (tmp_path / "cache").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
    assert main(soft_targets(phantoms, tiny, tmp_path, "--test-folds", "0")) == 0
    assert "2 pairs of 3 folds" in (said := capsys.readouterr().out)
    assert "1 to 2 teachers" in said


def test_what_lies_there_must_be_what_is_asked_for(
    made: tuple[Path, str], phantoms: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0] / "cache", tmp_path / "cache")
    call = soft_targets(phantoms, tiny, tmp_path)
    for name, change, part in (
        ("lr", ("lr = 1e-3", "lr = 2e-3"), "another recipe"),
        ("views", ("views = 3", "views = 4"), "holds 3 views"),
        ("flip", ("flip = 0.5", "flip = 0.4"), "another recipe"),
    ):
        other = write_tiny_recipe(tmp_path / f"{name}.toml", *THREE, change)
        refused(capsys, [*call, "--recipe", other], str(tmp_path / "cache" / STEMS[0]), part)
        if name == "flip":
            refused(capsys, [*call, "--views-of", other], "its augment is")
    left_out = tmp_path / "left.txt"
    left_out.write_text("benign (1).png\n")
    refused(capsys, [*call, "--exclude", left_out], "another --exclude")
    path = tmp_path / "cache" / f"{STEMS[1]}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(capsys, call, str(path), "remove it and make it again")
    assert not (tmp_path / "teachers").exists(), "told before anything is trained"


def test_the_student_plays_no_part_in_a_teacher(
    made: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made[0], out)
    shutil.rmtree(out / "cache")
    other = write_tiny_recipe(tmp_path / "o.toml", *THREE, ("alpha = 0.5", "alpha = 0.1"), ("lr = 2e-3", "lr = 1e-3"))
    assert main(soft_targets(phantoms, other, out)) == 0
    assert capsys.readouterr().out.count("finished already") == 3
    for stem in STEMS:
        mine, theirs = (load_file(folder / "cache" / f"{stem}.safetensors") for folder in (out, made[0]))
        np.testing.assert_allclose(mine["logits"], theirs["logits"], atol=1e-5)


def test_check_asks_the_teachers_again(
    made: tuple[Path, str], phantoms: Path, data: DataSet, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made[0], out)
    call = soft_targets(phantoms, tiny, out, "--check", 30)
    assert main(call) == 0
    said = capsys.readouterr().out
    assert said.count("30 answers asked again") == 3
    assert RESEARCH_NOTICE in said
    # One answer of 144 is another: it is found when all are asked, by the picture's name.
    cache = read_cache(out / "cache" / f"{STEMS[1]}.safetensors", data)
    logits = cache.logits.copy()
    logits[17, 2, 0] += 0.01
    write_cache(cache.path, cache.meta, logits, cache.looks)
    refused(capsys, [*call[:-1], "200"], cache.path.name, f"view 2 of {cache.meta.names[17]!r}", "0.01")
    with_least = logits.copy()
    with_least[17, 2, 0] = cache.logits[17, 2, 0] + 1e-4
    write_cache(cache.path, cache.meta, with_least, cache.looks)
    assert main([*call[:-1], "200"]) == 0
    # Another teacher, none at all, and nothing to check.
    shutil.rmtree(out / "teachers" / STEMS[1])
    shutil.copytree(out / "teachers" / STEMS[0], out / "teachers" / STEMS[1])
    refused(capsys, call, f"was not answered by the teacher in {out / 'teachers' / STEMS[1]}")
    shutil.rmtree(out / "teachers" / STEMS[1])
    assert main(call) == 0
    assert f"{STEMS[1]}.safetensors: not checked" in capsys.readouterr().out
    shutil.rmtree(out / "teachers")
    refused(capsys, call, str(out), "teachers/")


def test_a_bfloat16_teacher_answers_in_bfloat16(
    made: tuple[Path, str], data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = load_run(made[0] / "teachers" / STEMS[0])
    fit = replace(run.meta.recipe.teacher.fit, precision="bf16-mixed")
    half = replace(run.meta.recipe, teacher=replace(run.meta.recipe.teacher, fit=fit))
    run = replace(run, meta=replace(run.meta, recipe=half))
    lumas = load_lumas(data.pictures[:40], recipe.preprocess)
    full = predict(run.network, lumas)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = run.network(torch.from_numpy(lumas[:32]).float()[:, None]).float().numpy()
    found = answers.answer(run, lumas)
    np.testing.assert_array_equal(found[:32], wanted)
    assert 1e-5 < np.abs(found - full).max() < answers.TOLERANCES["bf16-mixed"]
    cache = answers.fill_cache(tmp_path / "c.safetensors", run, data, recipe)
    assert cache.meta.recipe.teacher.fit.precision == "bf16-mixed"


def test_only_an_honest_teacher_fills_a_cache(
    made: tuple[Path, str], data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(made[0] / "teachers" / STEMS[0], tmp_path / "teacher")
    run = load_run(tmp_path / "teacher")
    chosen = replace(run, meta=replace(run.meta, recipe=recipe))  # select = "best"
    with pytest.raises(UserError, match="chose its epoch on the validation part"):
        answers.fill_cache(tmp_path / "c.safetensors", chosen, data, recipe)
    wider = replace(recipe, preprocess=replace(recipe.preprocess, width=96))
    with pytest.raises(UserError, match="another input size"):
        answers.fill_cache(tmp_path / "c.safetensors", run, data, wider)
    # The split of another pair beside it: its "unseen" pictures are those it was trained on.
    shutil.copy(made[0] / "teachers" / STEMS[2] / "split.json", tmp_path / "teacher" / "split.json")
    with pytest.raises(UserError, match="is not the split it was trained with"):
        answers.fill_cache(tmp_path / "c.safetensors", run, data, recipe)
    assert not (tmp_path / "c.safetensors").exists()


def test_a_killed_one_goes_on_to_the_same_answers(
    made: tuple[Path, str], phantoms: Path, tiny: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = command(phantoms, tiny, out)
    begun = out / "teachers" / STEMS[1] / "checkpoints" / "last.ckpt"  # the second teacher, after an epoch
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        while not begun.is_file():
            assert process.poll() is None, "it ended before it could be killed"
            try:
                process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGKILL)
    assert not (out / "cache" / f"{STEMS[2]}.safetensors").exists()
    first = out / "cache" / f"{STEMS[0]}.safetensors"
    before = (first.stat().st_ino, first.stat().st_mtime_ns)
    shutil.rmtree(out / "teachers" / STEMS[0])  # its answers are there
    done = subprocess.run(call, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=500)
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == before
    assert not (out / "teachers" / STEMS[0]).exists()
    assert figures(done.stdout) == figures(made[1])
    for stem in STEMS:
        mine, theirs = (folder / "cache" / f"{stem}.safetensors" for folder in (out, made[0]))
        assert mine.read_bytes() == theirs.read_bytes()


def test_an_ensemble_two_at_a_time(made: tuple[Path, str], phantoms: Path, data: DataSet, tiny: str) -> None:
    out = made[0].with_name("ensemble")
    shutil.copytree(made[0] / "cache", out / "cache")
    call = command(phantoms, tiny, out, "--seeds", "3,4", "--test-folds", "2", "--jobs", "2")
    said = subprocess.run(call, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=500).stdout
    assert sorted(p.name for p in (out / "teachers").iterdir()) == ["0-2-tiny-4", "1-2-tiny-4"]
    assert [line[:11] for line in said.splitlines() if line.startswith("| ")][1:] == [
        "| 0-2 | 3 |",
        "| 1-2 | 3 |",
        "| 0-2 | 4 |",
        "| 1-2 | 4 |",
        "| all | mea",
    ]
    recipe = load_recipe(tiny)
    split = student_split(data, recipe, 2, 0)
    soft = read_soft_targets([out], data, split, recipe)
    assert len(soft.sources) == 2
    assert "seed 3" in " ".join(soft.sources)
    assert "seed 4" in " ".join(soft.sources)
    assert json.dumps(soft.sources), "plain words"
    assert weights_hash(out / "teachers" / "0-2-tiny-4") != weights_hash(made[0] / "teachers" / "0-2-tiny-3")


def test_the_whole_file_is_what_safetensors_reads(made: tuple[Path, str], data: DataSet, tmp_path: Path) -> None:
    tensors = load_file(made[0] / "cache" / f"{STEMS[0]}.safetensors")
    assert {name: (t.shape, str(t.dtype)) for name, t in tensors.items()} == {
        "logits": ((48, 3, 3), "float32"),
        "looks": ((8, 3, 16), "float32"),
    }
    save_file(tensors, tmp_path / "plain.safetensors")  # without the header it is no cache
    with pytest.raises(UserError, match="version 1"):
        read_cache(tmp_path / "plain.safetensors", data)
