"""How int8-full is quantised: what the recipe, the study and the planted faults choose between."""

from dataclasses import dataclass


@dataclass(frozen=True)
class How:
    """ranges: `observed`, `clipped`, of `least-error`, or `tensorflow`: the calibrator's own. bias_pictures: so many
    correct the biases, 0: none do. rounding: of the weights, each to the `nearest` step or a channel's `together`.
    slim: the file keeps only what an interpreter reads. For comparison and for planted faults alone: per_channel False,
    and float_operators, the number of operators that stay in float32, those with the most noise.
    """

    ranges: str = "observed"
    bias_pictures: int = 0
    rounding: str = "nearest"
    per_channel: bool = True
    float_operators: int = 0
    slim: bool = False
