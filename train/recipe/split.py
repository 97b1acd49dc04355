"""How pictures are divided."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SplitRecipe:
    """How pictures are divided into a training, a validation and a test part; train/data/splits.py does it.

    `grouped`, the default: StratifiedGroupKFold over the groups of near-copies, groups with conflicting labels left
    out. Of `folds` folds, `test_fold` is the test part, `val_fold` the validation part, the rest is for training.
    val_parts cuts the validation fold in so many parts, in the same way: the first validates, the others train too.

    The other two leak and are for comparison. `random`: the same without regard to groups. `paper`: each class
    oversampled to the biggest one's size, then 20 % test and 10 % validation at random; the folds play no part.
    """

    protocol: Literal["grouped", "random", "paper"] = "grouped"
    folds: int = 5
    test_fold: int = 0
    val_fold: int = 1
    seed: int = 0
    val_parts: int = 1

    def __post_init__(self) -> None:
        if not 3 <= self.folds <= 100:
            raise ValueError(f"split.folds must lie in 3..100 (train, validation, test), not {self.folds}.")
        for name in ("test_fold", "val_fold"):
            if not 0 <= getattr(self, name) < self.folds:
                raise ValueError(f"split.{name} must lie in 0..{self.folds - 1}, not {getattr(self, name)}.")
        if self.test_fold == self.val_fold:
            raise ValueError(f"split.test_fold and split.val_fold are both {self.test_fold}; they must differ.")
        if not 1 <= self.val_parts <= 10:
            raise ValueError(f"split.val_parts must lie in 1..10, not {self.val_parts}.")
        check_seed("split.seed", self.seed)

    @property
    def leaks(self) -> bool:
        """Whether the protocol is named as one that lets copies of a picture stand on both sides."""
        return self.protocol != "grouped"


def check_seed(name: str, seed: int) -> None:
    """Raise ValueError outside 0..2^32 - 1, what every generator in use takes."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"{name} must lie in 0..{2**32 - 1}, not {seed}.")
