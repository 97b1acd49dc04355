"""Recipes: TOML files read into frozen dataclasses; an unknown key is an error that names the nearest known one."""

import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from device import schema
from device.errors import UserError, nearest
from device.preprocess import Preprocess
from train.recipe.augment import Augment
from train.recipe.convert import ConvertRecipe
from train.recipe.distill import Distill, FeaturePair
from train.recipe.fit import Fit
from train.recipe.networks import MaskRecipe, NetworkRecipe, StudentRecipe, TeacherRecipe, WarmUp
from train.recipe.split import SplitRecipe, check_seed

__all__ = [
    "Augment",
    "ConvertRecipe",
    "Distill",
    "FeaturePair",
    "Fit",
    "MaskRecipe",
    "NetworkRecipe",
    "Recipe",
    "SplitRecipe",
    "StudentRecipe",
    "TeacherRecipe",
    "WarmUp",
    "check_seed",
    "load_recipe",
    "shipped",
    "without_student",
]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a result besides the data."""

    name: str
    seed: int = 0
    preprocess: Preprocess = field(default_factory=Preprocess)
    split: SplitRecipe = field(default_factory=SplitRecipe)
    augment: Augment = field(default_factory=Augment)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    distill: Distill = field(default_factory=Distill)
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        if self.distill.wrong != "keep" and self.student.fit.mixup:
            raise ValueError("distill.wrong compares an answer with one label; with student.fit.mixup, leave it away.")


def shipped() -> list[str]:
    """Names of the recipes that come with busi-kd."""
    files = resources.files("train.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file. what: kind of file, for the sentence. Raises UserError: no such file, or no TOML."""
    if not path.is_file():
        raise UserError(f"{path}: no such {what} file; check the path.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as TOML ({error}).") from error


def load_recipe(name: str, seed: int | None = None) -> Recipe:
    """Read a recipe: the name of a shipped one, or the path of a .toml file. `seed` replaces the recipe's.

    Raises UserError when there is none of that name, when it is no TOML, or when a key or value is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in shipped():
            raise UserError(
                f"no recipe {name!r}{nearest(name, shipped())}; there are {', '.join(shipped())}, or a .toml file."
            )
        path = Path(str(resources.files("train.recipes") / f"{name}.toml"))
    recipe = schema.load(Recipe, read_toml(path, "recipe"), path)
    try:
        return recipe if seed is None else replace(recipe, seed=seed)
    except ValueError as error:
        raise UserError(f"--{error}") from error


def without_student(recipe: Recipe) -> Recipe:
    """The recipe with what decides the student alone at its defaults: recipes that differ there share a teacher."""
    return replace(recipe, student=StudentRecipe(), distill=Distill(), convert=ConvertRecipe())
