"""Everything that decides one segmentation training besides the data; study files (study.py) lay changes over it."""

from dataclasses import dataclass, field
from typing import Literal

from device.preprocess import Preprocess
from train.recipe import Augment, FeaturePair, Fit, NetworkRecipe, SplitRecipe, check_seed

NetworkName = Literal["unet", "unet++", "attention-unet", "lightbtseg-teacher", "simplified-unet", "two-heads"]
Hard = Literal["weight-balance", "ce", "dice", "ce-dice", "iou"]
Soft = Literal["kl", "l1", "mse"]
Label = Literal["benign", "malignant", "normal"]


@dataclass(frozen=True)
class SegNetwork:
    """The network that outlines.

    channels: width of each level from fine to coarse, of the U-Nets; () is the network's own. width: of the decoder of
    `two-heads`. backbone: of `lightbtseg-teacher` (networks/encoders.py says which) and `two-heads` (a timm
    MobileNetV3), None for their own; for the others its mean and std alone are used: (luma / 255 - mean) / std.
    transformer: of `two-heads`, a timm Vision Transformer beside the backbone, which makes it a teacher that is not
    converted (networks/hybrid.py).
    """

    name: NetworkName = "simplified-unet"
    channels: tuple[int, ...] = ()
    width: int = 64
    backbone: NetworkRecipe | None = None
    transformer: NetworkRecipe | None = None

    def __post_init__(self) -> None:
        if self.transformer is not None and self.name != "two-heads":
            raise ValueError(f"network.transformer is for 'two-heads', not for {self.name!r}; leave it away.")
        if any(width < 1 for width in self.channels) or self.width < 1:
            raise ValueError("network.channels and network.width must be 1 or more.")


@dataclass(frozen=True)
class SegFit(Fit):
    """How a segmentation network is trained; the defaults are LightBTSeg's (Adam 1e-3, weight decay 5e-4, batch 8, 20
    epochs, a plateau schedule), whose patience and factor the text does not give: patience and factor are a guess.

    plateau: the learning rate is multiplied by `factor` when the validation loss has not fallen for `patience` epochs.
    """

    epochs: int = 20
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "plateau"] = "plateau"
    optimizer: Literal["adam", "adamw"] = "adam"
    patience: int = 3
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience < 0 or not 0 < self.factor < 1:
            raise ValueError("fit.patience must be 0 or more, and fit.factor lie between 0 and 1.")
        if self.schedule == "plateau" and self.warmup_epochs:
            raise ValueError("fit.warmup_epochs belongs to the other schedules; leave it away with 'plateau'.")
        if self.mixup or self.smoothing or self.class_weights != "none":
            raise ValueError("fit.mixup, fit.smoothing and fit.class_weights are not for outlines; leave them away.")


@dataclass(frozen=True)
class TeacherTerm:
    """One teacher: the study's row that trained it, the weight of its loss, and how its outlines are followed.

    share: 0 for a teacher whose layers alone are followed. on: `all` pictures, or the `own` ones alone: those of the
    classes that the teacher itself was trained on.
    """

    row: str
    share: float = 0.5
    loss: Soft = "kl"
    on: Literal["all", "own"] = "all"

    def __post_init__(self) -> None:
        if self.share < 0:
            raise ValueError(f"share of the teacher {self.row!r} must be 0 or more, not {self.share}.")


@dataclass(frozen=True)
class ClassTask:
    """The class head of `two-heads`: weight * (alpha * CE + (1 - alpha) * T^2 * KL of cached answers).

    soft: folders of cached answers of the classifier's teachers (`busi-kd train soft-targets`), relative to the study
    file; without them labels alone. The rest as in train/recipe/distill.py.
    """

    weight: float = 1.0
    soft: tuple[str, ...] = ()
    alpha: float = 0.5
    temperature: float = 4.0
    views: int = 4
    view_seed: int = 0
    wrong: Literal["keep", "shift", "drop"] = "shift"

    def __post_init__(self) -> None:
        if self.weight <= 0 or not 0 <= self.alpha <= 1 or self.temperature <= 0 or self.views < 1:
            raise ValueError("classes needs weight > 0, alpha in 0..1, temperature > 0 and views >= 1.")


@dataclass(frozen=True)
class SegRecipe:
    """L = hard_share * hard loss + sum over teachers (share * soft loss) + features * L1(features) (+ classes).

    train_on: the classes whose pictures train and validate; a normal picture's outline is empty. outlines_of: those of
    them whose outlines are learnt, () for all: the others teach the class head alone. hard: see losses.py.
    features: weight of the intermediate layers' L1 (train/objectives/features.py); feature_teacher: the row whose
    layers are followed. classes: of `two-heads`, which needs all three classes. int8_epochs: so many of the last epochs
    feel the rounding of int8 (train/rounding.py), which only timm's layers know.
    """

    name: str = "segment"
    seed: int = 0
    preprocess: Preprocess = field(default_factory=lambda: Preprocess(512, 512))
    split: SplitRecipe = field(default_factory=SplitRecipe)
    augment: Augment = field(default_factory=Augment)
    network: SegNetwork = field(default_factory=SegNetwork)
    fit: SegFit = field(default_factory=SegFit)
    train_on: tuple[Label, ...] = ("benign", "malignant")
    outlines_of: tuple[Label, ...] = ()
    hard: Hard = "weight-balance"
    hard_share: float = 1.0
    teachers: tuple[TeacherTerm, ...] = ()
    features: float = 0.0
    feature_teacher: str | None = None
    feature_pairs: tuple[FeaturePair, ...] = ()
    classes: ClassTask | None = None
    int8_epochs: int = 0

    @property
    def outlined(self) -> tuple[str, ...]:
        """The classes whose outlines are learnt."""
        return self.outlines_of or self.train_on

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        if not self.train_on or len(set(self.train_on)) != len(self.train_on):
            raise ValueError(f"train_on {list(self.train_on)} must name one class or more, each once.")
        if set(self.train_on) == {"normal"}:
            raise ValueError("train_on holds normal alone, which has no lesion; add benign or malignant.")
        if not set(self.outlines_of) <= set(self.train_on) or set(self.outlines_of) == {"normal"}:
            raise ValueError(f"outlines_of {list(self.outlines_of)} must name classes of train_on, not normal alone.")
        if self.hard_share <= 0:
            raise ValueError(f"hard_share must be above 0, not {self.hard_share}.")
        if self.features < 0 or len({bool(self.features), bool(self.feature_pairs), bool(self.feature_teacher)}) > 1:
            raise ValueError("features, a weight above 0, feature_pairs and feature_teacher go together.")
        rows = [term.row for term in self.teachers]
        if len(set(rows)) != len(rows):
            raise ValueError(f"teachers {rows} must each be named once.")
        if self.feature_teacher and self.feature_teacher not in rows:
            raise ValueError(f"feature_teacher {self.feature_teacher!r} must be one of the teachers {rows}.")
        if (self.classes is not None) != (self.network.name == "two-heads"):
            raise ValueError("the table classes belongs to the network 'two-heads', and to it alone.")
        if self.classes is not None and set(self.train_on) != {"benign", "malignant", "normal"}:
            raise ValueError("with the table classes, train_on must name benign, malignant and normal.")
        if not 0 <= self.int8_epochs <= self.fit.epochs:
            raise ValueError(f"int8_epochs must lie in 0..{self.fit.epochs}, not {self.int8_epochs}.")
        if 0 < self.int8_epochs < self.fit.epochs and self.fit.select != "last":
            raise ValueError(
                f"int8_epochs are the last epochs, and select = {self.fit.select!r} may take an earlier one; set "
                'fit.select to "last".'
            )
