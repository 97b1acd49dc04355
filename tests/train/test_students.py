"""The students that timm does not have: their sizes, and what they ask of who names them."""

import pytest
import torch

from device.errors import UserError
from train.networks.backbone import build, stem
from train.networks.students import STUDENTS
from train.recipe import NetworkRecipe


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 6 x 6 x 3 x 8 + 3 x 3 x 8 x 12 + 3 x 3 x 12 x 12, two numbers for each of the 32 maps' norms, 12 x 3 + 3.
        ("hand_cnn", 864 + 864 + 1296 + 64 + 39),
        # Its last two layers alone, as wide as the whole network's: 200 channels to 1024 and these to three classes.
        ("mobilenetv3_small_035", None),
    ],
)
def test_a_student_of_our_own_is_built_as_timms_are(name: str, parameters: int | None) -> None:
    student = build(NetworkRecipe(name, "random", mean=0.5, std=0.5), (96, 96), None, 3)
    count = sum(p.numel() for p in student.parameters())
    assert parameters in (None, count)
    assert student.eval()(torch.zeros(2, 1, 96, 96)).shape == (2, 3)
    folded = build(NetworkRecipe(name, "random", mean=0.5, std=0.5, stem="luma"), (96, 96), None, 3)
    first = stem(student.net).weight
    assert count - sum(p.numel() for p in folded.parameters()) == first.numel() * 2 // 3


def test_a_third_of_the_width_is_a_third_of_the_maps() -> None:
    narrow = STUDENTS["mobilenetv3_small_035"](3)
    wide = build(NetworkRecipe("mobilenetv3_small_100", "random"), (96, 96), None, 3).net
    # Howard et al., table 2: 96 maps at the end of the trunk, rounded to eights at 0.35.
    assert (wide.blocks[4][0].conv_pwl.out_channels, narrow.blocks[4][0].conv_pwl.out_channels) == (96, 32)
    assert narrow.conv_head.out_channels == wide.conv_head.out_channels == 1024


def test_what_such_a_student_cannot_be_is_one_sentence() -> None:
    for recipe, classes, why in (
        (NetworkRecipe("hand_cnn"), 3, "comes without weights"),
        (NetworkRecipe("hand_cnn", "random"), 0, "cannot be a teacher's trunk"),
        (NetworkRecipe("hand_cnn", "random", activation="silu"), 3, "leave activation away"),
        (NetworkRecipe("hand_cnm", "random"), 3, "did you mean 'hand_cnn'"),
    ):
        with pytest.raises(UserError) as caught:
            build(recipe, (96, 96), None, classes)
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
