"""What the student learns from its teacher."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FeaturePair:
    """A module of the student and one of the teacher whose outputs are made alike, by their paths in the networks.

    Either gives (N, C, H, W) maps, (N, tokens, C) of a transformer, or (N, C) vectors.
    """

    student: str
    teacher: str


@dataclass(frozen=True)
class Distill:
    """L = alpha * CE + (1 - alpha) * T^2 * KL(teacher || student) + features * L1(features).

    alpha = 1 trains without a teacher's answers. The answers are those of a living teacher to what the student sees, or
    cached ones (train/soft): to `views` numbered views of each picture, drawn from view_seed. targets: `view`, the
    student sees these views, each beside its own answer; `mean`, it sees any augmentation beside the mean answer.

    wrong: what becomes of an answer whose likeliest class is not the label. `keep`: nothing; `shift`: the two classes'
    logits change places, so that what is said of the others stays (Wen, Lai, Qian, Preparing Lessons: Improve Knowledge
    Distillation with Better Supervision, Neurocomputing 2021, section 3.2.1, Probability Shift); `drop`: it is left
    out.

    feature_pairs: intermediate layers that are made alike through 1x1 adapters, which are not exported; they need a
    living teacher.
    """

    alpha: float = 0.5
    temperature: float = 4.0
    views: int = 8
    view_seed: int = 0
    targets: Literal["view", "mean"] = "view"
    wrong: Literal["keep", "shift", "drop"] = "keep"
    features: float = 0.0
    feature_pairs: tuple[FeaturePair, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or self.temperature <= 0:
            raise ValueError("distill needs alpha in 0..1 and temperature > 0.")
        if not 1 <= self.views <= 1000 or not 0 <= self.view_seed < 2**32:
            raise ValueError("distill needs views in 1..1000 and view_seed in 0..4294967295.")
        if self.features < 0 or bool(self.features) != bool(self.feature_pairs):
            raise ValueError("distill.features, a weight above 0, and distill.feature_pairs go together.")
