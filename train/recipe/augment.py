"""What a training picture may suffer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Augment:
    """Training-time changes of a picture, each drawn per view; 0 turns one off. Never a vertical flip: skin is on top.

    flip: probability of a left-right mirror image. rotate: +- degrees. scale, shift: +- fraction of the size.
    gain: +- fraction of contrast; offset: +- luma levels.
    depth_crop: up to this fraction of the depth is cut away below, as by another depth setting.
    gamma: the exponent of luma lies between 1 / (1 + gamma) and 1 + gamma. shadow: probability of an acoustic shadow.
    tgc: +- fraction of luma, changing smoothly over depth. speckle: up to this standard deviation, a fraction of luma.
    calipers, text: probability that marks, or words, are burned in. blur: up to this sigma in pixels.
    erase: probability that a rectangle of 2 to 15 % of the picture is blanked.
    Raises ValueError, with the key's name, when a value is out of its range.
    """

    flip: float = 0.5
    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    depth_crop: float = 0.0
    gamma: float = 0.0
    shadow: float = 0.0
    tgc: float = 0.0
    speckle: float = 0.0
    calipers: float = 0.0
    text: float = 0.0
    blur: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name, top in (
            ("flip", 1),
            ("rotate", 45),
            ("scale", 0.9),
            ("shift", 0.9),
            ("gain", 0.9),
            ("offset", 127),
            ("depth_crop", 0.5),
            ("gamma", 2),
            ("shadow", 1),
            ("tgc", 0.9),
            ("speckle", 1),
            ("calipers", 1),
            ("text", 1),
            ("blur", 5),
            ("erase", 1),
        ):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"augment.{name} must lie in 0..{top}, not {getattr(self, name)}.")
