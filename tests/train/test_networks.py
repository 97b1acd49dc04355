"""Teacher, student and trunks: the paper's sizes, the input convention, and every way weights can be wrong."""

import pytest
import torch
from built_networks import SMALL, random, refused
from torch import nn

from device.errors import UserError
from train.networks.backbone import Luma, build, feature_count, mebibytes
from train.networks.teacher import build_teacher
from train.recipe import TeacherRecipe, load_recipe


@pytest.fixture(scope="module")
def paper_teacher():
    recipe = load_recipe("paper").teacher
    backbones = tuple(random(b.name, mean=b.mean, std=b.std) for b in recipe.backbones)
    return build_teacher(TeacherRecipe(backbones, recipe.hidden, recipe.dropout), (224, 224), None, 3)


def test_the_papers_teacher_has_its_size_and_widths(paper_teacher) -> None:
    assert mebibytes(paper_teacher) == pytest.approx(438.8, rel=0.01)
    assert [feature_count(b, (224, 224)) for b in paper_teacher.backbones] == [768, 768]
    assert all(t.dtype in (torch.float32, torch.int64) for t in paper_teacher.state_dict().values())


def test_the_head_is_linear_norm_relu_dropout(paper_teacher) -> None:
    kinds = [type(layer) for layer in paper_teacher.head]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*block, *block, nn.Linear]
    shapes = [(layer.in_features, layer.out_features) for layer in paper_teacher.head if isinstance(layer, nn.Linear)]
    assert shapes == [(1536, 768), (768, 256), (256, 3)]
    assert {layer.p for layer in paper_teacher.head if isinstance(layer, nn.Dropout)} == {0.4}


def test_the_papers_student_has_its_size() -> None:
    student = build(random("mobilenetv3_small_100"), (224, 224), None, 3)
    assert sum(p.numel() for p in student.parameters()) == 1_520_931
    assert mebibytes(student) == pytest.approx(5.9, rel=0.03)
    assert student.eval()(torch.zeros(2, 1, 224, 224)).shape == (2, 3)


def test_mebibytes_by_hand() -> None:
    net = nn.Sequential(nn.Linear(1024, 255), nn.BatchNorm1d(256))
    # (1024 * 255 + 255) + 4 * 256 float32 and one int64 counter
    assert mebibytes(net) == ((1024 * 255 + 255 + 4 * 256) * 4 + 8) / 2**20


@pytest.mark.parametrize(
    ("first", "second"),
    [("test_vit", "test_resnet"), ("test_convnext", "test_efficientnet"), ("mobilenetv3_small_050", "test_vit3")],
)
def test_any_pair_of_timm_names_makes_a_teacher(first: str, second: str) -> None:
    teacher = build_teacher(TeacherRecipe((random(first), random(second)), (16,), 0.1), SMALL, None, 3).eval()
    luma = torch.rand(2, 1, *SMALL) * 255
    logits = teacher(luma)
    assert logits.shape == (2, 3)
    features = torch.cat([backbone(luma) for backbone in teacher.backbones], dim=1)
    torch.testing.assert_close(teacher.head(features), logits)
    for backbone in teacher.backbones:
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.zero_()
        assert not torch.allclose(teacher(luma), logits), "each backbone is heard"
        logits = teacher(luma)


def test_one_or_three_backbones_and_no_hidden_layer_work_too() -> None:
    assert build_teacher(TeacherRecipe((random("test_vit"),), ()), SMALL, None, 3).eval()(
        torch.zeros(1, 1, *SMALL)
    ).shape == (1, 3)
    three = tuple(random(name) for name in ("test_vit", "test_resnet", "test_convnext"))
    assert len(build_teacher(TeacherRecipe(three, (8,)), SMALL, None, 3).backbones) == 3


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_transformers_take_the_recipes_input_size(size: tuple[int, int]) -> None:
    net = build(random("test_vit"), size, None, 3).eval()
    assert net(torch.zeros(1, 1, *size)).shape == (1, 3)


def test_feature_count_leaves_the_mode_as_it_was() -> None:
    net = build(random("test_resnet"), SMALL, None)
    statistics = net.net.bn1.running_mean.clone()
    assert feature_count(net.train(), SMALL) == net.net.num_features
    assert net.training
    assert torch.equal(net.net.bn1.running_mean, statistics)
    feature_count(net.eval(), SMALL)
    assert not net.training


def test_luma_by_hand() -> None:
    # (luma / 255 - mean) / std with mean 0.4, std 0.2: 0 -> -2; 51 (a fifth) -> -1; 102 -> 0; 255 -> 3
    luma = torch.tensor([[[[0.0, 51.0], [102.0, 255.0]]]])
    seen = Luma(nn.Identity(), 0.4, 0.2)(luma)
    wanted = torch.tensor([[-2.0, -1.0], [0.0, 3.0]])
    assert seen.shape == (1, 3, 2, 2)
    for channel in seen[0]:
        torch.testing.assert_close(channel, wanted, rtol=0, atol=1e-6)
    symmetric = Luma(nn.Identity(), 0.5, 0.5)(luma)  # x / 127.5 - 1
    torch.testing.assert_close(symmetric[0, 0], luma[0, 0] / 127.5 - 1, rtol=0, atol=1e-6)


def test_the_recipes_mean_and_std_reach_the_network() -> None:
    net = build(random("test_resnet", mean=0.25, std=0.125), SMALL, None, 3).eval()
    luma = torch.rand(1, 1, *SMALL) * 255
    wanted = net.net(((luma / 255 - 0.25) / 0.125).expand(-1, 3, -1, -1))
    torch.testing.assert_close(net(luma), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "hint"), [("mobilenetv3_smal_100", "mobilenetv3_small_100"), ("test_vit.no_such_tag", "no_such_tag")]
)
def test_an_unknown_network_is_named(name: str, hint: str) -> None:
    refused(random(name), None, name, hint)


def test_a_trunk_cannot_be_the_student() -> None:
    refused(random("resnetv2_50_stage3"), None, "resnetv2_50_stage3", "cannot be the student")


@pytest.mark.parametrize("name", ["test_vit", "test_coatnet", "test_maxvit"])
def test_a_size_the_network_does_not_take_is_named(name: str) -> None:
    refused(random(name), None, name, "100 x 100", "preprocess", size=(100, 100))


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "test_vit", "test_resnet", "test_convnext"])
def test_a_fresh_classifier_hardly_says_anything(name: str) -> None:
    # Large first logits would spend the first epoch on destroying pretrained features.
    torch.manual_seed(0)
    net = build(random(name), SMALL, None, 3).eval()
    with torch.no_grad():
        logits = net(torch.rand(8, 1, *SMALL) * 255)
    assert logits.abs().max() < 1
    assert logits.abs().max() > 0
    classifier = net.net.get_submodule(net.net.pretrained_cfg["classifier"])
    assert not classifier.bias.any()
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(("activation", "kind"), [("silu", nn.SiLU), ("relu", nn.ReLU)])
def test_another_activation_stands_where_hard_swish_stood(activation: str, kind: type[nn.Module]) -> None:
    own = build(random("mobilenetv3_small_100"), SMALL, None, 3)
    other = build(random("mobilenetv3_small_100", activation=activation), SMALL, None, 3)
    places = [name for name, module in own.named_modules() if type(module).__name__.lower() == "hardswish"]
    assert len(places) == 19
    assert {type(other.get_submodule(place)) for place in places} == {kind}
    kept = [(n, type(m)) for n, m in own.named_modules() if n not in places]
    assert [(n, type(m)) for n, m in other.named_modules() if n not in places] == kept
    assert own.state_dict().keys() == other.state_dict().keys()


def test_an_activation_that_cannot_be_chosen_is_refused() -> None:
    refused(random("vgg11", activation="silu"), None, "vgg11", "leave activation away")
    with pytest.raises(UserError, match="only there with its own activation"):
        build(random("resnetv2_50_stage3", activation="relu"), SMALL, None)
