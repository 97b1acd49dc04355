"""The models that ship with busi-kd: the real ones, whatever lies in device/models, and how commands come to them."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import device
from device import RESEARCH_NOTICE, run, shipped, trust
from device.bundle import Bundle, load_bundle, sign_bundle
from device.decide import ABSTAIN, decide
from device.errors import UserError
from device.main import main
from device.phantom_clip import PhantomClip
from device.preprocess import prepare
from device.runtime import open_bundle

MAX_BYTES = 4_000_000  # of a bundle: it lies in git and travels in the wheel
DEVICE = Path(device.__file__).parent
COMMANDS = (["models"], ["show"], ["bench", "--runs", "2", "--rounds", "1"], ["run", "--duration", "0.3"])


# --- the real ones


@pytest.fixture(scope="module")
def models() -> list[Bundle]:
    """Each shipped bundle with every check the daemon makes, signature included; none at all is a failure."""
    folders = shipped.shipped()
    assert folders, f"{shipped.FOLDER} holds no model bundle: put the one that ships there"
    return [load_bundle(folder, [trust.SHIPPED_KEYS]) for folder in folders]


def test_what_ships_is_a_small_bundle_of_a_patients_model_named_as_its_folder(models: list[Bundle]) -> None:
    for model in models:
        files = {path.name: path.stat().st_size for path in model.folder.iterdir()}
        assert set(files) == {"model.tflite", "bundle.json", "bundle.sig"}
        assert model.signed_by == "busi-release.pub"
        assert sum(files.values()) < MAX_BYTES
        assert model.meta.name == model.folder.name
        assert model.meta.variant == "int8-full"
        assert not model.meta.synthetic
        assert model.meta.intended_use == RESEARCH_NOTICE
        assert model.meta.cautions == ()  # no leaky split, no unknown copies, no lesion crops


def test_the_default_says_where_the_lesion_is(models: list[Bundle]) -> None:
    default = load_bundle(shipped.default_bundle(), [trust.SHIPPED_KEYS])
    assert default.meta.name == shipped.DEFAULT
    assert default.meta.mask.dice.low > 0.5
    assert default.meta.mask.agreement.value >= 0.97
    assert [model.meta.mask is None for model in models] == [model.meta.name != shipped.DEFAULT for model in models]


def test_its_figures_have_intervals_and_beat_chance(models: list[Bundle]) -> None:
    for model in models:
        for name in ("accuracy", "balanced_accuracy", "auc_benign_malignant"):
            figure = model.meta.metrics[name]
            assert 0 <= figure.low < figure.value < figure.high <= 1, name
        assert model.meta.metrics["balanced_accuracy"].low > 1 / len(model.meta.classes)
        assert model.meta.metrics["auc_benign_malignant"].low > 0.5
        assert model.meta.parity["top1_agreement"] >= 0.9
        assert model.meta.training.split["pictures"]["test"] > 0


def test_its_input_is_the_cameras_luma_and_it_answers_a_phantom_frame(models: list[Bundle]) -> None:
    frame = PhantomClip().frame(0).image  # always the same: see test_phantom.py
    for bundle in models:
        model = open_bundle(bundle)
        assert model.input.dtype in ("uint8", "int8")  # no floats on the hot path
        assert model.input.scale == 1.0
        luma = prepare(frame, bundle.meta.preprocess)
        logits = model.logits(luma)
        assert logits.shape == (len(bundle.meta.classes),)
        assert np.isfinite(logits).all()
        assert np.array_equal(logits, model.logits(luma))
        assert not np.array_equal(logits, model.logits(np.zeros_like(luma)))  # it looks at the picture
        assert decide(logits, bundle.meta).label in (*bundle.meta.classes, ABSTAIN)


def test_the_package_takes_them_along(models: list[Bundle]) -> None:
    import tomllib

    package_data = tomllib.loads((DEVICE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    taken = [path for pattern in package_data["device"] for path in DEVICE.glob(pattern)]
    for model in models:
        assert {model.model_path, model.folder / "bundle.sig", trust.SHIPPED_KEYS / model.signed_by} <= set(taken)


def test_no_private_key_lies_beside_the_public_ones() -> None:
    for path in trust.SHIPPED_KEYS.iterdir():
        assert path.suffix == ".pub"
        assert "PRIVATE" not in path.read_text()


# --- how commands come to them


@pytest.fixture
def stand_ins(bundle_dir: Path, trusted_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models that ship: `b`, and `a` with figures of patients' pictures; the key of both ships, too."""
    folder = tmp_path / "models"
    shutil.copytree(bundle_dir / "int8-full", folder / "b")
    shutil.copytree(bundle_dir / "int8-full", folder / "a")
    monkeypatch.setattr(trust, "SHIPPED_KEYS", trusted_keys)
    rewrite(
        folder / "a",
        name="a",
        synthetic=False,
        metrics={"balanced_accuracy": {"value": 0.7806, "low": 0.70149, "high": 0.85}},
    )
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


def rewrite(folder: Path, **keys: object) -> None:
    """Replace keys of a bundle.json; of `training`, only those given. Signed anew with the key that is trusted."""
    data = json.loads((folder / "bundle.json").read_text())
    keys["training"] = data["training"] | keys.get("training", {})
    (folder / "bundle.json").write_text(json.dumps(data | keys))
    sign_bundle(folder, trust.SHIPPED_KEYS / "maker")


def copy_of_device(folder: Path, bundle: Path | None, keys: Path) -> Path:
    """A source tree of the device floor alone, with one model that ships or none, and its key; returns it."""
    ignored = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(DEVICE, folder / "device", ignore=ignored)
    shutil.copy(keys / "maker.pub", folder / "device" / "keys")
    if bundle is not None:
        shutil.copytree(bundle, folder / "device" / "models" / "only")
    return folder


def busi_kd(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "device.main", "device", *arguments]  # -m: the device of the working folder
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)


def test_without_the_one_that_outlines_the_default_is_the_first_by_name(stand_ins: Path) -> None:
    (stand_ins / ".aside").mkdir()  # hidden folders are none
    (stand_ins / "README").write_text("no folder")
    assert shipped.shipped() == [stand_ins / "a", stand_ins / "b"]
    assert shipped.default_bundle() == stand_ins / "a"
    shutil.copytree(stand_ins / "b", stand_ins / shipped.DEFAULT)
    assert shipped.default_bundle() == stand_ins / shipped.DEFAULT


@pytest.mark.parametrize("there", [True, False])
def test_no_model_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")
    if there:
        (tmp_path / "models").mkdir()
    assert shipped.shipped() == []
    with pytest.raises(UserError, match=r"no model ships with this copy of busi-kd; give a bundle folder .*--bundle"):
        shipped.default_bundle()


def test_models_prints_a_line_each(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(stand_ins / "a", training={"split": {"leaks": True, "protocol": "paper", "pictures": {"test": 41}}})
    assert main(["device", "models"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    size = f"{(stand_ins / 'a' / 'model.tflite').stat().st_size / 1000:.0f} kB"
    assert first.startswith(
        f"a: int8-full, {size}, trained on none, balanced accuracy 78.1 % [70.1, 85.0] on 41 test pictures. LEAKY SPLIT"
    )
    assert first.endswith(f" {RESEARCH_NOTICE}")
    assert second == (
        f"tiny: int8-full, {size}, trained on none (synthetic), balanced accuracy unknown. {RESEARCH_NOTICE}"
    )


def test_an_interval_that_is_not_known_is_not_made_up(stand_ins: Path) -> None:
    rewrite(stand_ins / "a", metrics={"balanced_accuracy": {"value": 0.5}})
    assert "balanced accuracy 50.0 % [interval unknown]. " in shipped.describe(load_bundle(stand_ins / "a"))


def test_a_damaged_model_is_refused(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stand_ins / "b" / "model.tflite").write_bytes(b"altered")
    assert main(["device", "models"]) == 2
    assert "b/model.tflite: wrong hash" in capsys.readouterr().err


def test_a_bundle_that_is_given_goes_before_the_shipped_one(
    stand_ins: Path, bundle_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, variant in (([], "int8-full"), ([str(bundle_dir / "float16")], "float16")):
        assert main(["device", "show", *given]) == 0
        assert json.loads(capsys.readouterr().out)["variant"] == variant
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert parser.parse_args([]).bundle is None
    assert main(["device", "run", "--bundle", str(stand_ins / "absent")]) == 2
    assert "absent: no such folder" in capsys.readouterr().err


def test_each_command_takes_the_shipped_model(bundle_dir: Path, trusted_keys: Path, tmp_path: Path) -> None:
    tree = copy_of_device(tmp_path, bundle_dir / "int8-full", trusted_keys)
    told = load_bundle(bundle_dir / "int8-full").id
    for command in COMMANDS:
        done = busi_kd(tree, *command)
        assert done.returncode == 0, done.stderr
        assert RESEARCH_NOTICE in done.stdout
        assert (told if command != ["models"] else "tiny: int8-full, ") in done.stdout
    script = [sys.executable, tree / "device" / "bench.py", *COMMANDS[2][1:]]
    done = subprocess.run(script, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, told in done.stdout) == (0, True), done.stderr


def test_without_a_model_each_command_says_so_and_ends_with_status_2(
    bundle_dir: Path, trusted_keys: Path, tmp_path: Path
) -> None:
    tree = copy_of_device(tmp_path, None, trusted_keys)
    sentence = (
        f"busi-kd: {tree}/device/models: no model ships with this copy of busi-kd; give a bundle folder "
        "(`device run` takes it as --bundle DIR).\n"
    )
    for command in COMMANDS:
        done = busi_kd(tree, *command)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    assert busi_kd(tree, "show", str(bundle_dir / "int8-full")).returncode == 0


def test_finding_the_model_needs_neither_opencv_nor_the_interpreter() -> None:
    code = "import sys, device.shipped as s; s.shipped(); print({'cv2', 'numpy', 'device.bundle'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=DEVICE.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
