"""Recipes: the shipped ones, the paper's numbers, and every way a file can be wrong."""

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from device import schema
from device.errors import UserError
from device.preprocess import Preprocess
from train.recipe import Fit, NetworkRecipe, Recipe, load_recipe, shipped


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def refusal(folder: Path, text: str) -> str:
    """The one sentence with which this recipe is refused; it must name the file."""
    path = written(folder, text)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_the_shipped_recipes_are_the_documented_ones() -> None:
    assert {"demo", "offline", "paper"} <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert schema.load(Recipe, schema.dump(recipe), "again") == recipe


def test_the_paper_recipe_has_the_papers_numbers() -> None:
    paper = load_recipe("paper")
    assert (paper.distill.alpha, paper.distill.temperature) == (0.5, 4.0)
    for fit in (paper.teacher.fit, paper.student.fit):
        assert (fit.lr, fit.weight_decay, fit.epochs, fit.batch) == (1e-4, 0.01, 15, 16)
        assert (fit.schedule, fit.warmup_epochs, fit.class_weights, fit.precision) == ("constant", 0, "none", "32-true")
    assert [b.name for b in paper.teacher.backbones] == ["vit_base_patch16_224", "convnext_tiny"]
    assert (paper.teacher.dropout, paper.teacher.hidden) == (0.4, (768, 256))
    assert paper.student.network.name == "mobilenetv3_small_100"
    assert {n.weights for n in (*paper.teacher.backbones, paper.student.network)} == {"pretrained"}
    assert paper.preprocess == Preprocess(224, 224)


def test_the_paper_recipe_and_the_defaults_agree() -> None:
    assert load_recipe("paper") == Recipe("paper")


def test_a_seed_replaces_only_the_recipes_seed() -> None:
    recipe = load_recipe("demo")
    other = load_recipe("demo", seed=7)
    assert other.seed == 7
    assert schema.dump(other) | {"seed": recipe.seed} == schema.dump(recipe)
    assert load_recipe("demo", seed=recipe.seed) == recipe


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_no_generator_takes_is_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UserError, match=f"seed.*{seed}"):
        load_recipe("demo", seed=seed)
    assert str(seed) in refusal(tmp_path, f'name = "x"\nseed = {seed}\n')
    assert "split.seed" in refusal(tmp_path, f'name = "x"\n[split]\nseed = {seed}\n')


def test_values_left_out_are_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, 'name = "x"\n')) == Recipe("x")
    changed = load_recipe(written(tmp_path, 'name = "x"\n[student]\nfit = { lr = 1, epochs = 2 }\n'))
    assert changed.student.fit == Fit(epochs=2, lr=1.0)
    assert type(changed.student.fit.lr) is float
    assert changed.teacher == Recipe("x").teacher


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        load_recipe("demo").seed = 1


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("sead = 1", "sead", "seed"),
        ("[destill]\nalpha = 0.5", "destill", "distill"),
        ("[distill]\nalhpa = 0.5", "distill.alhpa", "alpha"),
        ("[student]\nfit = { learning_rates = 1.0, epoch = 3 }", "student.fit.epoch", "epochs"),
        ('[teacher]\nbackbones = [{ name = "a", weight = "random" }]', "teacher.backbones[0].weight", "weights"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, text: str, key: str, meant: str) -> None:
    if "learning_rates" in text:  # two unknown keys: the first one is told
        assert "student.fit.learning_rates" in refusal(tmp_path, f'name = "x"\n{text}\n')
        text = text.replace("learning_rates = 1.0, ", "")
    said = refusal(tmp_path, f'name = "x"\n{text}\n')
    assert f"unknown key '{key}' (did you mean '{meant}'?)" in said


def test_an_unknown_key_unlike_any_other_gets_no_false_hint(tmp_path: Path) -> None:
    said = refusal(tmp_path, 'name = "x"\nzzzzzz = 1\n')
    assert "'zzzzzz'" in said
    assert "did you mean" not in said


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("seed = 1.5", "seed", "a whole number"),
        ("seed = true", "seed", "a whole number"),
        ('[distill]\nalpha = "half"', "distill.alpha", "a number"),
        ("[distill]\nalpha = nan", "distill.alpha", "a finite number"),
        ("[student]\nfit = { lr = inf }", "student.fit.lr", "a finite number"),
        ("[student]\nfit = 3", "student.fit", "a table"),
        ("[student]\nnetwork = { name = 4 }", "student.network.name", "a text"),
        ("[teacher]\nhidden = 64", "teacher.hidden", "a list"),
        ("[teacher]\nhidden = [64, 3.5]", "teacher.hidden[1]", "a whole number"),
        ("[convert]\nrelu_activations = 1", "convert.relu_activations", "true or false"),
        ('[student]\nfit = { schedule = "linear" }', "student.fit.schedule", "'constant', 'cosine'"),
        ('[split]\nprotocol = "randon"', "split.protocol", "'grouped'"),
        ("teacher = []", "teacher", "a table"),
    ],
)
def test_a_wrong_type_is_named(tmp_path: Path, text: str, key: str, wanted: str) -> None:
    said = refusal(tmp_path, f'name = "x"\n{text}\n')
    assert f"'{key}'" in said
    assert wanted in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[distill]\nalpha = 1.5", "alpha"),
        ("[distill]\nalpha = -0.1", "alpha"),
        ("[distill]\ntemperature = 0", "temperature"),
        ("[student]\nfit = { epochs = 0 }", "epochs"),
        ("[student]\nfit = { batch = 1 }", "batch"),
        ("[student]\nfit = { lr = 0 }", "lr"),
        ("[student]\nfit = { weight_decay = -1 }", "weight_decay"),
        ("[student]\nfit = { warmup_epochs = -1 }", "warmup_epochs"),
        ("[teacher]\ndropout = 1", "teacher.dropout"),
        ("[teacher]\nbackbones = []", "teacher.backbones"),
        ("[teacher]\nhidden = [64, 0]", "teacher.hidden"),
        ('[student]\nnetwork = { name = "a", std = 0 }', "std"),
        ("[split]\nfolds = 2", "split.folds"),
        ("[split]\ntest_fold = 5", "split.test_fold"),
        ("[split]\nval_fold = -1", "split.val_fold"),
        ("[split]\ntest_fold = 1", "split.val_fold"),
        ("[augment]\nflip = 1.1", "augment.flip"),
        ("[augment]\nrotate = -5", "augment.rotate"),
        ("[augment]\noffset = 200", "augment.offset"),
        ("[preprocess]\nheight = 8", "8 x 224"),
        ("[preprocess]\nfill = 256", "fill"),
        (
            'distill = { wrong = "drop" }\nstudent = { network = { name = "a" }, fit = { mixup = 0.2 } }',
            "distill.wrong",
        ),
        ("[convert]\nvariants = []", "convert.variants"),
        ('[convert]\nvariants = ["float32", "float32"]', "convert.variants"),
        ("[convert]\ntarget_sensitivity = 0", "convert.target_sensitivity"),
        ("[convert]\ncoverage = 1.01", "convert.coverage"),
        ("[convert]\ncalibration_pictures = 19", "convert.calibration_pictures"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    assert named in refusal(tmp_path, f'name = "x"\n{text}\n')


@pytest.mark.parametrize("text", ["[distill]\nalpha = 0", "[distill]\nalpha = 1", "[split]\nfolds = 3"])
def test_the_limits_themselves_are_allowed(tmp_path: Path, text: str) -> None:
    load_recipe(written(tmp_path, f'name = "x"\n{text}\n'))


def test_a_missing_name_is_named(tmp_path: Path) -> None:
    assert "'name' is missing" in refusal(tmp_path, "seed = 1\n")
    with pytest.raises(UserError, match=r"'student\.network\.name' is missing"):
        load_recipe(written(tmp_path, 'name = "x"\n[student]\nnetwork = { weights = "random" }\n'))


@pytest.mark.parametrize("text", ['name = "x"\nname = "y"\n', "name = x\n", "{ }", "[a\n"])
def test_what_is_no_toml_is_named(tmp_path: Path, text: str) -> None:
    assert "not readable as TOML" in refusal(tmp_path, text)


def test_a_binary_file_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: not readable as TOML"):
        load_recipe(str(path))


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    for name in ("none.toml", "folder.toml"):
        with pytest.raises(UserError, match=re.escape(f"{tmp_path / name}: no such recipe file")):
            load_recipe(str(tmp_path / name))


def test_an_unknown_shipped_name_gets_a_hint_and_the_list() -> None:
    with pytest.raises(UserError, match=r"'papr' \(did you mean 'paper'\?\).*demo.*offline.*paper"):
        load_recipe("papr")


def test_weights_default_to_the_hub() -> None:
    assert NetworkRecipe("resnet10t").weights == "pretrained"
