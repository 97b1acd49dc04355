"""Items as the training sees them: every draw can be repeated, an answer stands beside the pixels it was given to."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from train.augment import augmented
from train.data.torch_data import Answers, LumaSet
from train.data.views import view_of
from train.recipe import Augment

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32), np.uint8)
LOGITS = np.random.default_rng(1).normal(size=(3, 4, 3)).astype(np.float32)
NAMES = ("benign (1).png", "malignant (2).png", "normal (3).png")
STRONG = Augment(rotate=10.0, gain=0.2)


def test_items_depend_on_seed_epoch_and_picture_alone() -> None:
    lumas, targets = np.stack([PICTURE] * 3), np.array([2, 0, 1])

    def item(seed: int, epoch: int, index: int) -> bytes:
        one = LumaSet(lumas, targets, STRONG, seed)
        one.epoch = epoch
        return one[index]["luma"].numpy().tobytes()

    every = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in (0, 1, 2)]
    assert len({item(*which) for which in every}) == len(every)
    assert item(1, 1, 2) == item(1, 1, 2)


def test_items_are_luma_as_the_network_takes_it() -> None:
    item = LumaSet(PICTURE[None], np.array([2]))[0]
    assert set(item) == {"luma", "target"}
    assert (item["luma"].shape, item["luma"].dtype) == ((1, 24, 32), torch.float32)
    assert (item["target"], type(item["target"])) == (2, int)
    assert np.array_equal(item["luma"][0].numpy(), PICTURE)
    assert len(LumaSet(PICTURE[None], np.array([2]))) == 1


def test_masks_go_with_their_picture_through_every_augmentation() -> None:
    spot = np.zeros((40, 60), np.uint8)
    spot[10:20, 12:30] = 200
    one = LumaSet(spot[None], np.array([0]), Augment(flip=0.5, rotate=20.0, scale=0.2, shift=0.1), 0, (spot > 0)[None])
    for epoch in range(20):
        one.epoch = epoch
        item = one[0]
        mask = item["mask"][0].numpy()
        assert set(np.unique(mask)) == {0.0, 1.0}
        bright = item["luma"][0].numpy() >= 100
        assert (bright == (mask > 0)).mean() > 0.97, "all but the blurred border"
        assert item["mask_known"] == 1.0
    known = LumaSet(spot[None], np.array([0]), None, 0, (spot > 0)[None], np.array([False]))
    assert known[0]["mask_known"] == 0.0


def test_an_answer_stands_beside_the_view_it_was_given_to() -> None:
    lumas = np.stack([PICTURE, PICTURE[::-1], PICTURE[:, ::-1]])
    one = LumaSet(lumas, np.array([0, 1, 2]), STRONG, 7, answers=Answers(NAMES, LOGITS, 5, by_view=True))
    seen = set()
    for epoch in range(8):
        one.epoch = epoch
        for index in range(3):
            item = one[index]
            (number,) = [
                v for v in range(4) if np.allclose(item["soft"].numpy(), log_softmax(LOGITS[index, v]), atol=1e-6)
            ]
            luma, _ = view_of(lumas[index], None, STRONG, 5, NAMES[index], number)
            assert np.array_equal(item["luma"][0].numpy(), luma)
            seen.add((index, number))
    assert len(seen) == 12, "every view of every picture has its turn"


def test_the_mean_answer_is_a_mean_of_probabilities() -> None:
    one = LumaSet(np.stack([PICTURE] * 3), np.array([0, 1, 2]), STRONG, 7, answers=Answers(NAMES, LOGITS, 5, False))
    plain = LumaSet(np.stack([PICTURE] * 3), np.array([0, 1, 2]), STRONG, 7)
    for index in range(3):
        wanted = softmax(LOGITS[index], axis=1).mean(axis=0)
        np.testing.assert_allclose(one[index]["soft"].exp().numpy(), wanted, rtol=1e-5)
        assert torch.equal(one[index]["luma"], plain[index]["luma"]), "any augmentation, drawn as without answers"


def test_a_picture_without_answer_has_none() -> None:
    logits = LOGITS.copy()
    logits[1] = np.nan
    for by_view in (True, False):
        one = LumaSet(
            np.stack([PICTURE] * 3), np.array([0, 1, 2]), STRONG, 7, answers=Answers(NAMES, logits, 5, by_view)
        )
        assert [bool(torch.isnan(one[i]["soft"]).all()) for i in range(3)] == [False, True, False]


def test_views_depend_on_seed_name_and_number_alone() -> None:
    def view(seed: int, name: str, number: int) -> bytes:
        return view_of(PICTURE, None, STRONG, seed, name, number)[0].tobytes()

    every = [(seed, name, number) for seed in (0, 1) for name in NAMES for number in (1, 2)]
    assert len({view(*which) for which in every}) == len(every)
    assert view(1, NAMES[2], 2) == view(1, NAMES[2], 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_view_nought_is_the_picture_itself(seed: int) -> None:
    mask = PICTURE > 128
    luma, same = view_of(PICTURE, mask, STRONG, seed, NAMES[0], 0)
    assert np.array_equal(luma, PICTURE)
    assert same is mask
    drawn, _ = augmented(PICTURE, mask, STRONG, np.random.default_rng(0))
    assert not np.array_equal(drawn, PICTURE)
