"""What a bundle knows of its training pictures: its limit leaves other pictures of the kind in, and noise out."""

from dataclasses import replace

import numpy as np
import pytest

from convert.familiar import VIEWS, familiar
from device.familiar import FEATURES, Familiar, score, statistics
from train.data.busi import load_lumas, read_dataset
from train.data.phantoms import write_phantoms
from train.data.splits import Split, make_split
from train.data.views import view_of
from train.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Recipe]:
    """Phantoms of 50 a class, and the demo's recipe."""
    folder = tmp_path_factory.mktemp("familiar") / "phantoms"
    write_phantoms(folder, per_class=50, seed=3, size=(96, 128))
    recipe = load_recipe("demo")
    return make_split(read_dataset(folder), recipe.split, None), recipe


@pytest.fixture(scope="module")
def known(made: tuple[Split, Recipe]) -> Familiar:
    return familiar(*made)


def test_mean_and_scale_are_those_of_the_views(made: tuple[Split, Recipe], known: Familiar) -> None:
    split, recipe = made
    lumas = load_lumas(split.train, recipe.preprocess)
    wanted = np.array(
        [
            statistics(view_of(luma, None, recipe.augment, recipe.seed, picture.name, number)[0])
            for picture, luma in zip(split.train, lumas, strict=True)
            for number in range(VIEWS)
        ]
    )
    assert known.features == FEATURES
    assert known.mean == pytest.approx(wanted.mean(axis=0))
    assert known.scale == pytest.approx(np.maximum(wanted.std(axis=0), 0.01))
    assert f"99% of {len(wanted)} views of {len(split.train)} training pictures" in known.derived_on


def test_the_limit_leaves_unseen_pictures_of_the_kind_in_and_noise_out(
    made: tuple[Split, Recipe], known: Familiar
) -> None:
    split, recipe = made
    unseen = load_lumas(split.val + split.test, recipe.preprocess)
    assert np.mean([score(luma, known) <= known.limit for luma in unseen]) > 0.9
    rng = np.random.default_rng(0)
    size = (recipe.preprocess.height, recipe.preprocess.width)
    for other in (rng.integers(0, 256, size, np.uint8), np.zeros(size, np.uint8), np.full(size, 255, np.uint8)):
        assert score(other, known) > 3 * known.limit


def test_it_is_the_same_again(made: tuple[Split, Recipe], known: Familiar) -> None:
    assert familiar(*made) == known


def test_too_few_pictures_say_nothing(made: tuple[Split, Recipe]) -> None:
    split, recipe = made
    assert familiar(replace(split, train=split.train[:49]), recipe) is None
