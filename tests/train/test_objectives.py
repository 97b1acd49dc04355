"""The terms of the loss beside labels and answers: features by module path, lesion masks; golden values by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from train import torchvision_shim  # noqa: F401  before timm

# isort: split
import timm
from torch import Tensor, nn

from device.errors import UserError
from train.losses import shifted
from train.networks.backbone import Luma
from train.objectives.classes import Answers, Labels
from train.objectives.features import Features, as_map
from train.objectives.masks import Masks, mask_loss
from train.recipe import FeaturePair, MaskRecipe

SIZE = (64, 64)


def student() -> Luma:
    torch.manual_seed(0)
    return Luma(timm.create_model("mobilenetv3_small_050", num_classes=3), 0.5, 0.5)


def lumas(n: int = 4) -> Tensor:
    return torch.randint(0, 256, (n, 1, *SIZE), generator=torch.Generator().manual_seed(1)).float()


# Labels and answers

LOGITS = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))


def test_mixed_labels_are_weighed_by_their_shares() -> None:
    batch = {"target": torch.tensor([0, 1]), "other": torch.tensor([1, 2]), "lambda": torch.tensor(0.75)}
    # 3/4 of -ln 1/2 and 1/4 of -ln 1/4, for both pictures
    wanted = 0.75 * math.log(2) + 0.25 * math.log(4)
    assert Labels(1.0, None, 0.0)(batch, LOGITS)["labels"].item() == pytest.approx(wanted)
    assert Labels(0.5, None, 0.0)(batch, LOGITS)["labels"].item() == pytest.approx(wanted / 2)


def test_smoothed_labels() -> None:
    # 0.3 spread over three classes: 0.8 on the right one, 0.1 on each other
    wanted = 0.8 * math.log(2) + 0.2 * math.log(4)
    batch = {"target": torch.tensor([0, 1])}
    assert Labels(1.0, None, 0.3)(batch, LOGITS)["labels"].item() == pytest.approx(wanted)


def test_pictures_without_an_answer_do_not_count() -> None:
    soft = torch.log(torch.tensor([[0.25, 0.5, 0.25], [math.nan] * 3]))
    # KL of (1/4, 1/2, 1/4) from (1/2, 1/4, 1/4): 1/4 ln 1/2 + 1/2 ln 2 = ln(2) / 4, of one picture
    found = Answers(1.0, 1.0, None)({"soft": soft}, LOGITS.clone().requires_grad_())["answers"]
    assert found.item() == pytest.approx(math.log(2) / 4)
    none = Answers(1.0, 1.0, None)({"soft": torch.full((2, 3), math.nan)}, LOGITS.clone().requires_grad_())["answers"]
    none.backward()
    assert none.item() == 0.0


def test_what_becomes_of_wrong_answers() -> None:
    # Labels 1 and 1. The first answer, (1/2, 1/4, 1/4), says 0; the second, the student's own, is right.
    batch = {"target": torch.tensor([1, 1]), "soft": LOGITS.clone()}
    student = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))
    student[0] = torch.log(torch.tensor([0.25, 0.25, 0.5]))
    # kept: 1/2 ln 2 + 1/4 ln 1 + 1/4 ln 1/2 = ln(2) / 4 of the first, 0 of the second
    # shifted to (1/4, 1/2, 1/4): 1/4 ln 1 + 1/2 ln 2 + 1/4 ln 1/2, the same sum by symmetry
    kept, shift, drop = (
        Answers(1.0, 1.0, None, wrong)(batch, student)["answers"].item() for wrong in ("keep", "shift", "drop")
    )
    assert (kept, shift) == (pytest.approx(math.log(2) / 8), pytest.approx(math.log(2) / 8))
    assert drop == pytest.approx(0.0, abs=1e-7)
    batch["target"] = torch.tensor([2, 1])  # shifted to (1/4, 1/4, 1/2): just what the student says
    assert Answers(1.0, 1.0, None, "shift")(batch, student)["answers"].item() == pytest.approx(0.0, abs=1e-7)
    assert torch.equal(batch["soft"], LOGITS)
    unknown = {"target": torch.tensor([2, 1]), "soft": torch.full((2, 3), math.nan)}
    for wrong in ("shift", "drop"):
        assert Answers(1.0, 1.0, None, wrong)(unknown, student)["answers"].item() == 0.0


@given(
    answers=arrays(np.float32, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-30, 30, width=32)),
    seed=st.integers(0, 99),
)
def test_a_shifted_answer_says_the_label_and_keeps_its_numbers(answers: np.ndarray, seed: int) -> None:
    target = torch.randint(0, 4, (len(answers),), generator=torch.Generator().manual_seed(seed))
    found = shifted(torch.from_numpy(answers), target)
    assert torch.equal(found.gather(1, target[:, None])[:, 0], found.max(dim=1).values)
    assert np.array_equal(np.sort(found.numpy(), axis=1), np.sort(answers, axis=1))
    right = answers.argmax(axis=1) == target.numpy()
    assert np.array_equal(found.numpy()[right], answers[right])


def test_a_living_teacher_sees_the_batch() -> None:
    answers = Answers(1.0, 1.0, lambda luma: luma.mean((2, 3)) + torch.zeros(1, 3))
    assert answers({"luma": lumas(2)}, torch.zeros(2, 3))["answers"].item() == pytest.approx(0, abs=1e-5)


# Features


class Vit(nn.Module):
    """Tokens of a transformer, with a class token in front."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Identity()
        self.first = nn.Conv2d(1, 5, 16, 16)

    def forward(self, luma: Tensor) -> Tensor:
        places = self.first(luma).flatten(2).transpose(1, 2)
        return self.tokens(torch.cat([places.mean(1, keepdim=True), places], dim=1)).mean(1)


def test_maps_tokens_and_vectors_become_maps() -> None:
    places = torch.arange(2 * 4 * 3.0).reshape(2, 4, 3)
    with_class = torch.cat([torch.full((2, 1, 3), -1.0), places], dim=1)
    for tokens in (places, with_class):
        found = as_map(tokens)
        assert found.shape == (2, 3, 2, 2)
        assert torch.equal(found[1, 2].flatten(), places[1, :, 2]), "row by row, without the class token"
    assert as_map(torch.zeros(2, 3)).shape == (2, 3, 1, 1)
    assert as_map(torch.zeros(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    with pytest.raises(ValueError, match="neither maps, tokens nor vectors"):
        as_map(torch.zeros(3))


def test_features_of_the_same_network_are_alike_and_others_become_so() -> None:
    network, teacher = student().eval(), Vit().eval()
    same = Features(2.0, (FeaturePair("net.blocks.1", "net.blocks.1"),), network, network, SIZE)
    with torch.no_grad():  # an adapter that changes nothing
        same.adapters[0].weight.copy_(torch.eye(same.adapters[0].in_channels)[:, :, None, None])
        same.adapters[0].bias.zero_()
    network(lumas())
    assert same({}, torch.zeros(4, 3))["features"].item() == pytest.approx(0, abs=1e-6)

    other = Features(1.0, (FeaturePair("net.blocks.1", "tokens"),), network, teacher, SIZE)
    learner = torch.optim.Adam([*network.parameters(), *other.parameters()], 1e-2)
    losses = []
    for _ in range(20):
        network(lumas()), teacher(lumas())
        loss = other({}, torch.zeros(4, 3))["features"]
        learner.zero_grad()
        loss.backward()
        learner.step()
        losses.append(loss.item())
    assert teacher.first.weight.grad is None, "the teacher learns nothing"
    assert losses[-1] < 0.5 * losses[0]


def test_the_weight_and_the_grid_of_features() -> None:
    network, teacher = student().eval(), Vit().eval()
    pairs = (FeaturePair("net.blocks.0", "tokens"), FeaturePair("net.blocks.3", "tokens"))
    torch.manual_seed(3)
    one = Features(1.0, pairs, network, teacher, SIZE)
    torch.manual_seed(3)
    three = Features(3.0, pairs, network, teacher, SIZE)
    network(lumas()), teacher(lumas())
    found = [loss({}, torch.zeros(4, 3))["features"].item() for loss in (one, three)]
    assert found[1] == pytest.approx(3 * found[0])
    assert not list(one.buffers()), "nothing that a resumed training could have forgotten"


def test_an_unknown_module_path_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"the student has no module 'net.block.1'.*'net.blocks.1'"):
        Features(1.0, (FeaturePair("net.block.1", "tokens"),), student(), Vit(), SIZE)
    with pytest.raises(UserError, match="the teacher has no module 'toke'"):
        Features(1.0, (FeaturePair("net.blocks.1", "toke"),), student(), Vit(), SIZE)


# Masks


def test_mask_loss_by_hand() -> None:
    # Two pictures on a grid of 1 x 2, all logits 0: p = 1/2. Masks (1, 0) and, unknown, (1, 1).
    #   cross-entropy: ln 2 each. Dice: 1 - (2 * 1/2 + 1) / (1 + 1 + 1) = 1/3.
    mask = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    found = mask_loss(torch.zeros(2, 1, 1, 2), mask, torch.tensor([1.0, 0.0]))
    assert found.item() == pytest.approx(math.log(2) + 1 / 3)
    # Both known: the second's Dice is 1 - (2 * 1 + 1) / (1 + 2 + 1) = 1/4.
    found = mask_loss(torch.zeros(2, 1, 1, 2), mask, torch.tensor([1.0, 1.0]))
    assert found.item() == pytest.approx(math.log(2) + (1 / 3 + 1 / 4) / 2)
    assert mask_loss(torch.zeros(2, 1, 1, 2), mask, torch.zeros(2)).item() == 0.0


def test_an_empty_mask_answered_with_nothing_is_perfect() -> None:
    found = mask_loss(torch.full((1, 1, 4, 4), -50.0), torch.zeros(1, 1, 16, 16), torch.ones(1))
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_a_finer_mask_is_averaged_onto_the_grid() -> None:
    fine = torch.zeros(1, 1, 4, 4)
    fine[0, 0, :2, :2] = 1.0
    fine[0, 0, 2:, 3] = 1.0
    coarse = torch.tensor([[[[1.0, 0.0], [0.0, 0.5]]]])
    place = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert mask_loss(place, fine, torch.ones(1)).item() == pytest.approx(mask_loss(place, coarse, torch.ones(1)).item())


def test_the_segmentation_head_learns_where_the_lesion_is() -> None:
    network = student().train()
    masks = Masks(MaskRecipe(1.0, ("blocks.0", "blocks.1", "blocks.3")), network, SIZE)
    assert network.training
    pictures = torch.full((4, 1, *SIZE), 20.0)
    where = torch.zeros(4, 1, *SIZE)
    for i, (y, x) in enumerate([(0, 0), (0, 32), (32, 0), (32, 32)]):
        pictures[i, 0, y : y + 32, x : x + 32] = 200.0
        where[i, 0, y : y + 32, x : x + 32] = 1.0
    batch = {"mask": where, "mask_known": torch.ones(4)}
    learner = torch.optim.Adam([*network.parameters(), *masks.parameters()], 1e-2)
    for _ in range(40):
        network(pictures)
        loss = masks(batch, torch.zeros(4, 3))["masks"]
        learner.zero_grad()
        loss.backward()
        learner.step()
    network(pictures)
    place = nn.functional.interpolate(masks.logits(), size=SIZE) > 0
    assert ((place == (where > 0)).float().mean()).item() > 0.95


def test_the_mask_recipe_names_modules_of_the_timm_network() -> None:
    with pytest.raises(UserError, match=r"the student has no module 'net.stage.1'"):
        Masks(MaskRecipe(1.0, ("stage.1",)), student(), SIZE)
