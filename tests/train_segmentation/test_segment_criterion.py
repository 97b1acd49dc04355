"""The terms of the loss together: shares, which pictures a teacher answers for, layers."""

import pytest
import torch
from torch import nn

from device.errors import UserError
from device.preprocess import Preprocess
from train.losses import kl_teacher_student
from train.recipe import FeaturePair
from train.segmentation.criterion import Taught, make_criterion
from train.segmentation.losses import HARD, kl
from train.segmentation.networks.make import heads, make
from train.segmentation.networks.two_heads import Heads
from train.segmentation.recipe import ClassTask, SegFit, SegNetwork, SegRecipe, TeacherTerm

_NET = SegNetwork("simplified-unet", (4, 8))
_BATCH = {
    "luma": torch.randint(0, 256, (3, 1, 32, 32), generator=torch.Generator().manual_seed(0)).float(),
    "target": torch.tensor([0, 1, 0]),
    "mask": torch.zeros(3, 1, 32, 32),
    "mask_known": torch.tensor([1.0, 1.0, 0.0]),
}
_BATCH["mask"][:, :, 8:16, 8:20] = 1


class _Says(nn.Module):
    """A teacher that says one logit everywhere, whatever it sees."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        return self.logit.expand(len(luma), 1, 8, 8)


def test_lightbtsegs_shares() -> None:
    recipe = SegRecipe(
        network=_NET, hard_share=0.3, teachers=(TeacherTerm("benign", 0.5), TeacherTerm("malignant", 0.2))
    )
    teachers = {"benign": (_Says(1.0), ("benign",)), "malignant": (_Says(-2.0), ("malignant",))}
    network = make(_NET, (32, 32), None)
    criterion = make_criterion(recipe, network, teachers, soft=False)
    answer = heads(network(_BATCH["luma"]))
    found = criterion(_BATCH, answer)
    hard = HARD["weight-balance"](answer.mask, _BATCH["mask"])[:2].mean()  # the third picture's outline is not learnt
    wanted = {
        "outline": 0.3 * hard,
        "taught-benign": 0.5 * kl(answer.mask, torch.full((3, 1, 32, 32), 1.0))[:2].mean(),
        "taught-malignant": 0.2 * kl(answer.mask, torch.full((3, 1, 32, 32), -2.0))[:2].mean(),
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: value.item() for name, value in wanted.items()}, rel=1e-5
    )
    assert criterion.validation(_BATCH, answer).item() == pytest.approx(hard.item(), rel=1e-6)
    assert list(criterion.state_dict()) == [], "the teachers' weights are in no checkpoint"
    sum(found.values()).backward()
    assert all(teacher.logit.grad is None for teacher, _ in teachers.values())


def test_a_teacher_may_answer_for_its_own_class_alone() -> None:
    teacher = _Says(0.0)
    term = Taught(TeacherTerm("malignant", 0.2, on="own"), lambda luma: teacher(luma), own=(1,))
    answer = Heads(torch.stack([torch.full((1, 32, 32), logit) for logit in (3.0, 1.0, 3.0)]))
    alone = kl(torch.full((1, 1, 32, 32), 1.0), torch.zeros(1, 1, 32, 32))
    assert term(_BATCH, answer)["taught-malignant"].item() == pytest.approx(0.2 * alone.item(), rel=1e-5)
    others = {**_BATCH, "target": torch.tensor([0, 0, 0])}
    assert term(others, answer)["taught-malignant"].item() == 0


def test_layers_are_drawn_towards_the_teachers() -> None:
    pairs = (FeaturePair("net.encoder.levels.1", "net.encoder.levels.1"), FeaturePair("net.levels.0", "net.levels.0"))
    recipe = SegRecipe(
        preprocess=Preprocess(32, 32),
        network=_NET,
        teachers=(TeacherTerm("big", 0.0),),
        features=1.0,
        feature_teacher="big",
        feature_pairs=pairs,
    )
    torch.manual_seed(3)
    network, teacher = make(_NET, (32, 32), None), make(SegNetwork("simplified-unet", (8, 16)), (32, 32), None)
    criterion = make_criterion(recipe, network, {"big": (teacher, ("benign",))}, soft=False)
    weights = [*network.parameters(), *criterion.parameters()]
    optimizer = torch.optim.Adam([weight for weight in weights if weight.requires_grad], lr=1e-2)
    seen = []
    for _ in range(30):
        loss = criterion(_BATCH, heads(network(_BATCH["luma"])))["features"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.7 * seen[0]


def test_an_unknown_layer_is_named() -> None:
    recipe = SegRecipe(
        preprocess=Preprocess(32, 32),
        network=_NET,
        teachers=(TeacherTerm("big"),),
        features=1.0,
        feature_teacher="big",
        feature_pairs=(FeaturePair("net.encoder.level.1", "net.head"),),
    )
    net = make(_NET, (32, 32), None)
    with pytest.raises(UserError, match=r"student has no module 'net\.encoder\.level\.1'.*levels"):
        make_criterion(recipe, net, {"big": (make(_NET, (32, 32), None), ("benign",))}, soft=False)


def test_the_class_head_learns_from_labels_and_cached_answers() -> None:
    recipe = SegRecipe(
        network=SegNetwork("two-heads"),
        train_on=("benign", "malignant", "normal"),
        classes=ClassTask(weight=2.0, alpha=0.25, temperature=3.0, wrong="keep"),
        fit=SegFit(),
    )
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [0.5, 0.5, 0.0]])
    soft = torch.tensor([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]).log()
    answer = Heads(torch.zeros(3, 1, 8, 8), logits)
    found = make_criterion(recipe, nn.Identity(), {}, soft=True)({**_BATCH, "soft": soft}, answer)
    cross = nn.functional.cross_entropy(logits, _BATCH["target"])
    assert found["labels"].item() == pytest.approx(2 * 0.25 * cross.item(), rel=1e-6)
    assert found["answers"].item() == pytest.approx(2 * 0.75 * kl_teacher_student(logits, soft, 3.0).item(), rel=1e-6)
    alone = make_criterion(recipe, nn.Identity(), {}, soft=False)(_BATCH, answer)
    assert alone["labels"].item() == pytest.approx(2 * cross.item(), rel=1e-6)
