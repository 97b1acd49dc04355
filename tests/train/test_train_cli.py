"""`busi-kd train` with every bad input: status 2, one sentence that names file and remedy, nothing half-written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from small_busi import write_small_busi
from tiny_recipe import write_tiny_recipe

from device.main import main
from train.data.busi import CLASSES, read_dataset, write_picture
from train.data.splits import make_split
from train.networks.backbone import build
from train.recipe import NetworkRecipe, load_recipe
from train.runs import load_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_small_busi(tmp_path / "data", per_class=6)
    (folder / "dataset.json").write_text(json.dumps({"synthetic": True}))
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    return write_tiny_recipe(tmp_path / "tiny.toml", ("epochs = 3", "epochs = 1"))


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A call that must fail: `busi-kd train ... --out <out>`; checks status, sentence and that no --out is left."""

    def call(command: str, *arguments: object, parts: tuple[object, ...], out: Path | None = None) -> str:
        out = out or tmp_path / "out" / "run"
        capsys.readouterr()
        status = main(["train", command, *map(str, arguments), "--out", str(out)])
        said = capsys.readouterr().err
        assert status == 2
        assert said.startswith("busi-kd: ")
        assert said.endswith(".\n")
        assert len(said.splitlines()) == 1
        assert ". " not in said.removesuffix(".\n"), "one sentence"
        for part in parts:
            assert str(part) in said
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*")), "nothing half-written"
        return said

    return call


def test_a_missing_data_folder(fails, recipe: str, tmp_path: Path) -> None:
    for command in (("teacher",), ("distill", "--no-teacher")):
        fails(*command, tmp_path / "none", "--recipe", recipe, parts=(tmp_path / "none", "give the folder"))


@pytest.mark.parametrize("label", CLASSES)
def test_an_empty_or_missing_class_folder(fails, data: Path, recipe: str, label: str) -> None:
    for path in (data / label).iterdir():
        path.unlink()
    fails("teacher", data, "--recipe", recipe, parts=(data / label, "incomplete"))
    (data / label).rmdir()
    fails("teacher", data, "--recipe", recipe, parts=(data, repr(label)))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_an_undecodable_picture_of_any_part(fails, data: Path, recipe: str, part: str) -> None:
    # Also of the test part, which training itself never needs: found after it, the mended folder would be other data.
    picture = make_split(read_dataset(data), load_recipe(recipe).split, None).part(part)[0]
    picture.path.write_bytes(b"\x89PNG\r\n\x1a\n half a file")
    fails("teacher", data, "--recipe", recipe, parts=(picture.path, "replace or remove"))
    fails("distill", data, "--recipe", recipe, "--no-teacher", parts=(picture.path,))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_mask_of_another_size(fails, data: Path, recipe: str, part: str) -> None:
    pictures = make_split(read_dataset(data), load_recipe(recipe).split, None).part(part)
    mask = next(picture.masks[0] for picture in pictures if picture.masks)
    write_picture(mask, np.zeros((8, 9), np.uint8))
    fails("teacher", data, "--recipe", recipe, parts=(mask, "8 x 9", "40 x 60", "replace the mask"))


def test_an_orphan_mask(fails, data: Path, recipe: str) -> None:
    (data / "benign" / "benign (2).png").unlink()
    fails("teacher", data, "--recipe", recipe, parts=(data / "benign" / "benign (2)_mask.png", "restore"))


def test_too_few_pictures_for_the_folds_or_for_a_batch(fails, data: Path, tmp_path: Path) -> None:
    folds = write_tiny_recipe(tmp_path / "folds.toml", ("[distill]", "[split]\nfolds = 7\n\n[distill]"))
    fails("teacher", data, "--recipe", folds, parts=(data, "6 groups of class 'benign'", "lower split.folds"))
    batch = write_tiny_recipe(tmp_path / "batch.toml", ("batch = 8", "batch = 64"))
    fails("teacher", data, "--recipe", batch, parts=("one batch of 64", "lower"))


def test_a_wrong_recipe(fails, data: Path, tmp_path: Path) -> None:
    key = write_tiny_recipe(tmp_path / "key.toml", ("seed = 3", "sead = 3"))
    fails("teacher", data, "--recipe", key, parts=(key, "'sead' (did you mean 'seed'?)"))
    value = write_tiny_recipe(tmp_path / "value.toml", ("alpha = 0.5", "alpha = 5"))
    fails("teacher", data, "--recipe", value, parts=(value, "alpha"))
    network = write_tiny_recipe(tmp_path / "network.toml", ("mobilenetv3_small_050", "mobilenetv3_smal_050"))
    fails("distill", data, "--no-teacher", "--recipe", network, parts=("did you mean 'mobilenetv3_small_050'?",))
    size = write_tiny_recipe(tmp_path / "size.toml", ("width = 64", "width = 65"))
    fails("teacher", data, "--recipe", size, parts=("test_vit", "64 x 65", "preprocess"))
    fails("teacher", data, "--recipe", tmp_path / "none.toml", parts=(tmp_path / "none.toml", "check the path"))
    fails("teacher", data, "--recipe", "papr", parts=("'papr'", "did you mean 'paper'?"))
    tiny = write_tiny_recipe(tmp_path / "tiny.toml")
    fails("teacher", data, "--recipe", tiny, "--seed", -1, parts=("--seed", "-1"))


def test_a_wrong_groups_file(fails, data: Path, recipe: str, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    call = ("teacher", data, "--recipe", recipe, "--groups", groups)
    fails(*call, parts=(groups, "check --groups"))
    groups.write_text("picture,group\nbenign (1).png,1\n")
    fails(*call, parts=(groups, "image and group_id"))
    groups.write_text("image,group_id\nbenign (1).png,1\n")
    fails(*call, parts=(groups, "use the groups file of this data set"))


def test_a_wrong_weights_file(fails, data: Path, tmp_path: Path) -> None:
    named = write_tiny_recipe(tmp_path / "named.toml", ('050", weights = "random"', '050", weights = "w.safetensors"'))
    call = ("distill", data, "--no-teacher", "--recipe", named)
    fails(*call, parts=("'w.safetensors'", "--weights-dir"))
    weights = tmp_path / "weights"
    fails(*call, "--weights-dir", weights, parts=(weights / "w.safetensors", "check --weights-dir"))
    weights.mkdir()
    other = build(NetworkRecipe("test_resnet", "random"), (64, 64), None, 10).net
    save_file(other.state_dict(), weights / "w.safetensors")
    fails(*call, "--weights-dir", weights, parts=(weights / "w.safetensors", "not for 'mobilenetv3_small_050'"))
    whole = (weights / "w.safetensors").read_bytes()
    (weights / "w.safetensors").write_bytes(whole[: len(whole) // 2])
    fails(*call, "--weights-dir", weights, parts=(weights / "w.safetensors", "download it again"))


def test_a_wrong_teacher(fails, data: Path, recipe: str, tmp_path: Path) -> None:
    call = ("distill", data, "--recipe", recipe, "--teacher")
    fails(*call, tmp_path / "none", parts=(tmp_path / "none", "finished training"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "started.json").write_text("{}")
    fails(*call, tmp_path / "begun", parts=(tmp_path / "begun", "run the same command again"))


def test_an_out_that_is_a_file(fails, data: Path, recipe: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    fails("teacher", data, "--recipe", recipe, parts=(tmp_path / "file", "another --out"), out=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_after_each_mistake_is_mended_the_same_out_is_free(fails, data: Path, recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "out" / "run"
    broken = data / "normal" / "normal (4).png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:30])
    call = ("distill", data, "--no-teacher", "--recipe")
    fails(*call, recipe, parts=(broken,))
    broken.write_bytes(whole)
    fails(*call, write_tiny_recipe(tmp_path / "batch.toml", ("batch = 8", "batch = 64")), parts=("batch",))
    fails(*call, write_tiny_recipe(tmp_path / "net.toml", ("mobilenetv3_small_050", "nonet")), parts=("nonet",))
    assert main(["train", *map(str, call), recipe, "--out", str(out)]) == 0
    assert load_run(out, "student").meta.recipe == load_recipe(recipe)


def test_a_claim_cut_short_does_not_block_the_folder(data: Path, recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".started.json.x1y2").write_text('{"kind": "stu')
    assert main(["train", "distill", str(data), "--no-teacher", "--recipe", recipe, "--out", str(out)]) == 0


def test_a_real_process_says_it_without_a_traceback(data: Path, recipe: str, tmp_path: Path) -> None:
    (data / "benign" / "benign (1).png").write_bytes(b"")
    command = [sys.executable, "-m", "device.main", "train", "teacher", str(data), "--recipe", recipe]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == f"busi-kd: {data / 'benign' / 'benign (1).png'}: this picture does not decode; " + (
        "replace or remove it.\n"
    )
    assert not (tmp_path / "run").exists()


def test_patients_pictures_need_groups_or_a_word(
    fails, data: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "dataset.json").unlink()
    call = ("distill", data, "--no-teacher", "--recipe", recipe)
    fails(*call, parts=(data, "busi-kd train audit", "--no-groups"))
    assert main(["train", *map(str, call), "--no-groups", "--out", str(tmp_path / "run")]) == 0
    assert "Near-copies were not looked for" in capsys.readouterr().err
    assert load_run(tmp_path / "run").meta.split["crossing"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["teacher"],
        ["teacher", "data"],
        ["distill", "data", "--out", "run"],  # neither --teacher nor --no-teacher
        ["distill", "data", "--out", "run", "--teacher", "t", "--no-teacher"],
        ["evaluate", "run"],
        ["evaluate", "run", "--data", "data", "--part", "none"],
        ["phantoms", "new", "--size", "96"],
        ["phantoms", "new", "--size", "axb"],
        ["nonsense"],
        [],
    ],
)
def test_a_wrong_command_line_is_status_two(arguments: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments])
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())


def _phantoms(folder: Path, *arguments: object) -> int:
    return main(["train", "phantoms", str(folder), "--per-class", "3", "--size", "64x80", *map(str, arguments)])


def test_phantoms_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert _phantoms(tmp_path / name, "--seed", seed) == 0
    one, same, other = (read_dataset(tmp_path / name) for name in "abc")
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.synthetic
    assert one.counts() == dict.fromkeys(CLASSES, 3)
    assert all(len(picture.masks) == 1 for picture in one.pictures)
    assert len({picture.path.read_bytes() for picture in one.pictures}) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}, "nothing is left beside them"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--per-class", 0], "--per-class"), (["--seed", -1], "--seed"), (["--size", "8x8"], "8x8")],
)
def test_wrong_phantoms_leave_nothing(
    tmp_path: Path, arguments: list, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _phantoms(tmp_path / "new", *arguments) == 2
    said = capsys.readouterr().err
    assert named in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_phantoms_never_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert _phantoms(tmp_path / "mine") == 2
    assert str(tmp_path / "mine") in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_is_copied_as_it_is_without_masks(data: Path, recipe: str, tmp_path: Path, part: str) -> None:
    out = tmp_path / "new" / "part"
    call = ["train", "part", str(data), "--recipe", recipe, "--part", part, "--out", str(out)]
    assert main(call) == 0
    wanted = make_split(read_dataset(data), load_recipe(recipe).split, None).part(part)
    copied = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    assert json.loads(copied.pop("part.json"))["part"] == part
    assert copied == {f"{picture.label}/{picture.name}": picture.path.read_bytes() for picture in wanted}
    assert [path.name for path in out.parent.iterdir()] == ["part"], "nothing is left beside it"


def test_a_part_never_overwrites_and_is_copied_whole_or_not_at_all(
    fails, data: Path, recipe: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    fails("part", data, "--recipe", recipe, parts=(mine, "another folder"), out=mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    picture = make_split(read_dataset(data), load_recipe(recipe).split, None).test[-1].path
    read_before = read_dataset

    def vanishes(folder: Path):
        found = read_before(folder)
        picture.unlink()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.data.busi.read_dataset", vanishes)
        fails("part", data, "--recipe", recipe, parts=(picture, "cannot be copied"))
