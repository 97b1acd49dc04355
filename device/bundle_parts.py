"""Parts of bundle.json: a tensor of the TFLite file, a metric with its interval, the output that says where."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tensor:
    """One tensor of the TFLite file. real value = scale * (stored - zero_point) for integer types, else both None."""

    shape: tuple[int, ...]
    layout: Literal["NHWC", "NC"]
    dtype: Literal["float32", "uint8", "int8"]
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        integer = self.dtype != "float32"
        if integer != (self.scale is not None) or integer != (self.zero_point is not None):
            raise ValueError(f"a tensor of {self.dtype} must {'' if integer else 'not '}have a scale and a zero point.")
        if integer and not self.scale > 0:
            raise ValueError(f"the scale of a tensor of {self.dtype} must be above 0, not {self.scale}.")
        lowest = -128 if self.dtype == "int8" else 0
        if integer and not lowest <= self.zero_point <= lowest + 255:
            raise ValueError(f"the zero point {self.zero_point} is no {self.dtype} value; correct it.")


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval; low and high are None when the interval could not be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MaskOutput:
    """The second output of a model with two heads: a logit for each place, positive on a lesion.

    name, index: of the tensor, and its place among the file's outputs, from 0: converters put outputs in an order of
    their own. output: (1, h, w, 1) on a grid over the whole input. threshold: probability 0..1 above which a place
    belongs to the lesion, after the logits were enlarged. trained_on: whose outlines it has learnt. dice: mean Dice
    against the drawn outlines of the test part's lesions; agreement: mean Dice with the PyTorch network's masks over
    the held-out part, where two empty masks count 1.
    """

    name: str
    index: int
    output: Tensor
    threshold: float
    trained_on: str
    dice: Estimate
    agreement: Estimate

    def __post_init__(self) -> None:
        shape = self.output.shape
        if len(shape) != 4 or (shape[0], shape[3]) != (1, 1) or min(shape) < 1 or self.output.layout != "NHWC":
            raise ValueError(f"mask.output must be (1, h, w, 1) in NHWC, not {shape} in {self.output.layout}.")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"mask.threshold must lie between 0 and 1, not {self.threshold}.")
        if self.index < 0:
            raise ValueError(f"mask.index must be 0 or more, not {self.index}.")

    @property
    def cut(self) -> float:
        """See `cut_of`."""
        return cut_of(self.output, self.threshold)


def cut_of(tensor: Tensor, threshold: float) -> float:
    """A probability 0..1 in the numbers that a tensor of logits stores.

    real = scale * (stored - zero point), and the scale is positive. So no number needs to be dequantised: at a
    threshold of 0.5, a logit of 0, one comparison with the zero point is the whole answer, and it is the same after a
    bilinear enlargement, whose weights sum to 1.
    """
    logit = math.log(threshold / (1.0 - threshold))
    return logit if tensor.scale is None else tensor.zero_point + logit / tensor.scale
