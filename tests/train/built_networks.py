"""Networks as tests build them: small, of random weights."""

from pathlib import Path

import pytest

from device.errors import UserError
from train.networks.backbone import build
from train.recipe import NetworkRecipe

SMALL = (64, 64)


def random(name: str, **changes: float) -> NetworkRecipe:
    """A network whose weights are drawn."""
    return NetworkRecipe(name, "random", **changes)


def refused(recipe: NetworkRecipe, weights_dir: Path | None, *parts: str, size: tuple[int, int] = SMALL) -> None:
    """Assert that it is not built, and that one sentence with these parts says why."""
    with pytest.raises(UserError) as caught:
        build(recipe, size, weights_dir, 3)
    said = str(caught.value)
    assert "\n" not in said
    for part in parts:
        assert part in said
