"""Losses of outlines against values worked out by hand, and against torch's and scipy's own."""

import math

import pytest
import torch
from scipy.stats import entropy
from torch.nn import functional as F

from train.segmentation.losses import HARD, SOFT, cross_entropy, dice_loss, enlarged, iou_loss, kl, mean_of

# Two pictures of 2 x 2 places; probabilities 0.8, 0.2 and 0.5, so that the sums are round.
_CHANCE = torch.tensor([[[[0.8, 0.2], [0.2, 0.2]]], [[[0.5, 0.5], [0.5, 0.5]]]], dtype=torch.float64)
_LOGITS = torch.log(_CHANCE / (1 - _CHANCE))
_MASK = torch.tensor([[[[1, 0], [0, 0]]], [[[1, 1], [0, 0]]]], dtype=torch.float64)


def test_cross_entropy_by_hand() -> None:
    # First picture: all four places are right with 0.8; second: with 0.5.
    assert cross_entropy(_LOGITS, _MASK).tolist() == pytest.approx([-math.log(0.8), math.log(2)])


def test_dice_by_hand() -> None:
    # sum(p m) = 0.8 and 1; sum(p) + sum(m) = 1.4 + 1 and 2 + 2.
    assert dice_loss(_LOGITS, _MASK).tolist() == pytest.approx([1 - 2.6 / 3.4, 1 - 3 / 5])


def test_iou_by_hand() -> None:
    # union: 2.4 - 0.8 = 1.6 and 4 - 1 = 3; with 1 above and below: 1.8 / 2.6 and 2 / 4.
    assert iou_loss(_LOGITS, _MASK).tolist() == pytest.approx([-math.log(1.8 / 2.6), math.log(2)])


def test_weight_balance_by_hand() -> None:
    first = 2 * -math.log(0.8) + (1 - 2.6 / 3.4) - math.log(1.8 / 2.6)
    second = 2 * math.log(2) + 0.4 + math.log(2)
    assert HARD["weight-balance"](_LOGITS, _MASK).tolist() == pytest.approx([first, second])
    assert first == pytest.approx(0.4462871 + 0.2352941 + 0.3677248, abs=1e-6)


def test_a_perfect_outline_costs_nothing_an_empty_one_of_nothing_too() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:5, 2:5] = 1
    sure = (mask * 2 - 1) * 50
    for name, loss in HARD.items():
        assert loss(sure, mask).abs().max() < 1e-5, name


@pytest.mark.parametrize("name", list(HARD))
def test_a_step_down_the_gradient_lowers_the_loss(name: str) -> None:
    logits = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = (torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(2)) > 0.7).float()
    before = HARD[name](logits, mask).sum()
    (slope,) = torch.autograd.grad(before, logits)
    assert HARD[name](logits - 0.1 * slope, mask).sum() < before


def test_kl_is_that_of_the_two_class_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64) * 3 for _ in range(2))
    own, its = (torch.cat([z, torch.zeros_like(z)], dim=1) for z in (student, teacher))
    wanted = F.kl_div(own.log_softmax(1), its.log_softmax(1), reduction="none", log_target=True).sum(dim=1)
    assert torch.allclose(kl(student, teacher), wanted.mean(dim=(1, 2)))
    p, q = torch.sigmoid(teacher[0, 0, 0, 0]).item(), torch.sigmoid(student[0, 0, 0, 0]).item()
    one = kl(student[:1, :, :1, :1], teacher[:1, :, :1, :1]).item()
    assert one == pytest.approx(entropy([p, 1 - p], [q, 1 - q]))


def test_kl_of_the_same_answer_is_zero_and_its_extremes_are_finite() -> None:
    logits = torch.tensor([[[[80.0, -80.0], [0.0, 3.0]]]])
    assert kl(logits, logits).item() == pytest.approx(0, abs=1e-6)
    # Of opposite logits z and -z it is z tanh(z / 2): 80, 80, 0 and 3 tanh(1.5), a mean over four places.
    assert kl(-logits, logits).item() == pytest.approx((160 + 3 * math.tanh(1.5)) / 4, rel=1e-5)


def test_the_other_soft_losses_by_hand() -> None:
    student, teacher = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, -1.0]]]])
    assert SOFT["l1"](student, teacher).tolist() == [2.5]
    assert SOFT["mse"](student, teacher).tolist() == [6.5]


def test_enlarging_keeps_a_constant_and_leaves_its_own_size_alone() -> None:
    logits = torch.full((1, 1, 3, 3), 2.0)
    assert torch.equal(enlarged(logits, (12, 9)), torch.full((1, 1, 12, 9), 2.0))
    assert enlarged(logits, (3, 3)) is logits


def test_the_mean_is_of_the_chosen_and_zero_of_none() -> None:
    values = torch.tensor([1.0, 5.0, 9.0])
    assert mean_of(values, torch.tensor([1.0, 0.0, 1.0])).item() == 5
    assert mean_of(values, torch.zeros(3)).item() == 0
