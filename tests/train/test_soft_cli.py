"""Wrong calls of `busi-kd train soft-targets`: told in a sentence, before anything is trained."""

import shutil
from pathlib import Path

import pytest
from soft_caches import THREE, soft_targets
from tiny_recipe import write_tiny_recipe
from train_commands import refused

from device.main import main


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", *THREE)


def test_wrong_calls(phantoms: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = soft_targets(phantoms, tiny, tmp_path / "out")
    refused(capsys, [*call, "--test-folds", "3"], "test fold 3", "0..2")
    refused(capsys, [*call, "--groups", tmp_path / "none.csv"], "no such groups file")
    refused(capsys, [*call, "--exclude", tmp_path / "none.txt"], "check --exclude")
    leaky = write_tiny_recipe(tmp_path / "r.toml", *THREE, ("folds = 3", 'folds = 3\nprotocol = "random"'))
    refused(capsys, [*call, "--recipe", leaky], "'random'", "no teacher is honest")
    real = tmp_path / "real"
    shutil.copytree(phantoms, real)
    (real / "dataset.json").unlink()
    refused(capsys, [call[0], call[1], real, *call[3:]], str(real), "--groups")
    for wrong in (["--seeds", "a"], ["--test-folds=-1"], ["--check", "0"], ["--jobs", "0"], ["--jobs", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main([*call, *wrong])
        assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()


def test_not_under_torchrun(
    phantoms: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(capsys, soft_targets(phantoms, tiny, tmp_path / "out"), "use --jobs instead of torchrun")
