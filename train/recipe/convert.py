"""How the student becomes a bundle."""

from dataclasses import dataclass
from typing import Literal

from device.bundle import VARIANTS, Variant


@dataclass(frozen=True)
class ConvertRecipe:
    """Student -> bundle. variants: the files that are made; a gate that one of them fails refuses all.
    relu_activations: for int8-full hard-swish and hard-sigmoid are written with relu6, which
    XNNPACK takes in int8. fold: constants go into the weights beside them (convert/fold.py). equalise: channels of one
    tensor are made alike in size (convert/equalise.py).
    int8_ranges: activation ranges as observed by us, without their rare extremes (`clipped`), with the least error, or
    those of TensorFlow's calibrator, which errs (convert/quantise/ranges.py). int8_bias_pictures: so many calibration
    pictures correct the biases (convert/quantise/bias.py), 0: none do. int8_rounding: the weights each to its nearest
    step, or those of a channel together (convert/quantise/rounding.py). int8_slim: the file is stripped of what no
    interpreter reads (convert/quantise/slim.py).

    The gates compare each file with PyTorch on all held-out pictures: share of equal top classes (0..1), of ONNX and
    float32 also the largest difference of a logit, accuracy and AUC that may be lost (0..1), and the margin (0..1)
    above which no answer may go from benign to malignant or back, and the same on the hard frames, which show no
    patient. calibration_agreement: share
    of pictures whose answer does not change when other calibration pictures are drawn. Of a network with two heads also
    the mean Dice (0..1) of a file's masks with PyTorch's: mask_dice of int8, mask_float_dice of the others.
    target_sensitivity and coverage fix the operating point and the abstention limit on the validation part, for each
    file from its own outputs.
    """

    variants: tuple[Variant, ...] = VARIANTS
    calibration_pictures: int = 200
    relu_activations: bool = True
    fold: bool = True
    equalise: bool = True
    int8_ranges: Literal["least-error", "clipped", "observed", "tensorflow"] = "least-error"
    int8_bias_pictures: int = 40
    int8_rounding: Literal["together", "nearest"] = "together"
    int8_slim: bool = False
    float_agreement: float = 0.995
    int8_agreement: float = 0.98
    float32_logit_difference: float = 0.01
    accuracy_loss: float = 0.005
    auc_loss: float = 0.005
    flip_margin: float = 0.2
    hard_flip_margin: float = 0.5
    calibration_agreement: float = 0.97
    mask_dice: float = 0.97
    mask_float_dice: float = 0.99
    target_sensitivity: float = 0.95
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if not self.variants or len(set(self.variants)) != len(self.variants):
            raise ValueError(f"convert.variants must be one or more, each once, not {list(self.variants)}.")
        shares = ("float_agreement", "int8_agreement", "calibration_agreement", "mask_dice", "mask_float_dice")
        for name in (*shares, "target_sensitivity", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"convert.{name} must lie above 0 and up to 1, not {getattr(self, name)}.")
        for name in ("accuracy_loss", "auc_loss", "flip_margin", "hard_flip_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"convert.{name} must lie in 0..1, not {getattr(self, name)}.")
        if self.calibration_pictures < 20:
            raise ValueError(f"convert.calibration_pictures must be 20 or more, not {self.calibration_pictures}.")
        if self.int8_bias_pictures < 0:
            raise ValueError(f"convert.int8_bias_pictures must be 0 or more, not {self.int8_bias_pictures}.")
