"""Dice and IoU of masks against figures computed by hand, their gate, and which pictures are named as the worst."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.report_masks import FileMasks, section, write_mask_sheets
from convert.verify.gates import mask_reasons
from convert.verify.masks import MaskParity, Outlined, Packed, compare_masks, outlined, overlap
from device.bundle import Estimate
from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import Picture, write_picture
from train.recipe import ConvertRecipe
from train.segmentation.networks.make import make
from train.segmentation.recipe import SegNetwork

SIDE = 56
PREPROCESS = Preprocess(SIDE, SIDE)  # as fine as the mask: nothing is interpolated, and figures can be had by hand


def block(left: int, top: int, across: int, down: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + down, left : left + across] = True
    return mask


def about(
    references: list[np.ndarray], truths: list[np.ndarray | None], val: int = 0, folder: Path = Path()
) -> Outlined:
    pictures = tuple(Picture(f"{n}.png", folder / f"{n}.png", "benign", ()) for n in range(len(references)))
    packed = tuple(None if one is None else Packed.of(one) for one in truths)
    groups = np.array([f"g{n}" for n in range(len(references))])
    lumas = np.zeros((len(references), SIDE, SIDE), np.uint8)
    return Outlined(pictures, lumas, tuple(map(Packed.of, references)), packed, groups, val, PREPROCESS, (SIDE, SIDE))


def stored(masks: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.where(mask, 3.0, -3.0).astype(np.float32) for mask in masks])


def test_masks_are_compared_on_the_classes_that_were_learnt(tmp_path: Path) -> None:
    """Two validation pictures, two test pictures; the second and the third are normal."""
    labels = ("benign", "normal", "normal", "malignant")
    pictures = tuple(Picture(f"{n}.png", tmp_path / f"{n}.png", label, ()) for n, label in enumerate(labels))
    for picture in pictures:
        write_picture(picture.path, np.zeros((SIDE, SIDE), np.uint8))
    lumas = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 64, 64), np.uint8)
    network, groups = make(SegNetwork("two-heads", width=8), (64, 64), None, fresh=True), np.array(list("abcd"))
    for learnt, names, val in (
        (("benign", "malignant"), ["0.png", "3.png"], 1),
        (("benign", "malignant", "normal"), ["0.png", "1.png", "2.png", "3.png"], 2),
    ):
        found = outlined(network, pictures, lumas, groups, 2, Preprocess(64, 64), learnt)
        assert ([picture.name for picture in found.pictures], found.val) == (names, val)
        assert found.lumas[:, 0, 0].tolist() == [int(name[0]) for name in names]
        assert found.groups.tolist() == ["abcd"[int(name[0])] for name in names]
    with pytest.raises(UserError, match="no held-out picture is malignant"):
        outlined(network, pictures[:2], lumas[:2], groups[:2], 1, Preprocess(64, 64), ("malignant",))


def test_dice_and_iou_by_hand() -> None:
    one, other = block(0, 0, 4, 2), block(2, 0, 4, 2)  # 8 places each, 4 in common
    assert overlap(one, other) == (0.5, pytest.approx(4 / 12))
    assert overlap(one, one) == (1.0, 1.0)
    assert overlap(one, block(20, 20, 2, 2)) == (0.0, 0.0)
    assert overlap(block(0, 0, 0, 0), block(0, 0, 0, 0)) == (1.0, 1.0)


def test_a_packed_mask_comes_back() -> None:
    mask = np.random.default_rng(0).random((37, 53)) > 0.5
    np.testing.assert_array_equal(Packed.of(mask).mask(), mask)


def test_figures_of_four_pictures() -> None:
    """Two alike, one with half in common, one where only the file outlines, one where both are empty."""
    a, b, none = block(0, 0, 4, 2), block(2, 0, 4, 2), block(0, 0, 0, 0)
    references, found = [a, a, none, none], [a, b, a, none]
    truths = [a, a, none, None]
    parity, shown = compare_masks(stored(found), 0.0, about(references, truths, val=1))
    assert (parity.pictures, parity.both_empty, parity.one_empty) == (4, 1, 1)
    assert parity.dice.value == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert parity.iou.value == pytest.approx((1 + 1 / 3 + 0 + 1) / 4)
    assert parity.outlined_dice.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert parity.truth.value == pytest.approx(0.5), "the test part's one lesion"
    assert parity.difference.value == pytest.approx((0 - 0.5) / 2), "both lesions, minus PyTorch's Dice of 1"
    assert [(row.picture, row.dice) for row in parity.worst] == [("2.png", 0.0), ("1.png", 0.5)]
    assert (parity.worst[0].was, parity.worst[0].became) == (0.0, 8 / SIDE**2)
    assert set(shown) == {"1.png", "2.png"}
    np.testing.assert_array_equal(shown["1.png"], b)


def test_intervals_are_over_groups_and_paired() -> None:
    rng = np.random.default_rng(1)
    references = [block(*rng.integers(2, 20, 2), *rng.integers(8, 20, 2)) for _ in range(30)]
    parity, _ = compare_masks(stored(references), 0.0, about(references, references))
    assert (parity.dice.value, parity.dice.low, parity.dice.high) == (1.0, 1.0, 1.0)
    assert (parity.difference.value, parity.difference.low, parity.difference.high) == (0.0, 0.0, 0.0)
    moved = [np.roll(one, 1, axis=1) for one in references]
    parity, _ = compare_masks(stored(moved), 0.0, about(references, references))
    assert parity.dice.low < parity.dice.value < parity.dice.high < 1


@pytest.mark.parametrize("variant", ["int8-full", "float32"])
def test_a_shift_by_one_cell_and_a_transposition_fail_the_gate(variant: str) -> None:
    """Ellipses of a quarter of the picture's width, on BUSI's 56 x 56, a third of the pictures empty."""
    references = []
    for n in range(30):
        canvas = np.zeros((SIDE, SIDE), np.uint8)
        if n % 3:
            cv2.ellipse(canvas, (18 + n // 2, 24), (8, 5), 6 * n, 0, 360, 1, -1)
        references.append(canvas.astype(bool))
    for found in (references, [np.roll(one, 1, axis=0) for one in references], [one.T for one in references]):
        parity, _ = compare_masks(stored(found), 0.0, about(references, references))
        assert bool(mask_reasons(variant, parity, ConvertRecipe())) == (found is not references)


def test_the_gate_is_the_recipes() -> None:
    parity = MaskParity(10, 0, 0, dice=Estimate(0.96))
    assert mask_reasons("int8-full", parity, ConvertRecipe(mask_dice=0.95)) == []
    (reason,) = mask_reasons("int8-full", parity, ConvertRecipe())
    assert "a mean Dice of 96.0 %" in reason
    assert "the gate is 97.0 %" in reason
    (reason,) = mask_reasons("int8-dynamic", MaskParity(10), ConvertRecipe())
    assert reason == "int8-dynamic gives masks that are no finite numbers on held-out pictures."
    with pytest.raises(ValueError, match=r"convert\.mask_dice"):
        ConvertRecipe(mask_dice=0.0)


def test_one_number_that_is_none_spoils_the_file() -> None:
    masks = stored([block(0, 0, 4, 4)] * 2)
    masks[1, 3, 3] = np.inf
    parity, shown = compare_masks(masks, 0.0, about([block(0, 0, 4, 4)] * 2, [None, None]))
    assert (parity.dice, shown) == (Estimate(None), {})
    assert "not finite" in "\n".join(section([FileMasks("float16", parity, shown)], []))


def test_the_sheet_shows_the_worst_with_both_edges(tmp_path: Path) -> None:
    for n in range(2):
        assert cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((SIDE, SIDE), 60, np.uint8))
    references, found = [block(4, 4, 30, 30), block(9, 9, 20, 9)], [block(20, 4, 30, 30), block(9, 9, 20, 9)]
    outlined = about(references, [None, None], folder=tmp_path)
    parity, shown = compare_masks(stored(found), 0.0, outlined)
    files = [FileMasks("int8-full", parity, shown)]
    (sheet,) = write_mask_sheets(tmp_path, files, outlined)
    drawn = cv2.imread(str(tmp_path / sheet)).reshape(-1, 3)
    for colour in ((0, 214, 255), (255, 220, 0)):
        assert (drawn == colour).all(axis=1).sum() > 100
    text = "\n".join(section(files, [sheet]))
    assert "| int8-full | 0.png |" in text
    assert "| 1.png |" not in text, "what is alike is no news"
