"""The teacher and the student."""

from dataclasses import dataclass, field
from typing import Literal

from train.recipe.fit import Fit


@dataclass(frozen=True)
class NetworkRecipe:
    """One network and where its first weights come from.

    name: a timm model, `resnetv2_50_stage3` (train/networks/trunks.py), or a student that timm does not have
    (train/networks/students.py: `hand_cnn`, `mobilenetv3_small_035`). weights: `random`, `pretrained` (timm's
    own, from the hub) or the name of a .safetensors file, looked up in --weights-dir. The network sees
    (luma / 255 - mean) / std, the same in each of its three input channels; stem `luma` sums the first layer's weights
    over the three before the training, so that it learns as it will be deployed.

    activation: `own`, or another one in the place of the network's own (in a MobileNetV3: of hard-swish; what is ReLU
    stays). x * sigmoid(x) and ReLU cost an int8 interpreter two operators and none, hard-swish three.

    prune: this share of each layer's channels goes before the training, those with the smallest weights
    (train/networks/pruning.py).
    """

    name: str
    weights: str = "pretrained"
    mean: float = 0.449
    std: float = 0.226
    stem: Literal["rgb", "luma"] = "rgb"
    activation: Literal["own", "silu", "relu"] = "own"
    prune: float = 0.0

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ValueError(f"std of the network {self.name!r} must be above 0, not {self.std}.")
        if not 0 <= self.prune <= 0.9:
            raise ValueError(f"prune of the network {self.name!r} must lie in 0..0.9, not {self.prune}.")


@dataclass(frozen=True)
class MaskRecipe:
    """A segmentation head that trains beside the classifier and is dropped at export: where the lesion is.

    weight: of its loss, 0 for none. layers: the modules it looks at, by their paths in the network; the first gives the
    mask's grid. width: its channels.
    """

    weight: float = 0.0
    layers: tuple[str, ...] = ("blocks.1", "blocks.3", "blocks.5")
    width: int = 32

    def __post_init__(self) -> None:
        if self.weight < 0 or not self.layers or self.width < 1:
            raise ValueError("student.masks needs weight >= 0, one layer or more, and width >= 1.")


@dataclass(frozen=True)
class WarmUp:
    """Self-supervised warm-up before the training: Barlow Twins on pictures without their labels (train/warmup.py).

    epochs: 0 for none. width: of the projector. redundancy: the weight of the off-diagonal term.
    """

    epochs: int = 0
    batch: int = 64
    lr: float = 1e-3
    width: int = 256
    redundancy: float = 0.005

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 2 or self.lr <= 0 or self.width < 1 or self.redundancy < 0:
            raise ValueError("student.warmup needs epochs >= 0, batch >= 2, lr > 0, width >= 1 and redundancy >= 0.")


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
class StudentRecipe:
    """The network that ships.

    phantoms: so many synthetic pictures of each class join the training part. int8_epochs: so many of the last epochs
    feel the rounding of int8 (train/rounding.py). sparse: the share of the convolutions' weights that are zero at the
    end (train/sparse.py).
    """

    network: NetworkRecipe = field(default_factory=lambda: NetworkRecipe("mobilenetv3_small_100"))
    fit: Fit = field(default_factory=Fit)
    masks: MaskRecipe = field(default_factory=MaskRecipe)
    phantoms: int = 0
    int8_epochs: int = 0
    sparse: float = 0.0
    warmup: WarmUp = field(default_factory=WarmUp)

    def __post_init__(self) -> None:
        if not 0 <= self.phantoms <= 10_000:
            raise ValueError(f"student.phantoms must lie in 0..10000, not {self.phantoms}.")
        if not 0 <= self.sparse <= 0.99:
            raise ValueError(f"student.sparse must lie in 0..0.99, not {self.sparse}.")
        if not 0 <= self.int8_epochs <= self.fit.epochs:
            raise ValueError(
                f"student.int8_epochs must lie in 0..{self.fit.epochs}, the epochs of its fit, not {self.int8_epochs}."
            )
        late = "sparse" if self.sparse else "int8_epochs" if 0 < self.int8_epochs < self.fit.epochs else None
        if late and self.fit.select != "last":
            raise ValueError(
                f"student.{late} is complete in the last epochs alone, and select = {self.fit.select!r} may take an "
                'earlier one; set student.fit.select to "last".'
            )
