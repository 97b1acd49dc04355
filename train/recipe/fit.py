"""How a network is trained."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Fit:
    """One training run with AdamW. precision is Lightning's setting; batch is that of all processes together.

    select: the epoch of least validation loss, or the last. ema: decay per step of an exponential average of the
    weights, which is then what validates and what is kept; 0 for none. mixup: the parameter of the Beta distribution
    that a batch's shares are drawn from (Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018); 0 for
    none. smoothing: of the labels, 0..1. channels_last: the layout in memory, faster on CPUs for depthwise networks.
    """

    epochs: int = 15
    batch: int = 16
    lr: float = 1e-4
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    select: Literal["best", "last"] = "best"
    ema: float = 0.0
    mixup: float = 0.0
    smoothing: float = 0.0
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.lr <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0:
            raise ValueError(
                "a fit needs epochs >= 1, batch >= 2 (BatchNorm), lr > 0, weight_decay >= 0, warmup_epochs >= 0."
            )
        if not 0 <= self.ema < 1 or self.mixup < 0 or not 0 <= self.smoothing < 1:
            raise ValueError("a fit needs ema in 0..1 (1 excluded), mixup >= 0, smoothing in 0..1 (1 excluded).")
