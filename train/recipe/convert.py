"""How the student becomes a bundle."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ConvertRecipe:
    """Student -> bundle. relu_activations: hard-swish and hard-sigmoid written with relu6, which int8 XNNPACK takes.
    int8_ranges: activation ranges as observed by us, without their rare extremes (`clipped`) or with them, or those of
    TensorFlow's calibrator, which errs (convert/ranges.py).

    The gates are on held-out pictures, variant against PyTorch: share of equal top classes (0..1), and for ONNX and
    float32 also the largest difference of a logit. target_sensitivity and coverage fix the operating point and the
    abstention limit on the validation part, for each file from its own outputs.
    """

    calibration_pictures: int = 200
    relu_activations: bool = True
    int8_ranges: Literal["clipped", "observed", "tensorflow"] = "observed"
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
