"""The networks: what they cost against what was published, what they give, what they refuse."""

import pytest
import torch
from torch import nn

from device.errors import UserError
from train.networks.backbone import build
from train.networks.cost import cost
from train.recipe import NetworkRecipe
from train.segmentation.networks.hybrid import HybridTwoHeads
from train.segmentation.networks.make import MOBILENET, heads, make
from train.segmentation.networks.two_heads import Decoder, TwoHeads
from train.segmentation.recipe import SegNetwork

SMALL = {
    "unet": SegNetwork("unet", (4, 4, 8, 8, 8)),
    "unet++": SegNetwork("unet++", (4, 4, 8, 8, 8)),
    "attention-unet": SegNetwork("attention-unet", (4, 8, 8, 16)),
    "lightbtseg-teacher": SegNetwork("lightbtseg-teacher", backbone=NetworkRecipe("resnet10t", weights="random")),
    "simplified-unet": SegNetwork("simplified-unet", (4, 8, 16)),
    "two-heads": SegNetwork("two-heads", width=8),
    "hybrid": SegNetwork("two-heads", width=8, transformer=NetworkRecipe("test_vit", weights="random")),
}


def _on_paper(network: SegNetwork, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds without memory for them."""
    with torch.device("meta"):
        return cost(make(network, (64, 64), None), (side, side))


def test_the_teacher_is_as_big_as_published() -> None:
    parameters, multiply_adds = _on_paper(SegNetwork("lightbtseg-teacher"), 512)
    assert parameters / 1e6 == pytest.approx(106.1, abs=0.05)
    assert multiply_adds / 1e9 == pytest.approx(205.98, rel=0.001)


def test_the_student_is_as_big_as_published() -> None:
    parameters, multiply_adds = _on_paper(SegNetwork("simplified-unet"), 512)
    assert parameters / 1e6 == pytest.approx(2.2, rel=0.01)
    assert multiply_adds / 1e9 == pytest.approx(16.59, rel=0.01)
    assert 4 * parameters / 2**20 == pytest.approx(8.4, rel=0.01)  # MB in float32


def test_the_attention_u_net_at_full_width_is_the_one_that_others_count() -> None:
    parameters, _ = _on_paper(SegNetwork("simplified-unet", (64, 128, 256, 512, 1024)), 64)
    assert parameters / 1e6 == pytest.approx(34.88, abs=0.01)


def test_the_tiny_u_net_has_a_hundredth_of_the_parameters() -> None:
    big, _ = _on_paper(SegNetwork("unet"), 64)
    tiny, _ = _on_paper(SegNetwork("unet", (6, 12, 24, 48, 96)), 64)
    assert big / tiny > 100


def test_multiply_adds_by_hand() -> None:
    # 3x3 from 1 to 4 channels, 1x1 from 4 to 2, on 10 x 6 places; then 2 to 3 without places.
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(2, 3))
    assert cost(net, (10, 6)) == (40 + 10 + 9, 60 * (36 + 8) + 6)


def test_attentions_products_are_counted() -> None:
    class Attention(nn.Module):
        """Each pixel a token of one number, made six, asks all others."""

        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Linear(1, 6)

        def forward(self, luma: torch.Tensor) -> torch.Tensor:
            tokens = self.wide(luma.flatten(2).transpose(1, 2))
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    # 12 tokens: 12 * 6 to widen; 12 x 12 products of 6 numbers, and as many again with the values.
    assert cost(Attention(), (4, 3)) == (12, 72 + 2 * 12 * 12 * 6)


def test_two_heads_cost_little_more_than_the_classifier() -> None:
    size = (224, 224)
    parameters, multiply_adds = cost(make(SegNetwork("two-heads"), size, None), size)
    alone, classifying = cost(build(MOBILENET, size, None, 3), size)
    assert 2 * multiply_adds < 0.5e9, "GFLOPs with multiplication and addition counted apart"
    assert multiply_adds / classifying < 1.6
    assert parameters < 1.1 * alone
    assert parameters < 2.5e6, "int8 weights take a byte each"


def test_the_decoder_is_made_of_what_an_int8_graph_keeps_whole() -> None:
    # Convolution, BatchNorm (folded), ReLU, addition, pooling by mean, bilinear enlargement: nothing multiplies maps.
    maps = [torch.rand(1, width, 32 // 2**k, 32 // 2**k) for k, width in enumerate((16, 24, 48, 96))]
    exported = torch.export.export(Decoder((16, 24, 48, 96), 8).eval(), (maps,))
    called = {node.target.__name__.split(".")[0] for node in exported.graph.nodes if node.op == "call_function"}
    assert called == {"conv2d", "batch_norm", "relu", "relu_", "add", "mean", "upsample_bilinear2d"}


@pytest.mark.parametrize("name", SMALL)
def test_each_network_gives_one_logit_per_place_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network = make(SMALL[name], (64, 96), None)
    luma = torch.randint(0, 256, (2, 1, 64, 96)).float()
    answer = heads(network(luma))
    both = SMALL[name].name == "two-heads"
    assert answer.mask.shape == (2, 1, *((16, 24) if both else (64, 96)))
    assert (answer.classes is None) == (not both)
    (answer.mask.mean() + (0 if answer.classes is None else answer.classes.sum())).backward()
    idle = [n for n, w in network.named_parameters() if w.grad is None]
    # U-Net++ has three more heads, for deep supervision, which nobody asks.
    assert all("final_conv_0_" in n for n in idle), idle


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_alone_or_among_others_gets_the_same_outline(name: str) -> None:
    torch.manual_seed(1)
    network = make(SMALL[name], (64, 64), None).eval()
    luma = torch.randint(0, 256, (3, 1, 64, 64)).float()
    with torch.no_grad():
        together, alone = heads(network(luma)).mask[1:2], heads(network(luma[1:2])).mask
    assert torch.allclose(together, alone, atol=1e-4)


def test_a_mobilenet_and_the_trunk_at_hand_are_encoders_too() -> None:
    for name, levels in (("tf_mobilenetv3_large_minimal_100", 5), ("resnetv2_50_stage3", 4)):
        with torch.device("meta"):
            backbone = NetworkRecipe(name, weights="random")
            network = make(SegNetwork("lightbtseg-teacher", backbone=backbone), (64, 64), None)
        assert len(network.encoder.channels) == levels
        assert not hasattr(network.encoder.luma.net, "classifier")


def test_the_classifiers_weights_fit_as_they_are() -> None:
    shipped = build(MOBILENET, (64, 64), None, 3).eval()
    network = make(SMALL["two-heads"], (64, 64), None).eval()
    network.classifier.load_state_dict(shipped.state_dict())
    luma = torch.randint(0, 256, (2, 1, 64, 64)).float()
    with torch.no_grad():
        assert torch.allclose(network(luma).classes, shipped(luma), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "size", "said"),
    [
        (SegNetwork("simplified-unet"), (60, 64), "multiples of 32"),
        (SegNetwork("two-heads", backbone=NetworkRecipe("resnet10t", weights="random")), (64, 64), "MobileNetV3"),
        (SegNetwork("lightbtseg-teacher", backbone=NetworkRecipe("test_vit", weights="random")), (64, 64), "no ResNet"),
        (SegNetwork("lightbtseg-teacher", (8, 8)), (64, 64), "leave it away"),
        (SegNetwork("unet", (8, 8)), (64, 64), "five widths"),
        (
            SegNetwork("two-heads", transformer=NetworkRecipe("resnet10t", weights="random")),
            (64, 64),
            "no Vision",
        ),
    ],
)
def test_what_cannot_be_built_is_told(network: SegNetwork, size: tuple[int, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(network, size, None)


def test_two_heads_keeps_a_finest_map_of_a_quarter() -> None:
    network = make(SMALL["two-heads"], (64, 64), None)
    assert isinstance(network, TwoHeads)
    assert [lateral[0].in_channels for lateral in network.decoder.laterals] == [48, 24, 16]


def test_the_transformers_tokens_lie_where_their_patches_do() -> None:
    network = make(SMALL["hybrid"], (64, 96), None).eval()
    assert isinstance(network, HybridTwoHeads)
    vit = network.transformer.net
    vit.blocks = nn.Sequential()  # each token speaks of its own patch alone then
    vit.pos_embed.data.zero_()
    luma = torch.randint(0, 256, (2, 1, 64, 96)).float()
    with torch.no_grad():
        maps, _ = network._seen(luma)
        patches = vit.patch_embed.proj(network.transformer.normal(luma))  # (N, C, 4, 6), as a convolution has them
        wanted = vit.norm(vit.norm_pre(patches.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    torch.testing.assert_close(maps[2][:, -wanted.shape[1] :], wanted)


def test_the_hybrids_class_logits_are_the_sum_of_both() -> None:
    network = make(SMALL["hybrid"], (64, 64), None).eval()
    luma = torch.randint(0, 256, (2, 1, 64, 64)).float()
    with torch.no_grad():
        torch.testing.assert_close(network(luma).classes, network.classifier(luma) + network.transformer(luma))


def test_a_transformer_belongs_to_two_heads() -> None:
    with pytest.raises(ValueError, match="for 'two-heads', not for 'unet'"):
        SegNetwork("unet", transformer=NetworkRecipe("test_vit"))
