"""What training pictures may suffer, drawn from one seed: geometry, echoes, burned-in marks; masks go along."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from train.recipe import Augment

# The effects with draws of their own, and whether the recipe's strength is their probability. A new one is appended,
# for the place in this row decides the seed.
_OWN_DRAWS = {
    "depth_crop": False,
    "gamma": False,
    "shadow": True,
    "tgc": False,
    "speckle": False,
    "calipers": True,
    "text": True,
    "blur": False,
    "erase": True,
}


def augmented(
    luma: "np.ndarray", mask: "np.ndarray | None", recipe: "Augment", rng: "np.random.Generator"
) -> "tuple[np.ndarray, np.ndarray | None]":
    """One random variant of a prepared picture and of its lesion mask.

    luma: (H, W) uint8. mask: (H, W) bool or 0/1, or None where it is not known. Returns (H, W) uint8 and (H, W) bool or
    None, both contiguous; neither argument is written to, but an untouched one may be handed back. Raises ValueError
    when the two differ in shape.

    The order is that of a scan: the probe's view (geometry), the echoes, the machine's marks, then what blurs or hides
    the finished screen. Every effect has draws of its own, made or skipped as a whole, so that changing one strength
    does not change what the others do; how many numbers `rng` gives depends on nothing. No effect knows the class.
    Only geometry touches the mask, and only the place of calipers depends on it.
    """
    # Not at the top: `busi-kd train --help` imports this package for its command and must not wait for OpenCV.
    import numpy as np

    from train.augment import echoes, geometry, marks, screen

    if luma.dtype != np.uint8 or luma.ndim != 2 or (mask is not None and mask.shape != luma.shape):
        given = None if mask is None else mask.shape
        raise ValueError(f"a luma must be (H, W) uint8 and its mask as large, not {luma.dtype} {luma.shape}, {given}.")
    mirror = rng.random() < recipe.flip
    angle, scale, dx, dy, gain, offset = rng.uniform(-1, 1, 6).tolist()
    seeds = rng.integers(2**63, size=(len(_OWN_DRAWS), 2)).tolist()
    own = {}
    for (name, is_probability), (seed, chance) in zip(_OWN_DRAWS.items(), seeds):
        strength = getattr(recipe, name)
        if chance < strength * 2**63 if is_probability else strength:
            own[name] = np.random.default_rng(seed)

    if recipe.rotate or recipe.scale or recipe.shift or recipe.depth_crop:
        shift = (dx * recipe.shift, dy * recipe.shift)
        turn = geometry.turn(luma.shape, angle * recipe.rotate, scale * recipe.scale, shift)
        if "depth_crop" in own:
            turn = turn @ geometry.depth_crop(luma.shape, recipe.depth_crop, own["depth_crop"])
        luma, mask = geometry.warped(luma, mask, turn)
    if mirror:
        luma, mask = luma[:, ::-1], None if mask is None else mask[:, ::-1]
    luma = echoes.changed(luma, recipe, own, gain * recipe.gain, offset * recipe.offset)
    mask = None if mask is None else np.ascontiguousarray(mask, bool)
    if "calipers" in own:
        luma = marks.with_calipers(luma, mask, own["calipers"])
    if "text" in own:
        luma = marks.with_text(luma, own["text"])
    if "blur" in own:
        luma = screen.blurred(luma, recipe.blur * own["blur"].random())
    if "erase" in own:
        luma = screen.erased(luma, own["erase"])
    return np.ascontiguousarray(luma), mask
