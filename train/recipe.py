"""Recipes: TOML files read into frozen dataclasses; an unknown key is an error that names the nearest known one."""

import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from device import schema
from device.errors import UserError, nearest
from device.preprocess import Preprocess


@dataclass(frozen=True)
class SplitRecipe:
    """How pictures are divided into a training, a validation and a test part; train/data/splits.py does it.

    `grouped`, the default: StratifiedGroupKFold over the groups of near-copies, groups with conflicting labels left
    out. Of `folds` folds, `test_fold` is the test part, `val_fold` the validation part, the rest is for training.

    The other two leak and are for comparison. `random`: the same without regard to groups. `paper`: each class
    oversampled to the biggest one's size, then 20 % test and 10 % validation at random; the folds play no part.
    """

    protocol: Literal["grouped", "random", "paper"] = "grouped"
    folds: int = 5
    test_fold: int = 0
    val_fold: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 3 <= self.folds <= 100:
            raise ValueError(f"split.folds must lie in 3..100 (train, validation, test), not {self.folds}.")
        for name in ("test_fold", "val_fold"):
            if not 0 <= getattr(self, name) < self.folds:
                raise ValueError(f"split.{name} must lie in 0..{self.folds - 1}, not {getattr(self, name)}.")
        if self.test_fold == self.val_fold:
            raise ValueError(f"split.test_fold and split.val_fold are both {self.test_fold}; they must differ.")
        check_seed("split.seed", self.seed)

    @property
    def leaks(self) -> bool:
        """Whether the protocol is named as one that lets copies of a picture stand on both sides."""
        return self.protocol != "grouped"


@dataclass(frozen=True)
class Augment:
    """Training-time changes of a picture, each drawn per picture and epoch. Never a vertical flip: skin is on top.

    flip: probability of a left-right mirror image. rotate: +- degrees. scale, shift: +- fraction of the size.
    gain: +- fraction of contrast; offset: +- luma levels.
    """

    flip: float = 0.5
    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    gain: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name, top in (
            ("flip", 1),
            ("rotate", 45),
            ("scale", 0.9),
            ("shift", 0.9),
            ("gain", 0.9),
            ("offset", 127),
        ):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"augment.{name} must lie in 0..{top}, not {getattr(self, name)}.")


@dataclass(frozen=True)
class NetworkRecipe:
    """One network and where its first weights come from.

    name: a timm model, or `resnetv2_50_stage3` (train/networks/trunks.py). weights: `random`, `pretrained` (timm's
    own, from the hub) or the name of a .safetensors file, looked up in --weights-dir. The network sees
    (luma / 255 - mean) / std, the same in each of its three input channels.
    """

    name: str
    weights: str = "pretrained"
    mean: float = 0.449
    std: float = 0.226

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ValueError(f"std of the network {self.name!r} must be above 0, not {self.std}.")


@dataclass(frozen=True)
class Fit:
    """One training run: AdamW, cross-entropy or distillation loss. precision is Lightning's setting."""

    epochs: int = 15
    batch: int = 16
    lr: float = 1e-4
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    select: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.lr <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0:
            raise ValueError(
                "a fit needs epochs >= 1, batch >= 2 (BatchNorm), lr > 0, weight_decay >= 0, warmup_epochs >= 0."
            )


@dataclass(frozen=True)
class TeacherRecipe:
    """Backbones side by side, their features concatenated, an MLP head with BatchNorm and Dropout."""

    backbones: tuple[NetworkRecipe, ...] = (
        NetworkRecipe("vit_base_patch16_224", mean=0.5, std=0.5),
        NetworkRecipe("convnext_tiny"),
    )
    hidden: tuple[int, ...] = (768, 256)
    dropout: float = 0.4
    fit: Fit = field(default_factory=Fit)

    def __post_init__(self) -> None:
        if not self.backbones:
            raise ValueError("teacher.backbones is empty; name at least one network.")
        if any(units < 1 for units in self.hidden):
            raise ValueError(f"teacher.hidden must hold widths of 1 or more, not {list(self.hidden)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"teacher.dropout must lie in 0..1, not {self.dropout}.")


@dataclass(frozen=True)
class Distill:
    """L = alpha * CE + (1 - alpha) * T^2 * KL(teacher || student); alpha = 1 trains without a teacher."""

    alpha: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or self.temperature <= 0:
            raise ValueError("distill needs alpha in 0..1 and temperature > 0.")


@dataclass(frozen=True)
class StudentRecipe:
    """The network that ships."""

    network: NetworkRecipe = field(default_factory=lambda: NetworkRecipe("mobilenetv3_small_100"))
    fit: Fit = field(default_factory=Fit)


@dataclass(frozen=True)
class ConvertRecipe:
    """Student -> bundle. relu_activations: hard-swish and hard-sigmoid written with relu6, which int8 XNNPACK takes.
    int8_ranges: activation ranges as observed by us, or by TensorFlow's calibrator, which errs (convert/ranges.py).

    The gates are on held-out pictures, variant against PyTorch: share of equal top classes (0..1), and for ONNX and
    float32 also the largest difference of a logit. target_sensitivity and coverage fix the operating point and the
    abstention limit on the validation part, for each file from its own outputs.
    """

    calibration_pictures: int = 200
    relu_activations: bool = True
    int8_ranges: Literal["observed", "tensorflow"] = "observed"
    float_agreement: float = 0.995
    int8_agreement: float = 0.95
    float32_logit_difference: float = 0.01
    target_sensitivity: float = 0.95
    coverage: float = 0.9

    def __post_init__(self) -> None:
        for name in ("float_agreement", "int8_agreement", "target_sensitivity", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"convert.{name} must lie above 0 and up to 1, not {getattr(self, name)}.")
        if self.calibration_pictures < 20:
            raise ValueError(f"convert.calibration_pictures must be 20 or more, not {self.calibration_pictures}.")


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


def check_seed(name: str, seed: int) -> None:
    """Raise ValueError outside 0..2^32 - 1, what every generator in use takes."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"{name} must lie in 0..{2**32 - 1}, not {seed}.")


def shipped() -> list[str]:
    """Names of the recipes that come with busi-kd."""
    files = resources.files("train.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


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
    if not path.is_file():
        raise UserError(f"{path}: no such recipe file; check the path.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as TOML ({error}).") from error
    recipe = schema.load(Recipe, data, path)
    try:
        return recipe if seed is None else replace(recipe, seed=seed)
    except ValueError as error:
        raise UserError(f"--{error}") from error
