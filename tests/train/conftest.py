"""A teacher and a student, trained once for all tests of this folder; tests must not change them."""

from pathlib import Path

import pytest
from tiny_recipe import write_tiny_recipe

from device.main import main


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml")


@pytest.fixture(scope="session")
def teacher(phantoms: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "teacher"
    assert main(["train", "teacher", str(phantoms), "--recipe", recipe, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def student(phantoms: Path, recipe: str, teacher: Path) -> Path:
    out = teacher.parent / "student"
    arguments = ["train", "distill", phantoms, "--recipe", recipe, "--teacher", teacher, "--out", out]
    assert main([str(a) for a in arguments]) == 0
    return out
